"""From hits to passages: which files and which of their cuts answer a question best.  Pure.

A file scores as its best cut, more when its path holds the question's words, and by its role.  The
constants were measured together: docs/decisions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import log
from sys import maxsize
from typing import TYPE_CHECKING, NamedTuple

from rlmd.corpus.words import Stem, Terms

if TYPE_CHECKING:
    from tantivy import DocAddress

FILE_SHARE = 0.4
"""A passage scores .4 of its file and .6 of itself."""
PATH_SHARE = 0.4
"""What a path that holds all of the question adds to the best cut's 1."""


class Hit(NamedTuple):
    """A cut that a search found: lines `start` to `stop` (from 0, without `stop`) of content `number`.

    It was cut from the piece that begins at byte `at`, on line `line`.
    """

    score: float
    number: int
    start: int
    stop: int
    at: int
    line: int
    address: DocAddress


class PathWords:
    """How often the words of paths occur, so that a rare one counts more than a common one."""

    def __init__(self, paths: Sequence[str], stem: Stem) -> None:
        """Count the words of *paths*; some 5 µs a path, so a thread's work."""
        self._files = len(paths)
        self._table = Terms(stem, most=maxsize)
        self._frequency: Counter[str] = Counter()
        for terms in self._table.of_all(paths):
            self._frequency.update(set(terms.split()))

    def weigh(self, wanted: Mapping[str, int]) -> Callable[[str], float]:
        """Return the function from a path to its share of *wanted*, 0 to 1."""
        rarity = {
            term: count * log(1 + self._files / (1 + self._frequency[term])) for term, count in wanted.items()
        }
        total = sum(rarity.values()) or 1.0

        def share(path: str) -> float:
            held = set(self._table.of(path).split())
            return sum(weight for term, weight in rarity.items() if term in held) / total

        return share


def rank(
    hits: Iterable[Hit],
    rows_of: Callable[[int], Sequence[int]],
    weight: Callable[[int], float],
    named: Callable[[int], float],
) -> list[tuple[float, int, Hit]]:
    """Return (score from 0 to 1, row, hit), best first, equals in the order of rows and lines.

    *rows_of* tells where a content lies, nowhere when it is dead; of several places the one that
    scores best is taken.  *weight* is the role's factor of a row, *named* its path's share.
    """
    living = [(hit, rows) for hit in hits if (rows := rows_of(hit.number))]
    top = max((hit.score for hit, _ in living), default=0.0) or 1.0
    best: dict[int, float] = {}
    for hit, _ in living:
        best[hit.number] = max(best.get(hit.number, 0.0), hit.score / top)
    files = {
        number: max((weight(row) * (best[number] + PATH_SHARE * named(row)), -row) for row in rows)
        for number, rows in {hit.number: rows for hit, rows in living}.items()
    }
    peak = max((score for score, _ in files.values()), default=0.0) or 1.0
    ranked = []
    for hit, _ in living:
        of_file, row = files[hit.number][0] / peak, -files[hit.number][1]
        score = FILE_SHARE * of_file + (1 - FILE_SHARE) * hit.score / top * weight(row)
        ranked.append((score, row, hit))
    ranked.sort(key=lambda each: (-each[0], each[1], each[2].start, each[2].at))
    return ranked


def diversify(
    ranked: Iterable[tuple[float, int, Hit]], *, limit: int, per_file: int, least_files: int
) -> list[tuple[float, int, Hit]]:
    """Take the *limit* best, at most *per_file* of one file, then the best of further files.

    The latter until *least_files* are there, in the order of *ranked* too.
    """
    taken: list[tuple[float, int, Hit]] = []
    files: Counter[int] = Counter()
    for each in ranked:
        row = each[1]
        if len(taken) < limit:
            wanted = files[row] < per_file
        elif len(files) >= least_files:
            break
        else:
            wanted = row not in files
        if wanted:
            taken.append(each)
            files[row] += 1
    return taken


def front_first(paths: Sequence[str], weight: Callable[[int], float]) -> list[int]:
    """Return the rows in the order in which to look when no word helps: README, then by depth and path."""

    def key(row: int) -> tuple[bool, float, int, str]:
        path = paths[row]
        readme = path.rsplit("/", 1)[-1].lower().startswith("readme")
        return (not readme, -weight(row), path.count("/"), path)

    return sorted(range(len(paths)), key=key)
