"""Settings as text for people: the documented defaults, and what holds and why."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator

from rlmd.config.load import Loaded
from rlmd.config.schema import SECTIONS, UNITS

HEADER = """\
# Settings of rlmd: every key with its default. Take the mark off a line to change it.
#
# Read in this order, the later ones stronger: defaults, /etc/rlmd/config.toml,
# $XDG_CONFIG_HOME/rlmd/config.toml, --config FILE, RLMD_SECTION__KEY in the environment,
# -o section.key=value. `rlmd config check` names every mistake, `rlmd config show --origin`
# says what holds and where it comes from. A size is a number of bytes, or a text like "64 MiB".
#
# SIGHUP has them read again: with a mistake anywhere nothing changes. log, roots, privacy, doors and
# the limits of a run in engine hold from the next request on; what else was changed waits for a
# restart, and `rlmd status` names it.
"""
WIDTH = 92


def default_toml() -> str:
    """Write all keys with unit and default, commented out; the text of configs/default.toml."""
    parts = [HEADER]
    for section, model in SECTIONS.items():
        parts.append(f"\n[{section}]\n{_comment(model.__doc__ or '')}")
        for key, field in model.model_fields.items():
            value = _toml(field.default, as_size=key.endswith("_bytes"))
            setting = textwrap.indent(f"{key} = {value}", "# ")
            parts.append(f"\n{_comment(field.description or '')}{setting}\n")
    return "".join(parts)


def show_toml(loaded: Loaded, *, origin: bool = False) -> str:
    """Write the settings that hold as TOML, with *origin* each with the place it comes from."""
    lines: list[str] = []
    for section, settings in show(loaded).items():
        lines += ["", f"[{section}]"]
        for key, value in settings.items():
            lines += [f"# {loaded.origin(f'{section}.{key}')}"] if origin else []
            lines.append(f"{key} = {_toml(value)}")
    return "\n".join(lines[1:]) + "\n"


def show(loaded: Loaded) -> dict[str, dict[str, object]]:
    """Take the settings that hold as plain values, with secrets masked."""
    return {section: {key: _mask(value) for key, value in keys} for section, keys in loaded.config}


def _mask(value: object) -> object:
    """Hide what an address says of its user, the one place where a setting may hold a secret."""
    return re.sub(r"(?<=://)[^/@]*@", "***@", value) if isinstance(value, str) else value


def _comment(text: str) -> str:
    return "".join(f"# {line}\n" for line in textwrap.wrap(text, WIDTH))


def _toml(value: object, *, as_size: bool = False) -> str:
    if as_size and isinstance(value, int):
        return _toml(_size(value))
    if isinstance(value, tuple):
        one_line = f"[{', '.join(map(_toml, value))}]"
        return one_line if len(one_line) <= WIDTH else f"[\n{''.join(_rows(value))}]"
    return json.dumps(value, ensure_ascii=False)


def _rows(values: tuple[object, ...]) -> Iterator[str]:
    for line in textwrap.wrap(", ".join(map(_toml, values)) + ",", WIDTH, break_on_hyphens=False):
        yield f"    {line}\n"


def _size(size_bytes: int) -> str:
    unit, factor = max(
        ((unit, factor) for unit, factor in UNITS.items() if size_bytes % factor == 0), key=lambda u: u[1]
    )
    return f"{size_bytes // factor} {unit}"
