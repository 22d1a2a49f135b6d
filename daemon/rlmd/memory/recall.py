"""Reading memory while it is written: a few connections that can change nothing, in threads."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import apsw
import outcome
import trio

from rlmd.errors import NotFound
from rlmd.memory.ask import Page, Recall, Recalled, require_askable
from rlmd.memory.care import back_up
from rlmd.memory.evidence import Resolve, judge
from rlmd.memory.exchange import Exported, export
from rlmd.memory.query import VOCABULARY
from rlmd.memory.search import Reader
from rlmd.store import integrity, open_reader, used_bytes

T = TypeVar("T")

_LOOKING_THREADS = 4


def _see_nothing(_project: str, path: str) -> str:
    raise NotFound(f"nobody looks at {path}")


@dataclass(frozen=True, slots=True)
class Holdings:
    """How much is remembered: memories that stand, and the bytes of the file and of its log.

    Nothing but a checkpoint writes the file itself, so its time is that of the last.
    """

    items: int
    bytes: int
    wal_bytes: int
    checkpointed_ns: int


class Recaller:
    """Answers questions about memory.db, each in a thread with a connection of its own.

    An answer sees every write that was acknowledged before it was asked for.  Cancelling interrupts
    the statement that runs and waits for that.
    """

    def __init__(self, path: str, readers: Sequence[Reader]) -> None:
        self._path = path
        self._threads = trio.CapacityLimiter(len(readers))
        self._looking = trio.CapacityLimiter(_LOOKING_THREADS)
        self._put_back, self._free = trio.open_memory_channel[Reader](len(readers))
        for reader in readers:
            self._put_back.send_nowait(reader)

    async def recall(self, request: Recall, resolve: Resolve = _see_nothing) -> Recalled:
        """Return one page of the memories that *request* asks for, expired ones never.

        What the code says now is looked up through *resolve*, in threads.  Raises BadArgument for a
        question that makes no sense.  Following `next_cursor` returns each memory that stood all the
        while exactly once, whatever is stored meanwhile.
        """
        page = await self.page(request)
        if not any(page.anchors):
            return Recalled(page.items, page.next_cursor)
        work = partial(judge, page, resolve, ranked=request.query is not None)
        return await trio.to_thread.run_sync(work, limiter=self._looking, abandon_on_cancel=True)

    async def page(self, request: Recall) -> Page:
        """Return what the file says alone, its anchors as they were taken."""
        require_askable(request)
        return await self._run(partial(Reader.recall, request=request))

    async def export(self, project: str, after: int) -> Exported:
        """Return lines of JSON, one a version, written after number *after*; see `exchange`."""
        return await self._run(lambda reader: export(reader.db, project, after))

    async def back_up(self) -> str:
        """Write a whole copy beside the file, under a name that says when, and return where."""
        return await trio.to_thread.run_sync(back_up, self._path, limiter=self._looking)

    async def holdings(self) -> Holdings:
        """Count what is remembered."""
        items, held_bytes = await self._run(lambda reader: (reader.count(), used_bytes(reader.db)))
        try:
            wal_bytes = os.stat(f"{self._path}-wal").st_size
        except FileNotFoundError:
            wal_bytes = 0
        return Holdings(items, held_bytes, wal_bytes, os.stat(self._path).st_mtime_ns)

    async def integrity(self) -> tuple[str, ...]:
        """Read the whole file and say what is wrong with it; nothing when it is sound."""
        return await trio.to_thread.run_sync(integrity, self._path, limiter=self._threads)

    async def _run(self, work: Callable[[Reader], T]) -> T:
        reader = await self._free.receive()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_interrupt_when_cancelled, reader.db)
                done = await trio.to_thread.run_sync(outcome.capture, work, reader, limiter=self._threads)
                nursery.cancel_scope.cancel()
        finally:
            self._put_back.send_nowait(reader)
        return done.unwrap()


@asynccontextmanager
async def open_recaller(path: str, *, readers: int = 4) -> AsyncIterator[Recaller]:
    """Answer up to *readers* questions at a time; the writer must have opened *path* before."""
    opened: list[Reader] = []
    try:
        while len(opened) < readers:
            opened.append(Reader(open_reader(path, VOCABULARY)))
        yield Recaller(path, opened)
    finally:
        for reader in opened:
            reader.db.close(True)


async def _interrupt_when_cancelled(db: apsw.Connection) -> None:
    try:
        await trio.sleep_forever()
    finally:
        db.interrupt()
