"""One word index and the process that writes it, a batch of contents at a time."""

from __future__ import annotations

import errno
import os
import secrets
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import cast

import trio

from rlmd.corpus.cuts import STYLES, style_of
from rlmd.corpus.index import Content, Searcher
from rlmd.corpus.register import begin_register, read_register
from rlmd.corpus.snapshot import Snapshot
from rlmd.corpus.text import PIECE_BYTES
from rlmd.errors import Busy
from rlmd.offload import Offload, OffloadError

EXTEND = "rlmd.corpus.index:extend"
BATCH_FILES, BATCH_BYTES = 1024, 8 << 20
NUMBER_BITS = 62
_HASH_BYTES = 15


def key_of(snapshot: Snapshot, row: int) -> bytes:
    """Return what decides the cuts and the terms of the file at *row*: its content, and how it is cut."""
    style = STYLES.index(style_of(snapshot.files.paths[row]))
    return snapshot.files.hash_at(row)[:_HASH_BYTES] + style.to_bytes(1, "little")


class Shard:
    """Owns the index in *directory*, written by *offload*; its batches are written in turns.

    `numbers` has what is indexed, by key; `refused` what cannot be.
    """

    def __init__(self, directory: Path, offload: Offload, threads: trio.CapacityLimiter) -> None:
        self._place, self._offload, self._threads = directory, offload, threads
        self._turn = trio.Lock()
        self._begun: dict[bytes, Content] = {}
        self._commits = 0
        self._searcher: tuple[int, Searcher] | None = None
        self.numbers: dict[bytes, int] = {}
        self.refused: set[bytes] = set()

    async def open(self) -> bool:
        """Take up what an earlier daemon has indexed; return False when that is in doubt, or nothing."""
        numbers = await trio.to_thread.run_sync(read_register, self._place, limiter=self._threads)
        self.numbers = numbers or {}
        return numbers is not None

    async def begin(self) -> None:
        """Start from an empty index."""
        await trio.to_thread.run_sync(begin_register, self._place, limiter=self._threads)

    @property
    def commits(self) -> int:
        """How many batches were written since the index was opened."""
        return self._commits

    async def searcher(self) -> Searcher:
        """Return a searcher that sees at least what was committed before the call."""
        if self._searcher is None or self._searcher[0] != self._commits:
            commits = self._commits
            searcher = await trio.to_thread.run_sync(Searcher, str(self._place), limiter=self._threads)
            self._searcher = (commits, searcher)
        return self._searcher[1]

    async def build(
        self,
        snapshot: Snapshot,
        rows: deque[int],
        passed: Callable[[int], None],
        deadline: float,
        goes_on: Callable[[], bool],
    ) -> None:
        """Index the contents at *rows*, taking from its front, until *deadline* or *goes_on* says no.

        *passed* hears of the bytes of each batch.  Cancelling abandons the batch in hand.
        """
        while rows and goes_on():
            with trio.move_on_at(deadline) as waiting:
                await self._turn.acquire()
            if waiting.cancelled_caught:
                return
            try:
                if trio.current_time() >= deadline:
                    return
                batch, size = self._next_batch(snapshot, rows)
                if batch:
                    await self._index(snapshot, batch)
            finally:
                self._turn.release()
            passed(size)

    def _next_batch(self, snapshot: Snapshot, rows: deque[int]) -> tuple[dict[bytes, Content], int]:
        """Take from the front of *rows* what makes one call of the worker, and its bytes.

        Contents that somebody else has indexed meanwhile are passed over.  A content longer than a
        piece goes alone, and its row stays until its last piece.
        """
        files, batch, size, passed = snapshot.files, dict[bytes, Content](), 0, 0
        while rows and len(batch) < BATCH_FILES:
            key, span = key_of(snapshot, rows[0]), files.span_at(rows[0])
            if key in self.numbers or key in self.refused:
                rows.popleft()
                passed += span.length
                continue
            content = self._begun.get(key) or _numbered(
                Content(key, 0, span, files.encoding_at(rows[0]), style_of(files.paths[rows[0]]))
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

    async def _index(self, snapshot: Snapshot, batch: dict[bytes, Content]) -> None:
        """Index *batch*; a content that the worker cannot bear is given up, the others are not."""
        for key in batch:
            self._begun.pop(key, None)
        call = partial(self._offload.call, EXTEND, str(self._place), snapshot.pack.path)
        try:
            reached = await call(list(batch.values()))
        except OffloadError:
            if len(batch) == 1:
                self.refused.update(batch)
                return
            renewed = [(key, _numbered(content)) for key, content in batch.items()]
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
        self.numbers.update((key, content.number) for key, content in batch.items())
        if at < last.span.length:
            del self.numbers[key]
            self._begun[key] = last._replace(at=at, line=line)


def _numbered(content: Content) -> Content:
    """Give *content*, from its beginning, a number that no content ever had."""
    return content._replace(number=secrets.randbits(NUMBER_BITS), at=0, line=0)
