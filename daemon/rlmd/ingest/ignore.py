"""Ignore rules: what an ignore file says of an entry, and which of many files has the last word.

Pure: texts come in, verdicts go out.  The rules are ripgrep's (its `ignore` crate), which are git's
with `{a,b}` alternatives.  One file is compiled into look-ups by name, by extension and one regex,
because a walk asks for every entry of a tree: most files of most trees never reach a regex.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from rlmd.ingest.globs import (
    BadGlob,
    Token,
    Wild,
    byte_view,
    component_regex,
    components,
    expand_braces,
    literal,
    path_regex,
    tokenize,
)

_BLANKS = " \t\r\n\x0b\x0c"
_NO_MATCH = -1


@dataclass(slots=True)
class _Table:
    """Globs over one kind of text, each with its rank; the highest rank that matches counts."""

    exact: dict[str, int] = field(default_factory=dict)
    suffixes: dict[str, int] = field(default_factory=dict)
    globs: list[tuple[str, int]] = field(default_factory=list)
    regex: re.Pattern[str] | None = None
    ranks: tuple[int, ...] = ()

    def compile(self) -> _Table | None:
        """Join the regexes, highest rank first, so that the first to match is the one; None if empty."""
        if self.globs:
            self.globs.sort(key=lambda glob: -glob[1])
            self.regex = re.compile("|".join(f"({regex})" for regex, _ in self.globs), re.DOTALL)
            self.ranks = tuple(rank for _, rank in self.globs)
        return self if self.exact or self.suffixes or self.regex else None

    def rank(self, text: str) -> int:
        best = self.exact.get(text, _NO_MATCH)
        if self.suffixes and (dot := text.rfind(".")) >= 0:
            suffix = self.suffixes.get(text[dot:], _NO_MATCH)
            best = max(best, suffix)
        if self.regex is not None and (match := self.regex.fullmatch(text)):
            glob = self.ranks[(match.lastindex or 1) - 1]
            best = max(best, glob)
        return best


@dataclass(frozen=True, slots=True)
class _Tables:
    """The globs that can match one type of entry, by what they look at."""

    names: _Table | None
    """The name, in any directory."""
    own: _Table | None
    """The name, in the ignore file's own directory."""
    paths: _Table | None
    """The path from the ignore file's directory."""


class Rules:
    """One ignore file, compiled.  Falsy when it holds no rule."""

    __slots__ = ("_dirs", "_files", "_negated")

    def __init__(self, lines: Iterable[str]) -> None:
        rules = [rule for line in lines if (rule := _parse(line)) is not None]
        self._negated = [rule.negated for rule in rules]
        self._files = _compile([(r, i) for i, r in enumerate(rules) if not r.dir_only])
        self._dirs = _compile([(r, i) for i, r in enumerate(rules)])

    def __bool__(self) -> bool:
        return bool(self._negated)

    @classmethod
    def from_bytes(cls, data: bytes) -> Rules:
        """Compile the content of an ignore file; lines that do not parse are left out."""
        lines = data.removeprefix(b"\xef\xbb\xbf").decode("latin-1").split("\n")
        return cls(line.removesuffix("\r") for line in lines)

    @classmethod
    def from_globs(cls, globs: Iterable[str]) -> Rules:
        """Compile globs as they stand in a configuration or a request, each one a line."""
        return cls(byte_view(glob) for glob in globs)

    def verdict(self, prefix: str, name: str, *, is_dir: bool) -> bool | None:
        """Say whether the entry is ignored (True), brought back (False) or not spoken of (None).

        *prefix* leads from the ignore file's directory to the entry's: empty or ending in a
        slash.  Both are byte views.
        """
        tables = self._dirs if is_dir else self._files
        best = _NO_MATCH if tables.names is None else tables.names.rank(name)
        if tables.own is not None and not prefix:
            best = max(best, tables.own.rank(name))
        if tables.paths is not None:
            best = max(best, tables.paths.rank(prefix + name))
        return None if best == _NO_MATCH else not self._negated[best]


@dataclass(frozen=True, slots=True)
class _Rule:
    globs: list[list[Token]]
    negated: bool
    dir_only: bool
    anchored: bool


def _parse(line: str) -> _Rule | None:
    """Read one line of an ignore file; None for blanks, comments and globs that do not parse."""
    if line.startswith("#"):
        return None
    text = line if line.endswith("\\ ") else line.rstrip(_BLANKS)
    negated = anchored = False
    if text.startswith(("\\!", "\\#")):
        text = text[1:]
    else:
        negated = text.startswith("!")
        text = text[negated:]
        anchored = text.startswith("/")
        text = text[anchored:]
    dir_only = text.endswith("/")
    text = text[: len(text) - dir_only]
    if not text:
        return None
    anchored = anchored or "/" in text
    if text.endswith("/**"):
        text += "/*"
    try:
        globs = [tokenize(glob) for glob in expand_braces(text)]
    except BadGlob:
        return None
    return _Rule(globs, negated, dir_only, anchored)


def _compile(rules: list[tuple[_Rule, int]]) -> _Tables:
    names, own, paths = _Table(), _Table(), _Table()
    for rule, rank in rules:
        for tokens in rule.globs:
            parts = components(tokens)
            if rule.anchored and parts[0] == [Wild.STAR, Wild.STAR] and not parts[2:]:
                _add(names, parts[-1], rank)
            elif len(parts) > 1:
                text = literal(tokens)
                if text is None:
                    paths.globs.append((path_regex(tokens), rank))
                else:
                    paths.exact[text] = rank
            else:
                _add(own if rule.anchored else names, tokens, rank)
    return _Tables(names.compile(), own.compile(), paths.compile())


def _add(table: _Table, tokens: list[Token], rank: int) -> None:
    """File a glob over names under the cheapest look-up that decides it."""
    text = literal(tokens)
    if text is not None:
        table.exact[text] = rank
        return
    suffix = literal(tokens[1:]) if tokens[0] is Wild.STAR else None
    if suffix is not None and suffix.startswith(".") and suffix.count(".") == 1:
        table.suffixes[suffix] = rank
    else:
        table.globs.append((component_regex(tokens), rank))


class Source(IntEnum):
    """Where rules come from, the strongest first."""

    RGIGNORE = 0
    IGNORE = 1
    GITIGNORE = 2
    GIT_EXCLUDE = 3
    GIT_GLOBAL = 4


@dataclass(frozen=True, slots=True)
class Scope:
    """The ignore rules that hold in one directory, nearest first within each source."""

    layers: tuple[tuple[Source, Rules, str], ...] = ()
    in_work_tree: bool = False

    def child(self, name: str) -> Scope:
        """Return the scope of the subdirectory *name* as far as this one decides it."""
        if not self.layers:
            return self
        step = f"{byte_view(name)}/"
        return Scope(
            tuple((source, rules, prefix + step) for source, rules, prefix in self.layers), self.in_work_tree
        )

    def extended(self, found: Mapping[Source, Rules], *, work_tree: bool = False) -> Scope:
        """Return the scope with the rules that lie in this very directory.

        With *work_tree* a git work tree begins here, and no git rule from outside enters it;
        without one, git rules are not heeded at all.
        """
        inside = work_tree or self.in_work_tree
        layers = [
            *((source, rules, "") for source, rules in found.items() if rules),
            *((s, r, p) for s, r, p in self.layers if not work_tree or s < Source.GITIGNORE),
        ]
        kept = [layer for layer in layers if inside or layer[0] < Source.GITIGNORE]
        return Scope(tuple(sorted(kept, key=lambda layer: layer[0])), inside)

    def verdict(self, name: str, *, is_dir: bool) -> bool | None:
        """Say what the strongest rule that speaks of the entry says, as `Rules.verdict` does."""
        for _, rules, prefix in self.layers:
            verdict = rules.verdict(prefix, name, is_dir=is_dir)
            if verdict is not None:
                return verdict
        return None
