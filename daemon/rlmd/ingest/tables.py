"""Look-ups for many globs at once.  Pure.

A walk asks about every entry of a tree, and nearly every answer is "no rule speaks of it".  So a
`Table` decides most globs by dictionary, and a `Sieve` names, for a whole listing at once, the few
entries that are worth asking about.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from rlmd.ingest.globs import ANY_DEPTH, Token, Wild, component_regex, literal, path_regex

NO_MATCH = -1


class Table:
    """Globs over names, or over paths, each with a rank; the highest rank that matches counts."""

    __slots__ = ("_ranks", "_regex", "clueless", "clues", "exact", "globs", "suffixes")

    def __init__(self) -> None:
        self.exact: dict[str, int] = {}
        self.suffixes: dict[str, int] = {}
        self.globs: list[str] = []
        self.clues: set[str] = set()
        self.clueless: list[str] = []
        self._ranks: list[int] = []
        self._regex: re.Pattern[str] | None = None

    def __bool__(self) -> bool:
        return bool(self.exact or self.suffixes or self.globs)

    def add_name(self, tokens: list[Token], rank: int) -> None:
        """File a glob over names; ranks must come in ascending order."""
        text = literal(tokens)
        suffix = literal(tokens[1:]) if tokens[:1] == [Wild.STAR] else None
        if text is not None:
            self.exact[text] = rank
        elif suffix is not None and suffix.rfind(".") == 0:
            self.suffixes[suffix] = rank
        else:
            regex = component_regex(tokens)
            self._add_glob(regex, rank)
            if clue := _clue(tokens):
                self.clues.add(clue)
            else:
                self.clueless.append(regex)

    def add_path(self, parts: list[list[Token]], rank: int) -> None:
        """File a glob over paths; ranks must come in ascending order."""
        texts = [literal(part) for part in parts]
        if None in texts:
            self._add_glob(path_regex(parts), rank)
        else:
            self.exact["/".join(filter(None, texts))] = rank

    def _add_glob(self, regex: str, rank: int) -> None:
        self.globs.append(regex)
        self._ranks.append(rank)
        self._regex = None

    def rank(self, text: str) -> int:
        """Return the highest rank among the globs that match *text*, or NO_MATCH."""
        best = self.exact.get(text, NO_MATCH)
        if self.suffixes:
            best = max(best, self.suffixes.get(text[text.rfind(".") :], NO_MATCH))
        if self.globs:
            if self._regex is None:
                self._regex = any_of(f"({regex})" for regex in reversed(self.globs))
            match = self._regex.fullmatch(text)
            if match and match.lastindex:
                best = max(best, self._ranks[-match.lastindex])
        return best


class Sieve:
    """Picks from a listing the names that one of several tables of name globs may match."""

    __slots__ = ("_clues", "_exact", "_regex", "_suffixes")

    def __init__(self, tables: Sequence[Table]) -> None:
        self._exact = frozenset(text for table in tables for text in table.exact)
        self._suffixes = frozenset(text for table in tables for text in table.suffixes)
        self._clues = tuple({clue for table in tables for clue in table.clues})
        clueless = dict.fromkeys(regex for table in tables for regex in table.clueless)
        self._regex = any_of(clueless) if clueless else None

    def sift(self, names: Sequence[str]) -> set[str]:
        """Return those of *names* (byte views) that are worth asking about, and maybe some more."""
        found = set(self._exact.intersection(names))
        if suffixes := self._suffixes:
            found.update([name for name in names if name[name.rfind(".") :] in suffixes])
        framed = "\n".join(["", *names, ""])
        for clue in self._clues:
            if clue in framed:
                found.update([name for name in names if clue in f"\n{name}\n"])
        if self._regex is not None:
            fullmatch = self._regex.fullmatch
            found.update([name for name in names if fullmatch(name)])
        return found


def _clue(tokens: list[Token]) -> str:
    """Return a text that every name the glob matches has in it, framed by newlines; "" for none."""
    runs = [""]
    for token in ("\n", *tokens, "\n"):
        if isinstance(token, str):
            runs[-1] += token
        else:
            runs.append("")
    return max((run for run in runs if run != "\n"), key=len, default="")


def any_of(regexes: Iterable[str]) -> re.Pattern[str]:
    """Compile one regex that tries *regexes* in order."""
    return re.compile("|".join(regexes), re.DOTALL)


def is_name_glob(parts: list[list[Token]]) -> bool:
    """Say whether a path glob is `**/NAME`, or `**` alone, which are globs over names."""
    return parts[0] == ANY_DEPTH and not parts[2:]
