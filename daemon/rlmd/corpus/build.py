"""The word index of one corpus, grown content by content for as long as somebody waits for it."""

from __future__ import annotations

import errno
import os
import shutil
from array import array
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

import trio

from rlmd.corpus.cuts import Style, style_of
from rlmd.corpus.foremost import Wish, foremost
from rlmd.corpus.index import Content, Searcher
from rlmd.corpus.snapshot import Snapshot
from rlmd.corpus.text import PIECE_BYTES
from rlmd.errors import Busy
from rlmd.offload import Offload, OffloadError
from rlmd.values import Progress, Report

EXTEND = "rlmd.corpus.index:extend"
BATCH_FILES, BATCH_BYTES = 512, 4 << 20
FEW_DEAD = 1000
"""An index is begun anew when more contents in it are dead than this and than living."""

Key = tuple[bytes, Style]


@dataclass(frozen=True, slots=True)
class Plan:
    """How the contents of a snapshot stand to the index.

    `row_of` has the first file of each content's number that is in the snapshot, `twins` the further
    ones, and `numbers` the content's number of each row, -1 where it is not indexed.  `missing` are
    the rows of the contents that are not, one of each.
    """

    row_of: dict[int, int]
    twins: dict[int, list[int]]
    numbers: array[int]
    missing: list[int]

    def number(self, row: int) -> int | None:
        """Return the number of the content at *row*, None while it is not indexed."""
        return self.numbers[row] if self.numbers[row] >= 0 else None

    def rows(self, number: int) -> Sequence[int]:
        """Return the rows of the files that hold content *number*."""
        if (first := self.row_of.get(number)) is None:
            return ()
        return (first, *self.twins.get(number, ()))


class Builder:
    """Owns one index directory; those who wait for the index build it in turns, a batch each.

    What one of them indexed is there for all.
    """

    def __init__(self, directory: Path, offload: Offload, threads: trio.CapacityLimiter) -> None:
        self._directory, self._offload, self._threads = directory, offload, threads
        self._turn = trio.Lock()
        self._users = 0
        self._generation = 0
        self._planned: tuple[Snapshot, tuple[int, int], Plan] | None = None
        self._begin()

    async def ready(
        self, snapshot: Snapshot, wish: Wish, report: Report, deadline_s: float | None
    ) -> tuple[Searcher, Plan]:
        """Index what of *snapshot* is not indexed yet, within *deadline_s* seconds and a batch.

        When that is not long enough for all, what *wish* asks for comes first.  The plan's `missing`
        is what could not be done in time or at all.  Cancelling abandons the batch in hand.  Raises
        Busy where the disk is full.
        """
        deadline = trio.current_time() + (float("inf") if deadline_s is None else deadline_s)
        self._users += 1
        try:
            plan = await self._plan(snapshot)
            if self._users == 1 and self._is_mostly_dead(plan):
                old = self._place
                self._begin()
                await trio.to_thread.run_sync(partial(shutil.rmtree, old, ignore_errors=True))
                plan = await self._plan(snapshot)
            if plan.missing and trio.current_time() < deadline:
                rows = await foremost(snapshot, plan.missing, wish, self._offload, self._threads, deadline)
                await self._build(snapshot, deque(rows), report, deadline)
                plan = await self._plan(snapshot)
            return await self._search_on(), plan
        finally:
            self._users -= 1

    def _is_mostly_dead(self, plan: Plan) -> bool:
        living = len(plan.row_of)
        return len(self._numbers) - living > max(FEW_DEAD, living)

    def _begin(self) -> None:
        """Start from an empty index in a directory of its own."""
        self._generation += 1
        self._numbers: dict[Key, int] = {}
        self._next = 0
        self._begun: dict[Key, Content] = {}
        self._refused: set[Key] = set()
        self._commits = 0
        self._searcher: tuple[int, Searcher] | None = None
        self._place = str(self._directory / str(self._generation))
        Path(self._place).mkdir(mode=0o700, parents=True)

    async def _plan(self, snapshot: Snapshot) -> Plan:
        """Hold *snapshot* against the index, unless that was done since the last commit."""
        state = (self._generation, self._commits)
        if self._planned is None or self._planned[:2] != (snapshot, state):
            plan = await trio.to_thread.run_sync(
                held_against, snapshot, self._numbers, limiter=self._threads, abandon_on_cancel=True
            )
            self._planned = (snapshot, state, plan)
        return self._planned[2]

    async def _search_on(self) -> Searcher:
        """Return a searcher that sees at least what was committed before the call."""
        if self._searcher is None or self._searcher[0] != self._commits:
            commits = self._commits
            searcher = await trio.to_thread.run_sync(Searcher, self._place, limiter=self._threads)
            self._searcher = (commits, searcher)
        return self._searcher[1]

    async def _build(self, snapshot: Snapshot, rows: deque[int], report: Report, deadline: float) -> None:
        total = left = sum(snapshot.files.span_at(row).length for row in rows)
        while rows:
            with trio.move_on_at(deadline) as waiting:
                await self._turn.acquire()
            if waiting.cancelled_caught:
                return
            try:
                if trio.current_time() >= deadline:
                    return
                batch, passed_bytes = self._next_batch(snapshot, rows)
                if batch:
                    await self._index(snapshot, batch)
            finally:
                self._turn.release()
            left -= passed_bytes
            report(Progress("index", total - left, total, "bytes"))

    def _next_batch(self, snapshot: Snapshot, rows: deque[int]) -> tuple[dict[Key, Content], int]:
        """Take from the front of *rows* what makes one call of the worker, and its bytes.

        Contents that somebody else has indexed meanwhile are passed over.  A content longer than a
        piece goes alone, and its row stays until its last piece.
        """
        files, batch, size, passed = snapshot.files, dict[Key, Content](), 0, 0
        while rows and len(batch) < BATCH_FILES:
            key, span = _key(snapshot, rows[0]), files.span_at(rows[0])
            if key in self._numbers or key in self._refused:
                rows.popleft()
                passed += span.length
                continue
            content = self._begun.get(key) or self._numbered(
                Content(0, span, files.encoding_at(rows[0]), key[1])
            )
            rest = span.length - content.at
            if batch and size + rest > BATCH_BYTES:
                break
            batch[key] = content
            if rest > PIECE_BYTES:
                return batch, passed + PIECE_BYTES
            rows.popleft()
            size += rest
        return batch, passed + size

    def _numbered(self, content: Content) -> Content:
        """Give *content*, from its beginning, a number that was never used."""
        self._next += 1
        return content._replace(number=self._next - 1, at=0, line=0)

    async def _index(self, snapshot: Snapshot, batch: dict[Key, Content]) -> None:
        """Index *batch*; a content that the worker cannot bear is given up, the others are not."""
        for key in batch:
            self._begun.pop(key, None)
        try:
            reached = await self._offload.call(EXTEND, self._place, snapshot.pack.path, list(batch.values()))
        except OffloadError:
            if len(batch) == 1:
                self._refused.update(batch)
                return
            renewed = [(key, self._numbered(content)) for key, content in batch.items()]
            for half in (renewed[: len(renewed) // 2], renewed[len(renewed) // 2 :]):
                await self._index(snapshot, dict(half))
            return
        except (OSError, ValueError) as failed:  # tantivy raises ValueError whatever went wrong below it
            if os.strerror(errno.ENOSPC) not in str(failed):
                raise
            raise Busy(
                f"The disk under {self._place} is full.", "Free space there, then ask again."
            ) from failed
        self._commits += 1
        (key, last), (at, line) = list(batch.items())[-1], cast("tuple[int, int]", reached)
        self._numbers.update((key, content.number) for key, content in batch.items())
        if at < last.span.length:
            del self._numbers[key]
            self._begun[key] = last._replace(at=at, line=line)


def _key(snapshot: Snapshot, row: int) -> Key:
    return snapshot.files.hash_at(row), style_of(snapshot.files.paths[row])


def held_against(snapshot: Snapshot, numbers: Mapping[Key, int]) -> Plan:
    """Hold every file of *snapshot* against the *numbers* of what is indexed; a thread's work."""
    row_of: dict[int, int] = {}
    twins: dict[int, list[int]] = {}
    held = array("q")
    missing: dict[Key, int] = {}
    for row in range(len(snapshot.files)):
        key = _key(snapshot, row)
        number = numbers.get(key, -1)
        held.append(number)
        if number < 0:
            missing.setdefault(key, row)
        elif row_of.setdefault(number, row) != row:
            twins.setdefault(number, []).append(row)
    return Plan(row_of, twins, held, list(missing.values()))
