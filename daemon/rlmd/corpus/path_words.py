"""The words of the paths of a corpus, which speak for a file beside its cuts.  Pure."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import log
from sys import maxsize

from rlmd.corpus.words import Stem, Terms

ABSENT = 0.2
"""A word that no path holds counts so little against the share of those that hold the others."""
RARE = 200
"""A word that more paths hold than this finds none of them."""


class PathWords:
    """The words of the paths of a snapshot; a rare one counts more than a common one."""

    def __init__(self, paths: Sequence[str], stem: Stem) -> None:
        """Read *paths*; some 7 µs a path, so a thread's work."""
        self._files = len(paths)
        self._table = Terms(stem, most=maxsize)
        self._holders: dict[str, array[int]] = {}
        for row, terms in enumerate(self._table.of_all(paths)):
            for term in set(terms.split()):
                self._holders.setdefault(term, array("I")).append(row)

    def named(self, wanted: Iterable[str]) -> Iterator[int]:
        """Yield the rows whose paths hold one of *wanted* that is rare; some of them more than once."""
        for term in wanted:
            holders = self._holders.get(term, ())
            if len(holders) <= RARE:
                yield from holders

    def weigh(self, wanted: Mapping[str, int]) -> Callable[[str], float]:
        """Return the function from a path to its share of *wanted*, 0 to 1."""
        rarity = {
            term: count * log(1 + self._files / (1 + len(self._holders.get(term, ()))))
            for term, count in wanted.items()
        }
        total = sum(weight * (1.0 if term in self._holders else ABSENT) for term, weight in rarity.items())

        def share(path: str) -> float:
            held = set(self._table.of(path).split())
            return sum(weight for term, weight in rarity.items() if term in held) / (total or 1.0)

        return share
