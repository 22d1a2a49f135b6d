"""Finds which files of a snapshot have lines that match, and how many, in processes of its own.

A filter stands in front of the search where there are segments for a content; what has none yet is
scanned whole.  Segments are made behind the answers and lie beside the pack, so that the next
daemon has them too.
"""

from __future__ import annotations

import os
import tempfile
from array import array
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import cast
from weakref import WeakKeyDictionary

import structlog
import trio

from rlmd.corpus.exact_request import Damaged, Place, Query, Share
from rlmd.corpus.pack import Pack
from rlmd.corpus.scratch import open_scratch
from rlmd.corpus.snapshot import Files, Snapshot
from rlmd.offload import Offload, OffloadError, open_offload
from rlmd.supervision import ungrouped

DIRECTORY = "exact"
PROCESSES = 2
IDLE_S = 300.0
UPKEEP_IDLE_S = 10.0
ALONE_BYTES = 4 << 20
"""For less text a second process is not worth its while."""
STEP_S = 300.0
_NOTHING = Query("nothing", ignore_case=False, fixed_strings=True, first=0, last=0)
log = structlog.get_logger(__name__)


@asynccontextmanager
async def open_exact(cache: Path, *, idle_s: float = IDLE_S) -> AsyncIterator[Exact]:
    """Open exact search; its processes start with the first call and end after *idle_s* seconds without.

    Leaving the context ends them, and whatever they do.
    """
    async with AsyncExitStack() as stack:
        scratch = stack.enter_context(open_scratch(cache))
        scanners = [await stack.enter_async_context(open_offload(idle_s=idle_s)) for _ in range(PROCESSES)]
        upkeep = await stack.enter_async_context(open_offload(idle_s=UPKEEP_IDLE_S))
        async with trio.open_nursery() as behind:
            yield Exact(scanners, upkeep, behind, str(scratch))
            behind.cancel_scope.cancel()


class Exact:
    """Searches snapshots; owns its processes, and the segments beside the pack."""

    def __init__(
        self, scanners: Sequence[Offload], upkeep: Offload, behind: trio.Nursery, scratch: str
    ) -> None:
        self._scanners, self._upkeep, self._behind, self._scratch = scanners, upkeep, behind, scratch
        self._shelf: _Shelf | None = None
        self._tables: WeakKeyDictionary[Files, str] = WeakKeyDictionary()
        self._thread = trio.CapacityLimiter(1)

    async def count(self, snapshot: Snapshot, query: Query) -> dict[int, int]:
        """Return how many lines match in each row of *snapshot* that has some, in the order of the rows.

        Raises BadArgument for a pattern that cannot be searched for, and OffloadDied when a process
        dies of it.  Cancelling returns within 100 ms; a process that does not stop at once is ended.
        """
        shelf = self._shelf_of(snapshot.pack)
        await self._survey(shelf)
        place = Place(shelf.pack.path, await self._table(snapshot.files), shelf.segments)
        parts = 1 if snapshot.bytes <= ALONE_BYTES else len(self._scanners)
        try:
            answers = await self._scan(place, query, parts)
        except Damaged as damaged:
            log.warning("exact.segment_lost", reason=str(damaged))
            shelf.surveyed = False
            answers = await self._scan(place._replace(segments=()), query, parts)
        return await trio.to_thread.run_sync(_added_up, answers, limiter=self._thread)

    async def index(self, snapshot: Snapshot) -> None:
        """Make segments for what of *snapshot* has none, step by step, and the processes ready to use them.

        Cancelling loses the step in hand.  Raises OSError where the disk refuses.
        """
        shelf = self._shelf_of(snapshot.pack)
        await self._survey(shelf)
        tend = partial(self._upkeep.call, "rlmd.corpus.upkeep:tend", timeout_s=STEP_S)
        async with shelf.tending:
            more = True
            while more:
                place = Place(shelf.pack.path, await self._table(snapshot.files), shelf.segments)
                step = await tend(place, shelf.directory, shelf.pack.id)
                shelf.segments, more = cast("tuple[tuple[str, ...], bool]", step)
        place = Place(shelf.pack.path, await self._table(snapshot.files), shelf.segments)
        await self._scan(place, _NOTHING, len(self._scanners))

    def prepare(self, snapshot: Snapshot) -> None:
        """Do as `index` behind everything else; returns at once."""
        shelf = self._shelf_of(snapshot.pack)
        shelf.wanted = snapshot
        if not shelf.tended:
            shelf.tended = True
            self._behind.start_soon(self._tend, shelf)

    def rest(self) -> None:
        """End the processes that are idle; the next search starts them again."""
        for scanner in self._scanners:
            scanner.rest()

    async def _scan(self, place: Place, query: Query, parts: int) -> list[tuple[bytes, bytes]]:
        answers: list[tuple[bytes, bytes]] = []

        async def take(number: int) -> None:
            call = partial(self._scanners[number].call, "rlmd.corpus.exact_worker:count")
            answers.append(cast("tuple[bytes, bytes]", await call(place, query, Share(number, parts))))

        with ungrouped():
            async with trio.open_nursery() as nursery:
                for number in range(parts):
                    nursery.start_soon(take, number)
        return answers

    async def _tend(self, shelf: _Shelf) -> None:
        """Index what is wanted, the latest of it; a failure leaves the search slower, no more."""
        try:
            while (snapshot := shelf.wanted) is not None:
                shelf.wanted = None
                await self.index(snapshot)
        except (OSError, OffloadError, Damaged) as failed:
            log.warning("exact.not_indexed", reason=str(failed))
            shelf.surveyed = False
        finally:
            shelf.tended = False

    def _shelf_of(self, pack: Pack) -> _Shelf:
        if self._shelf is None or self._shelf.pack.id != pack.id:
            self._shelf = _Shelf(pack)
        return self._shelf

    async def _survey(self, shelf: _Shelf) -> None:
        """Find the segments that an earlier daemon left, or those that are not damaged."""
        async with shelf.surveying:
            if not shelf.surveyed:
                survey = partial(self._scanners[0].call, "rlmd.corpus.upkeep:survey")
                found = await survey(shelf.directory, shelf.pack.path, shelf.pack.id)
                shelf.segments, shelf.surveyed = cast("tuple[str, ...]", found), True

    async def _table(self, files: Files) -> str:
        """Return the path of the table of *files*, written now unless it was before."""
        if files not in self._tables:
            path = await trio.to_thread.run_sync(_write_table, files, self._scratch, limiter=self._thread)
            self._tables[files] = path
            for old in set(os.listdir(self._scratch)).difference(
                map(os.path.basename, self._tables.values())
            ):
                if old.startswith(_TABLE):
                    os.unlink(os.path.join(self._scratch, old))
        return self._tables[files]


_TABLE = "table-"


class _Shelf:
    """The segments of one pack; `wanted` is the snapshot that is to have some, `tended` by a task."""

    def __init__(self, pack: Pack) -> None:
        self.pack = pack
        self.directory = os.path.join(pack.directory, DIRECTORY)
        self.segments: tuple[str, ...] = ()
        self.surveyed = self.tended = False
        self.wanted: Snapshot | None = None
        self.surveying, self.tending = trio.Lock(), trio.Lock()


def _write_table(files: Files, directory: str) -> str:
    """Write the columns that the worker processes need; some milliseconds for 80,000 files."""
    _, hashes, offsets, lengths, _, encodings = files.dump()
    file, path = tempfile.mkstemp(prefix=_TABLE, dir=directory)
    with open(file, "wb") as out:
        out.writelines((array("q", [len(files)]).tobytes(), offsets, lengths, hashes, encodings))
    return path


def _added_up(answers: list[tuple[bytes, bytes]]) -> dict[int, int]:
    lines: dict[int, int] = {}
    for rows, counts in answers:
        for row, count in zip(array("I", rows), array("I", counts), strict=True):
            lines[row] = lines.get(row, 0) + count
    return dict(sorted(lines.items()))
