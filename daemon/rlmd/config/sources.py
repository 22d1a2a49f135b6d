"""Read settings as they are written, with the place of each, and judge nothing but the syntax."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rlmd.errors import ConfigError

ENV_PREFIX = "RLMD_"


@dataclass(frozen=True, slots=True)
class Source:
    """Settings of one source: sections of keys, unless whoever wrote them went wrong.

    `places` says by dotted name where a setting is written; `name` stands for the whole.
    """

    name: str
    values: Mapping[str, object]
    places: Mapping[str, str]

    def place(self, name: str) -> str:
        """Say where *name* is written, or its section, or the first key below it, or at least in what."""
        section = name.partition(".")[0]
        below = (place for key, place in self.places.items() if key.startswith(f"{section}."))
        return self.places.get(name) or self.places.get(section) or next(below, self.name)

    def settings(self) -> Iterator[tuple[str, str, object]]:
        """Go through section, key and value of all that stands in a section."""
        for section, table in self.values.items():
            if isinstance(table, dict):
                for key, value in table.items():
                    yield section, key, value


def read_file(path: str) -> Source:
    """Parse the TOML of *path*; raises FileNotFoundError, and ConfigError for anything else."""
    try:
        with open(path, "rb") as file:
            text = file.read().decode()
        values: dict[str, object] = tomllib.loads(text)
    except FileNotFoundError:
        raise
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        line = exc.object.count(b"\n", 0, exc.start) + 1
        raise ConfigError(f"{path}:{line}: is not UTF-8") from exc
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(_syntax_problem(path, text, str(exc))) from exc
    return Source(path, values, {name: f"{path}:{line}" for name, line in _lines(text).items()})


def read_env(env: Mapping[str, str]) -> Source:
    """Take `RLMD_SECTION__KEY`; a name without the double underscore is no setting."""
    names = {
        variable: variable.removeprefix(ENV_PREFIX).lower().replace("__", ".", 1)
        for variable in sorted(env)
        if variable.startswith(ENV_PREFIX) and "__" in variable
    }
    pairs = [(name, env[variable]) for variable, name in names.items()]
    return Source("environment", _nest(pairs), {name: variable for variable, name in names.items()})


def read_overrides(overrides: Sequence[str]) -> Source:
    """Take `section.key=value`, the last of equals; raises ConfigError with all that are not so."""
    pairs = [(name.strip(), value.strip()) for name, _, value in (text.partition("=") for text in overrides)]
    problems = [
        f"-o {name}: is not of the form section.key=value"
        for (name, _), text in zip(pairs, overrides, strict=True)
        if "=" not in text or not all(name.partition("."))
    ]
    if problems:
        raise ConfigError(*problems)
    return Source("-o", _nest(pairs), {name: f"-o {name}" for name, _ in pairs})


def _nest(pairs: Sequence[tuple[str, str]]) -> dict[str, object]:
    tables: dict[str, dict[str, object]] = {}
    for name, text in pairs:
        section, _, key = name.partition(".")
        tables.setdefault(section, {})[key] = _value(text)
    return {**tables}


def _value(text: str) -> object:
    """Take *text* as a TOML value, or as it is: a bare word, a path, an address is a text."""
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return parsed["value"] if len(parsed) == 1 else text


def _syntax_problem(path: str, text: str, message: str) -> str:
    what, _, place = message.rpartition(" (at ")
    found = re.match(r"line (\d+)", place)
    line = found[1] if found else text.count("\n") + 1
    return f"{path}:{line}: {what[:1].lower()}{what[1:]}"


def _lines(text: str) -> dict[str, int]:
    """Find the line of each section and key, by their usual spellings; others have no line."""
    lines: dict[str, int] = {}
    section = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[([^\[\]]+)\]", line):
            name = section = _plain(header[1])
        elif key := re.match(r"""\s*([\w\-."' ]+?)\s*=""", line):
            name = ".".join(filter(None, (section, _plain(key[1]))))
        else:
            continue
        lines.setdefault(name, number)
    return lines


def _plain(name: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in name.split("."))
