"""Ignore rules: what an ignore file says of an entry, and which of many files has the last word.

Pure: texts come in, verdicts go out.  The rules are ripgrep's (its `ignore` crate), which are git's
with `{a,b}` alternatives.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum

from rlmd.ingest.globs import BadGlob, Token, byte_view, components, expand_braces, parent_regex, tokenize
from rlmd.ingest.tables import NO_MATCH, Table, any_of, is_name_glob

_BLANKS = " \t\r\n\x0b\x0c"


class Rules:
    """One ignore file, compiled.  Falsy when it holds no rule."""

    __slots__ = ("_dirs", "_files", "_negated")

    def __init__(self, lines: Iterable[str]) -> None:
        rules = [rule for line in lines if (rule := _parse(line)) is not None]
        self._negated = [rule.negated for rule in rules]
        self._dirs = _Compiled((rule, rank) for rank, rule in enumerate(rules))
        self._files = self._dirs
        if any(rule.dir_only for rule in rules):
            self._files = _Compiled((rule, rank) for rank, rule in enumerate(rules) if not rule.dir_only)

    def __bool__(self) -> bool:
        return bool(self._negated)

    @property
    def ignores(self) -> bool:
        """Whether any rule does more than bring entries back."""
        return not all(self._negated)

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
        compiled = self._dirs if is_dir else self._files
        best = compiled.names.rank(name)
        if compiled.own and not prefix:
            best = max(best, compiled.own.rank(name))
        if compiled.paths:
            best = max(best, compiled.paths.rank(prefix + name))
        return None if best == NO_MATCH else not self._negated[best]

    def tables(self, prefix: str) -> Iterator[Table]:
        """Yield the tables whose globs can speak of names in the directory at *prefix*."""
        compiled = self._dirs
        if compiled.names:
            yield compiled.names
        if compiled.own and not prefix:
            yield compiled.own
        if compiled.parents is not None and compiled.parents.fullmatch(prefix[:-1]):
            yield compiled.last_names


class _Compiled:
    """The globs that can match one type of entry, by what they look at."""

    __slots__ = ("last_names", "names", "own", "parents", "paths")

    def __init__(self, rules: Iterable[tuple[_Rule, int]]) -> None:
        self.names = Table()  # over names in any directory
        self.own = Table()  # over names in the ignore file's own directory
        self.paths = Table()  # over paths from that directory
        self.last_names = Table()  # the last components of these paths
        parents = dict[str, None]()
        for rule, rank in rules:
            for parts in rule.globs:
                if not rule.anchored or is_name_glob(parts):
                    self.names.add_name(parts[-1], rank)
                elif len(parts) == 1:
                    self.own.add_name(parts[0], rank)
                else:
                    self.paths.add_path(parts, rank)
                    self.last_names.add_name(parts[-1], rank)
                    parents[parent_regex(parts)] = None
        self.parents = any_of(parents) if parents else None


@dataclass(frozen=True, slots=True)
class _Rule:
    globs: list[list[list[Token]]]
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
        globs = [components(tokenize(glob)) for glob in expand_braces(text)]
    except BadGlob:
        return None
    return _Rule(globs, negated, dir_only, anchored)


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

    def tables(self) -> Iterator[Table]:
        """Yield the tables whose globs can speak of names in this directory."""
        for _, rules, prefix in self.layers:
            yield from rules.tables(prefix)

    def verdict(self, name: str, *, is_dir: bool) -> bool | None:
        """Say what the strongest rule that speaks of the entry says, as `Rules.verdict` does."""
        for _, rules, prefix in self.layers:
            verdict = rules.verdict(prefix, name, is_dir=is_dir)
            if verdict is not None:
                return verdict
        return None
