"""Where to look in a passage that is too long to show: pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from rlmd.corpus.words import Terms

LINE_CHARS = 400
"""Longer lines are clipped when shown, and count as this long."""


def clip(line: str) -> str:
    """Return *line* as it is shown."""
    return line if len(line) <= LINE_CHARS else line[: LINE_CHARS - 1] + "…"


def best_run(
    lines: Sequence[str], terms: Mapping[str, int], table: Terms, room: int, *, longest: int | None = None
) -> tuple[int, int]:
    """Return the run of *lines* that fits *room* characters and holds most of *terms*.

    The earliest of equals, at least one line, as (start, stop) without `stop`.  Lines count with
    their end, and as *longest* characters at most; *table* turns them into terms.
    """
    sizes = [min(len(line), longest or len(line)) + 1 for line in lines]
    if sum(sizes) <= room + 1 or len(lines) == 1:
        return 0, len(lines)
    held = [_held(line, terms, table) for line in lines]
    best = (-1.0, 0, 1)
    stop, used = 0, 0
    seen: Counter[str] = Counter()
    for start in range(len(lines)):
        while stop < len(lines) and (used + sizes[stop] <= room + 1 or stop == start):
            used += sizes[stop]
            seen.update(held[stop])
            stop += 1
        best = max(best, (_worth(seen, terms), -start, stop))
        used -= sizes[start]
        seen.subtract(held[start])
    return -best[1], best[2]


def best_stretch(line: str, terms: Mapping[str, int], table: Terms, room: int) -> str:
    """Return that stretch of one long *line*, *room* characters of it, that holds most of *terms*.

    Chosen among stretches that overlap by half.
    """
    starts = range(0, max(1, len(line) - room // 2), max(1, room // 2))
    counts = {start: Counter(_held(line[start : start + room], terms, table)) for start in starts}
    start = max(starts, key=lambda start: (_worth(counts[start], terms), -start))
    return line[start : start + room]


def _held(text: str, terms: Mapping[str, int], table: Terms) -> set[str]:
    return terms.keys() & set(table.of(text).split())


def _worth(seen: Counter[str], terms: Mapping[str, int]) -> float:
    """Weigh what is there: each term as often as it was asked for, a little more when repeated."""
    return sum(terms[term] * (1 + 0.1 * min(count, 5)) for term, count in seen.items() if count > 0)
