"""Several word indexes searched as one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import log

from rlmd.corpus.index import Searcher
from rlmd.corpus.rank import Hit


class Searchers:
    """The indexes of *parts*, as of when those were made.  Blocks: a thread's work.

    A word weighs by how rare it is in all of them together.
    """

    def __init__(self, parts: Sequence[Searcher]) -> None:
        self._parts = [part for part in parts if part.cuts]

    def search(self, terms: Mapping[str, float], limit: int) -> list[Hit]:
        """Return the *limit* best cuts for weighted, stemmed *terms*, best first."""
        found = [part.search(weighed, limit) for part, weighed in self._weighed(terms)]
        return _best(found, limit)

    def search_in(self, terms: Mapping[str, float], numbers: Iterable[int], limit: int) -> list[Hit]:
        """Return the *limit* best cuts of the contents *numbers*, also such that hold none of *terms*."""
        if not (wanted := list(numbers)):
            return []
        found = [part.search_in(weighed, wanted, limit) for part, weighed in self._weighed(terms)]
        return _best(found, limit)

    def within(self, hit: Hit) -> tuple[str, ...]:
        """Return the first lines of the definitions around *hit*, outermost first."""
        return hit.searcher.within(hit)

    def _weighed(self, terms: Mapping[str, float]) -> Iterator[tuple[Searcher, Mapping[str, float]]]:
        """Yield each index with *terms* weighed so that it scores as the whole of them would."""
        if len(self._parts) < 2:  # noqa: PLR2004  # nothing to share
            yield from ((part, terms) for part in self._parts)
            return
        cuts = sum(part.cuts for part in self._parts)
        holders = [{term: part.holders(term) for term in terms} for part in self._parts]
        rarity = {term: _rarity(sum(held[term] for held in holders), cuts) for term in terms}
        for part, held in zip(self._parts, holders, strict=True):
            yield (
                part,
                {
                    term: weight * rarity[term] / _rarity(held[term], part.cuts)
                    for term, weight in terms.items()
                },
            )


def _rarity(holders: int, cuts: int) -> float:
    """Return what tantivy's BM25 makes of a word that *holders* of *cuts* documents hold."""
    return log(1 + (cuts - holders + 0.5) / (holders + 0.5))


def _best(found: Sequence[list[Hit]], limit: int) -> list[Hit]:
    if len(found) == 1:
        return found[0]
    return sorted((hit for hits in found for hit in hits), key=lambda hit: -hit.score)[:limit]
