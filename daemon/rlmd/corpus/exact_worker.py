"""Exact search over the contents of a snapshot, behind its segments.  Runs in worker processes.

What is opened for one call stays open for the next: segments, tables and patterns never change.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap

import numpy as np
import numpy.typing as npt

from rlmd.corpus.exact_request import Place, Query, Share
from rlmd.corpus.lines import Matcher
from rlmd.corpus.segment import BLOCK_BYTES, Numbers, Segment, cut, marks, odd_lines
from rlmd.corpus.table import Table
from rlmd.corpus.text import decode

RUN_BYTES = 1 << 20
"""The longest stretch that one call of an engine is given."""
SKIPPED_BYTES = 6 * BLOCK_BYTES
"""So much text that need not be scanned is scanned in the time that beginning anew takes."""

Flags = npt.NDArray[np.bool_]

UNOWNED = -1


def count(place: Place, query: Query, share: Share) -> tuple[bytes, bytes]:
    """Count the matching lines of each row; return rows that have some, ascending, and counts, as `I`.

    A row may be in two shares, with a part of its lines in each.  Raises BadArgument for a pattern
    that cannot be searched for.
    """
    matcher = matcher_of(query.pattern, ignore_case=query.ignore_case, fixed_strings=query.fixed_strings)
    corpus = corpus_of(place.table, place.segments)
    text = open_text(place.pack)
    chosen = corpus.table.chosen(query.first, query.last)
    counts = _Counts(corpus, chosen, text)
    for run in _part(corpus.runs(matcher, chosen, text), share):
        piece = memoryview(text)[run.start : run.end]
        odd = corpus.odd(piece, run.start) if run.odd is None else run.odd
        counts.add(run.owner, matcher.ends(piece, odd - run.start) + run.start)
    found = corpus.table.by_row(counts.total, query.first, query.last)
    for row, start, length, encoding in corpus.table.wide[share.number :: share.parts]:
        lines = matcher.count(decode(text[start : start + length], encoding).encode())
        if lines and query.first <= row < query.last:
            found = np.concatenate((found, [[row], [lines]]), axis=1)
    rows, lines_of = found[:, np.argsort(found[0])].astype(np.uint32)
    return rows.tobytes(), lines_of.tobytes()


def open_text(pack: str) -> mmap:
    """Map the pack as long as it is now; the map goes with its last user."""
    with open(pack, "rb", buffering=0) as file:
        return mmap(file.fileno(), 0, access=ACCESS_READ)


@dataclass(frozen=True, slots=True)
class Run:
    """Whole lines to be scanned for the contents of one owner; `odd` is None where nobody knows yet."""

    owner: int
    start: int
    end: int
    odd: Numbers | None


class Corpus:
    """A snapshot and the segments of its pack: who answers for which content."""

    def __init__(self, table: Table, segments: tuple[Segment, ...]) -> None:
        self.table, self.segments = table, segments
        self.owner = np.full(len(table.starts), UNOWNED, np.int64)
        """The segment that holds each content of the table, `UNOWNED` where none does."""
        for number, segment in enumerate(segments):
            self.owner[segment.holds(table.blobs) & (self.owner == UNOWNED)] = number

    def runs(self, matcher: Matcher, chosen: Flags, text: mmap) -> list[Run]:
        """Return what has to be scanned, by owner and place."""
        runs: list[Run] = []
        for number, segment in enumerate(self.segments):
            blobs = self.table.blobs[chosen & (self.owner == number)]
            if len(blobs):
                wanted = segment.candidates(matcher.demanded) & segment.touched(blobs)
                runs += _runs(number, segment, np.flatnonzero(wanted))
        rest = self.table.blobs[chosen & (self.owner == UNOWNED)]
        runs += (Run(UNOWNED, start, end, None) for start, end in cut(text, rest, RUN_BYTES))
        return runs

    def odd(self, piece: memoryview, start: int) -> Numbers:
        """Return the lines of *piece*, which lies at *start*, that are not ASCII."""
        raw = bytes(piece)
        if raw.isascii():
            return np.zeros((0, 2), np.int64)
        lines = odd_lines(raw)
        lines[:, 0] += marks(raw, lines[:, 0], np.isin(lines[:, 0] + start, self.table.starts))
        return lines + start


def _runs(owner: int, segment: Segment, blocks: Numbers) -> Iterator[Run]:
    """Join blocks that lie close to each other, up to `RUN_BYTES`."""
    if not len(blocks):
        return
    starts, ends = segment.blocks[blocks, 0], segment.blocks[blocks, 1]
    apart = (starts[1:] - ends[:-1] > SKIPPED_BYTES) | (np.diff(segment.stretch[blocks]) > 0)
    group = np.concatenate(([0], np.cumsum(apart)))
    begins = starts[np.searchsorted(group, group)]
    part = (ends - begins) // RUN_BYTES
    firsts = np.flatnonzero(np.concatenate(([True], (np.diff(group) > 0) | (np.diff(part) > 0))))
    run_starts, run_ends = starts[firsts], ends[np.append(firsts[1:], len(blocks)) - 1]
    odd_from = np.searchsorted(segment.odd[:, 1], run_starts, "right")
    odd_to = np.searchsorted(segment.odd[:, 1], run_ends, "right")
    for start, end, low, high in zip(
        run_starts.tolist(), run_ends.tolist(), odd_from.tolist(), odd_to.tolist(), strict=True
    ):
        yield Run(owner, start, end, segment.odd[low:high])


def _part(runs: list[Run], share: Share) -> list[Run]:
    """Return one of the equal shares of *runs*, by their bytes."""
    middles = np.cumsum([run.end - run.start for run in runs]) - [(run.end - run.start) / 2 for run in runs]
    edge = sum(run.end - run.start for run in runs) / share.parts
    low, high = np.searchsorted(middles, (share.number * edge, (share.number + 1) * edge))
    return runs[low:high]


class _Counts:
    """How many matching lines each content has."""

    def __init__(self, corpus: Corpus, chosen: Flags, text: mmap) -> None:
        self._starts = corpus.table.starts
        self._stops = corpus.table.starts + corpus.table.blobs[:, 1]
        self._text = np.frombuffer(text, np.uint8)
        self._owner = np.where(chosen, corpus.owner, UNOWNED - 1)
        self.total = np.zeros(len(corpus.owner), np.int64)

    def add(self, owner: int, ends: Numbers) -> None:
        """Count lines of *owner* that end before the places *ends*; those of others are left out."""
        if not len(ends):
            return
        last = ends - 1
        blob = np.searchsorted(self._starts, last, "right") - 1
        stop = self._stops[blob]
        mine = (blob >= 0) & (self._owner[blob] == owner) & (last <= stop)
        behind = np.flatnonzero(mine & (last == stop))  # where the content's last line has no end of its own,
        mine[behind] = self._text[stop[behind] - 1] != ord("\n")  # else on the empty line between contents
        self.total += np.bincount(blob[mine], minlength=len(self.total))


@functools.lru_cache(maxsize=8)
def matcher_of(pattern: str, *, ignore_case: bool, fixed_strings: bool) -> Matcher:
    """Compile a pattern, or return it as it is compiled already; raises BadArgument."""
    return Matcher(pattern, ignore_case=ignore_case, fixed_strings=fixed_strings)


@functools.lru_cache(maxsize=2)
def corpus_of(table: str, segments: tuple[str, ...]) -> Corpus:
    """Open a snapshot with its segments, or return it as it is open already; raises Damaged."""
    return Corpus(Table(table), tuple(map(open_segment, segments)))


@functools.lru_cache(maxsize=64)
def open_segment(directory: str) -> Segment:
    """Open a segment, or return it as it is open already; raises Damaged."""
    return Segment(os.fspath(directory))
