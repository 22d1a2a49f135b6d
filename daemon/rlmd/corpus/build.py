"""The word index of the trees of one repository, grown content by content for as long as somebody waits.

What nobody waits for any more is indexed behind the answers.
"""

from __future__ import annotations

import os
import shutil
from array import array
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

from rlmd.corpus.foremost import Wish, foremost
from rlmd.corpus.searchers import Searchers
from rlmd.corpus.shard import Shard, key_of
from rlmd.corpus.snapshot import Snapshot
from rlmd.offload import Offload
from rlmd.supervision import ungrouped
from rlmd.values import Progress, Report, ignore_progress

FEW_DEAD = 1000
"""An index is begun anew when more contents in it are dead than this and than living."""
MUCH_BYTES = 16 << 20
"""So much to index is shared out among all processes; of less, one index ranks a little better."""


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
    """Owns *directory*, where the index lies in shards, each written by one of *offloads*.

    Those who wait for the index build it in turns, a batch each; what one of them indexed is there
    for all, and for the next daemon.
    """

    def __init__(self, directory: Path, offloads: Sequence[Offload], threads: trio.CapacityLimiter) -> None:
        self._directory, self._offloads, self._threads = directory, offloads, threads
        self._opening = trio.Lock()
        self._shards: list[Shard] = []
        self._users = 0
        self._calm = trio.Event()
        self._generation = 0
        self._planned: tuple[Snapshot, tuple[int, ...], Plan] | None = None
        self.is_whole = True
        """Whether no tree is indexed here of which a snapshot of another holds a part alone."""

    async def ready(
        self, snapshot: Snapshot, wish: Wish, report: Report, deadline_s: float | None
    ) -> tuple[Searchers, Plan]:
        """Index what of *snapshot* is not indexed yet, within *deadline_s* seconds and a batch.

        When that is not long enough for all, what *wish* asks for comes first.  The plan's `missing`
        is what could not be done in time or at all.  Cancelling abandons the batch in hand.  Raises
        Busy where the disk is full.
        """
        deadline = trio.current_time() + (float("inf") if deadline_s is None else deadline_s)
        self._users += 1
        try:
            await self._open()
            plan = await self._plan(snapshot)
            if self._users == 1 and self.is_whole and self._is_mostly_dead(plan):
                await self.begin()
                plan = await self._plan(snapshot)
            if plan.missing and trio.current_time() < deadline:
                rows = await foremost(
                    snapshot, plan.missing, wish, self._offloads[0], self._threads, deadline
                )
                await self._build(snapshot, rows, report, deadline, lambda: True)
                plan = await self._plan(snapshot)
            return Searchers([await shard.searcher() for shard in self._shards]), plan
        finally:
            self._users -= 1
            if not self._users:
                self._calm.set()

    async def complete(self, snapshot: Snapshot) -> None:
        """Index the rest of *snapshot* while nobody waits for anything.

        Raises as `ready` does; cancelling abandons the batch in hand.
        """
        while True:
            while self._users:
                self._calm = trio.Event()
                await self._calm.wait()
            await self._open()
            plan = await self._plan(snapshot)
            if await self._build(
                snapshot, plan.missing, ignore_progress, float("inf"), lambda: not self._users
            ):
                return

    def _is_mostly_dead(self, plan: Plan) -> bool:
        living = len(plan.row_of)
        return sum(len(shard.numbers) for shard in self._shards) - living > max(FEW_DEAD, living)

    async def begin(self) -> None:
        """Start from an empty index, in a directory that no index was in."""
        async with self._opening:
            await self._begin()

    async def _open(self) -> None:
        """Take up the newest index in the directory."""
        async with self._opening:
            if not self._shards:
                found = await trio.to_thread.run_sync(_generations, self._directory, limiter=self._threads)
                self._generation = max(found, default=0)
                shards = self._in_place()
                if all([await shard.open() for shard in shards]):
                    self._shards = shards
                else:
                    await self._begin()

    async def _begin(self) -> None:
        """Start anew and remove what was there; a writer may still be at work in that."""
        self._generation += 1
        shards = self._in_place()
        for shard in shards:
            await shard.begin()
        self._shards = shards
        for old in await trio.to_thread.run_sync(_generations, self._directory, limiter=self._threads):
            if old != self._generation:
                remove = partial(shutil.rmtree, self._directory / str(old), ignore_errors=True)
                await trio.to_thread.run_sync(remove)

    def _in_place(self) -> list[Shard]:
        place = self._directory / str(self._generation)
        return [
            Shard(place / str(number), offload, self._threads)
            for number, offload in enumerate(self._offloads)
        ]

    async def _plan(self, snapshot: Snapshot) -> Plan:
        """Hold *snapshot* against the index, unless that was done since the last commit."""
        state = (self._generation, *(shard.commits for shard in self._shards))
        if self._planned is None or self._planned[:2] != (snapshot, state):
            numbers = [shard.numbers for shard in self._shards]
            plan = await trio.to_thread.run_sync(
                held_against, snapshot, numbers, limiter=self._threads, abandon_on_cancel=True
            )
            self._planned = (snapshot, state, plan)
        return self._planned[2]

    async def _build(
        self,
        snapshot: Snapshot,
        rows: Sequence[int],
        report: Report,
        deadline: float,
        goes_on: Callable[[], bool],
    ) -> bool:
        """Index *rows* in their order; return whether there was time for all."""
        total = sum(snapshot.files.span_at(row).length for row in rows)
        done = 0
        shards = self._shards if total > MUCH_BYTES else self._shards[:1]
        queues = [deque[int]() for _ in shards]
        for row in rows:
            queues[snapshot.files.hash_at(row)[0] % len(shards)].append(row)

        def passed(size: int) -> None:
            nonlocal done
            done += size
            report(Progress("index", done, total, "bytes"))

        with ungrouped():
            async with trio.open_nursery() as nursery:
                for shard, queue in zip(shards, queues, strict=True):
                    nursery.start_soon(shard.build, snapshot, queue, passed, deadline, goes_on)
        return not any(queues)


def held_against(snapshot: Snapshot, numbers: Sequence[Mapping[bytes, int]]) -> Plan:
    """Hold every file of *snapshot* against the *numbers* of what each shard holds; a thread's work."""
    row_of: dict[int, int] = {}
    twins: dict[int, list[int]] = {}
    held = array("q")
    missing: dict[bytes, int] = {}
    for row in range(len(snapshot.files)):
        key = key_of(snapshot, row)
        number = next((found for each in numbers if (found := each.get(key)) is not None), -1)
        held.append(number)
        if number < 0:
            missing.setdefault(key, row)
        elif row_of.setdefault(number, row) != row:
            twins.setdefault(number, []).append(row)
    return Plan(row_of, twins, held, list(missing.values()))


def _generations(directory: Path) -> list[int]:
    """Return the numbers of the indexes in *directory*, made on first use."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.utime(directory)  # it is used
    return [int(path.name) for path in directory.iterdir() if path.name.isdecimal()]
