"""The shelf as the keeper uses it: opened by whoever needs it first, saved behind the answers.

Its contents are let go between refreshes, when there are more than may be kept or the disk is full.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import structlog
import trio

from rlmd.corpus.known import Known
from rlmd.corpus.pack import DiskFull, Pack
from rlmd.corpus.shelf import Shelf
from rlmd.corpus.snapshot import Tree
from rlmd.errors import Busy
from rlmd.values import TokenEncoding

SAVE_EVERY_S = 2.0
T = TypeVar("T")
log = structlog.get_logger(__name__)


class Storage:
    """Owns the shelf in *directory*; `keep` must run as long as it is used, and `close` ends it.

    A *private* one is nobody else's and not read again.
    """

    def __init__(self, directory: Path, *, private: bool, most_bytes: float = math.inf) -> None:
        self.private = private
        self._directory = directory
        self._most_bytes = most_bytes
        self._shelf: Shelf | None = None
        self._wanted, self._tried = trio.Event(), trio.Event()
        self._failed: OSError | None = None
        self._unsaved: dict[Tree, Known] = {}
        self._filling = 0
        self._filled = trio.Event()
        self._gate = trio.Lock()
        self._news = trio.Event()
        self._thread = trio.CapacityLimiter(1)

    @asynccontextmanager
    async def filling(self) -> AsyncIterator[Pack]:
        """Yield the pack, no content of which goes during the block.

        Raises Busy where the cache cannot be used.  When the disk runs full in the block, contents
        that nothing needs are let go before DiskFull is raised on.
        """
        async with self._gate:
            pack = (await self._open()).pack
            self._filling += 1
        self._news.set()
        try:
            yield pack
        except DiskFull:
            self._leave()
            await self._make_room(None)
            self._filling += 1
            raise
        finally:
            self._leave()

    async def recall(self, source: Tree, encoding: TokenEncoding) -> Known | None:
        """Return what an earlier daemon knew of *source*; None if that is nothing."""
        shelf = await self._open()
        return await self._blocking(partial(shelf.load_tree, source, encoding))

    def remember(self, source: Tree, known: Known) -> None:
        """Have *known* saved soon."""
        self._unsaved[source] = known
        self._news.set()

    async def keep(self) -> None:
        """Open the shelf once it is wanted; save what is new every few seconds, let go what is too much."""
        shelf = await self._opened()
        while True:
            await self._news.wait()
            await trio.sleep(SAVE_EVERY_S)
            if not self._filling:
                self._news = trio.Event()
            await self._blocking(self._save)
            if not self._filling and shelf.allocated_bytes > self._most_bytes:
                await self._make_room(int(self._most_bytes))

    def close(self) -> None:
        """Save what is new and close the shelf; blocks for some milliseconds."""
        if self._shelf is not None:
            self._save()
            self._shelf.close()

    async def _open(self) -> Shelf:
        if self._shelf is None:
            tried = self._tried
            self._wanted.set()
            await tried.wait()
        if self._shelf is None:
            what = f"The cache at {self._directory} cannot be used: {self._failed}"
            raise Busy(what, "Make room or mend its permissions, then ask again.") from self._failed
        return self._shelf

    async def _opened(self) -> Shelf:
        """Try as long as somebody wants the shelf; one that a killed daemon left is read, for seconds."""
        while self._shelf is None:
            await self._wanted.wait()
            make = partial(Shelf, self._directory, private=self.private)
            try:
                self._shelf = await trio.to_thread.run_sync(
                    make, limiter=self._thread, abandon_on_cancel=True
                )
            except OSError as failed:
                self._failed, self._wanted = failed, trio.Event()
            self._tried.set()
            self._tried = trio.Event()
        return self._shelf

    async def _make_room(self, most_bytes: int | None) -> None:
        async with self._gate:
            while self._filling:
                self._filled = trio.Event()
                await self._filled.wait()
            shelf = await self._open()
            try:
                gone = await self._blocking(partial(shelf.make_room, most_bytes))
            except OSError as failed:  # the disk has no room for saying so; the next save will
                log.warning("cache.not_saved", error=str(failed))
            else:
                log.info("cache.evicted", bytes=gone)

    def _leave(self) -> None:
        self._filling -= 1
        if not self._filling:
            self._filled.set()

    def _save(self) -> None:
        if self._shelf is None:
            return
        unsaved, self._unsaved = self._unsaved, {}
        try:
            self._shelf.save()
            for source, known in unsaved.items():
                self._shelf.save_tree(source, known)
        except OSError as failed:  # what was written before still holds
            log.warning("cache.not_saved", error=str(failed))

    async def _blocking(self, work: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(work, limiter=self._thread)
