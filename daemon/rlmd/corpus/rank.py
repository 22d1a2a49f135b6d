"""From hits to passages: which files and which of their cuts answer a question best.  Pure.

A file scores as its best cuts, more when its path or past commits speak for it, and by its
role.  The constants were measured together: docs/decisions/0007.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tantivy import DocAddress

    from rlmd.corpus.index import Searcher

MORE_CUTS = 5
DECAY = 0.8


@dataclass(frozen=True, slots=True)
class Recipe:
    """What counts how much beside the words of a cut, which are 1 for the best one.

    `file_share` is the part of a passage's score that is its file's, the rest is its own.  A file
    scores as its best cut and `more_cuts` of its next ones, each counting a little less than the
    one before; it gains `path` when its path holds all of the question, and `history` when no file
    has more votes of past commits.
    """

    file_share: float = 0.75
    more_cuts: float = 0.2
    path: float = 0.9
    history: float = 0.5


RECIPE = Recipe()


class Hit(NamedTuple):
    """A cut that a search found: lines `start` to `stop` (from 0, without `stop`) of content `number`.

    It was cut from the piece that begins at byte `at`, on line `line`; `searcher` has it at `address`.
    """

    score: float
    number: int
    start: int
    stop: int
    at: int
    line: int
    searcher: Searcher
    address: DocAddress


def rank(
    hits: Iterable[Hit],
    rows_of: Callable[[int], Sequence[int]],
    weight: Callable[[int], float],
    lift: Callable[[int], float],
    recipe: Recipe = RECIPE,
) -> list[tuple[float, int, Hit]]:
    """Return (score from 0 to 1, row, hit), best first, equals in the order of rows and lines.

    *rows_of* tells where a content lies, nowhere when it is dead; of several places the one that
    scores best is taken.  *weight* is the factor of a row's role, *lift* what speaks for its file beside
    its cuts.
    """
    living = [(hit, rows) for hit in hits if (rows := rows_of(hit.number))]
    top = max((hit.score for hit, _ in living), default=0.0) or 1.0
    scores: dict[int, list[float]] = {}
    rows_by_number = {}
    for hit, rows in living:
        scores.setdefault(hit.number, []).append(hit.score / top)
        rows_by_number[hit.number] = rows
    files = {}
    for number, rows in rows_by_number.items():
        said = _of_cuts(scores[number], recipe.more_cuts)
        files[number] = max((weight(row) * (said + lift(row)), -row) for row in rows)
    peak = max((score for score, _ in files.values()), default=0.0) or 1.0
    ranked = []
    for hit, _ in living:
        of_file, row = files[hit.number][0] / peak, -files[hit.number][1]
        score = recipe.file_share * of_file + (1 - recipe.file_share) * hit.score / top * weight(row)
        ranked.append((score, row, hit))
    ranked.sort(key=lambda each: (-each[0], each[1], each[2].start, each[2].at))
    return ranked


def _of_cuts(scores: Sequence[float], more: float) -> float:
    best, *next_ones = sorted(scores, reverse=True)[: 1 + MORE_CUTS]
    return best + more * sum(score * DECAY**place for place, score in enumerate(next_ones))


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
