"""Lay the sources over one another, after each was judged whole.

Every source is checked on its own, so that a mistake is told even where a stronger source hides it,
and all mistakes of all sources are told at once.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from rlmd.config.schema import SECTIONS, Config
from rlmd.config.sources import Source, read_env, read_file, read_overrides
from rlmd.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings that hold, and where those were written that somebody wrote (`section.key` → place)."""

    config: Config
    origins: Mapping[str, str]

    def origin(self, name: str) -> str:
        """Say where *name* got its value: `FILE:LINE`, a variable, `-o …`, or `default`."""
        return self.origins.get(name, "default")


def load(
    files: Sequence[str] = (),
    *,
    file: str | None = None,
    env: Mapping[str, str] | None = None,
    overrides: Sequence[str] = (),
) -> Loaded:
    """Read all sources, the later ones stronger: *files*, *file*, *env*, *overrides*.

    Those of *files* that do not exist are passed over; *file* has to be there.  *env* gives
    `RLMD_SECTION__KEY`, *overrides* are `section.key=value`; both hold a TOML value, anything else
    is a text.  Raises ConfigError with every mistake of every source.
    """
    readers = [
        *(partial(_read_optional, path) for path in files),
        *([partial(_read_required, file)] if file is not None else []),
        partial(read_env, env or {}),
        partial(read_overrides, overrides),
    ]
    sources, problems = _read_all(readers)
    if problems:
        raise ConfigError(*problems)
    merged: dict[str, dict[str, object]] = {}
    origins: dict[str, str] = {}
    for source in sources:
        for section, key, value in source.settings():
            merged.setdefault(section, {})[key] = value
            origins[f"{section}.{key}"] = source.place(f"{section}.{key}")
    return Loaded(Config.model_validate(merged), origins)


def _read_all(readers: Iterable[Callable[[], Source]]) -> tuple[list[Source], list[str]]:
    sources: list[Source] = []
    problems: list[str] = []
    for read in readers:
        try:
            source = read()
        except ConfigError as exc:
            problems += exc.problems
        else:
            sources.append(source)
            problems += _problems(source)
    return sources, problems


def _read_optional(path: str) -> Source:
    try:
        return read_file(path)
    except FileNotFoundError:
        return Source(path, {}, {})


def _read_required(path: str) -> Source:
    try:
        return read_file(path)
    except FileNotFoundError as exc:
        raise ConfigError(f"{path}: there is no such file") from exc


def _problems(source: Source) -> list[str]:
    try:
        Config.model_validate(source.values)
    except ValidationError as exc:
        return [_problem(source, error) for error in exc.errors(include_url=False, include_input=False)]
    return []


def _problem(source: Source, error: ErrorDetails) -> str:
    """Say place, name and mistake; the value is never repeated, it may be a secret in the wrong place."""
    name = ".".join(str(part) for part in error["loc"][:2])
    section, _, key = name.partition(".")
    match error["type"]:
        case "extra_forbidden" if key:
            what = f"there is no such key{_hint(key, SECTIONS[section].model_fields)}"
        case "extra_forbidden":
            what = f"there is no such section{_hint(section, SECTIONS)}"
        case "model_type":
            what = "must be a table of keys"
        case "value_error":
            what = error["msg"].removeprefix("Value error, ")
        case _:
            what = error["msg"].replace("Input should be", "must be")
    return f"{source.place(name)}: {name}: {what}"


def _hint(word: str, known: Iterable[str]) -> str:
    nearest = difflib.get_close_matches(word, known, n=1)
    return f" (did you mean '{nearest[0]}'?)" if nearest else ""
