"""What a reload may change while the daemon works, and what waits for its next start."""

from __future__ import annotations

from dataclasses import dataclass

from rlmd.config.schema import Config

LIVE = frozenset(
    {"log", "roots", "privacy", "doors", "engine.turns", "engine.cell_s", "engine.output_chars"}
    | {"engine.calls", "engine.depth"}
)
"""Sections, or single keys, that hold from the next request on; all others size what is built once."""


@dataclass(frozen=True, slots=True)
class Change:
    """The settings that hold after a reload: `applied` names are new in them, `waiting` ones are not yet."""

    config: Config
    applied: tuple[str, ...]
    waiting: tuple[str, ...]


def between(standing: Config, wanted: Config) -> Change:
    """Take over from *wanted* what may change now; the rest stays as it is *standing*."""
    merged: dict[str, dict[str, object]] = {}
    applied: list[str] = []
    waiting: list[str] = []
    for section, keys in wanted:
        old = dict(getattr(standing, section))
        merged[section] = old
        for key, value in keys:
            name = f"{section}.{key}"
            if value == old[key]:
                continue
            if section in LIVE or name in LIVE:
                old[key] = value
                applied.append(name)
            else:
                waiting.append(name)
    return Change(Config.model_validate(merged), tuple(applied), tuple(waiting))
