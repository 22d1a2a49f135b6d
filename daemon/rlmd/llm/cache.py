"""Replies that were paid for once, by the exact request that brought them."""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from hashlib import blake2b
from typing import TypeVar

import apsw
import structlog
import trio

from rlmd.llm.replies import Entry, ReplyFile, decode, encode
from rlmd.llm.values import Chat, Reply, free

log = structlog.get_logger(__name__)

T = TypeVar("T")
Clock = Callable[[], float]

LONGEST_BODY = 256 * 1024
_READ_PATIENCE_S = 2.0
_LINGER_S = 0.2
_CLOSING_S = 5.0


def request_key(project: str, endpoint: str, chat: Chat) -> bytes:
    """Name a request: equal for equal chats to one endpoint inside one project, and for nothing else."""
    asked = [
        "chat/1",
        project,
        endpoint,
        chat.model,
        [[message.role, message.content] for message in chat.messages],
        chat.max_tokens,
        chat.temperature,
        chat.seed,
        chat.stop,
        chat.json_schema,
    ]  # not cache_prefix: it is a hint to the provider, the answer is the same
    return blake2b(json.dumps(asked, separators=(",", ":")).encode(), digest_size=32).digest()


def is_keepable(reply: Reply) -> bool:
    """Say whether *reply* is whole: ended by the model itself, and not blank."""
    return reply.finish_reason == "stop" and bool(reply.text.strip())


class Cache:
    """The latest used *entries* replies, each for *ttl_s* seconds of the *clock*.

    Which ones they are is known here, in the order of use; their texts lie in the file, or here
    where there is none.  A miss costs no disk, a hit one read in a thread; writes follow in batches.
    A file that fails fails no call: what it held is missed.
    """

    def __init__(self, *, ttl_s: float, entries: int, clock: Clock = time.time) -> None:
        self._ttl_s = ttl_s
        self._entries = entries
        self._clock = clock
        self._file: ReplyFile | None = None
        self._thread = trio.CapacityLimiter(1)
        self._expiries: OrderedDict[bytes, float] = OrderedDict()
        self._texts: dict[bytes, str] = {}
        self._touched: set[bytes] = set()
        self._dropped: set[bytes] = set()
        self._written_to = trio.Event()

    def __len__(self) -> int:
        return len(self._expiries)

    async def get(self, key: bytes) -> Reply | None:
        """Return the reply kept under *key*, free of charge, or None."""
        expiry = self._expiries.get(key)
        if expiry is None:
            return None
        body = None
        if expiry > self._clock():
            self._expiries.move_to_end(key)
            self._touched.add(key)
            body = self._texts.get(key) or await self._read(key)
        try:
            return free(decode(body or ""))
        except (TypeError, ValueError):
            if self._expiries.get(key) == expiry:
                self._drop(key)
            return None

    def put(self, key: bytes, reply: Reply) -> None:
        """Keep *reply* if it is whole and no longer than LONGEST_BODY; the least used make room."""
        body = encode(reply) if is_keepable(reply) else ""
        if not body or len(body) > LONGEST_BODY:
            return
        self._texts[key] = body
        self._expiries[key] = self._clock() + self._ttl_s
        self._expiries.move_to_end(key)
        self._touched.add(key)
        while len(self._expiries) > self._entries:
            self._drop(next(iter(self._expiries)))
        self._written_to.set()

    async def open(self, path: str) -> None:
        """Take in what the file *path* holds; one that cannot be had is gone without."""
        try:
            file = await self._in_thread(partial(ReplyFile, path))
            self._expiries.update(await self._in_thread(partial(file.load, self._clock())))
        except (apsw.Error, OSError) as error:
            log.warning("cache.unavailable", error=str(error))
            return
        self._file = file
        while len(self._expiries) > self._entries:
            self._drop(next(iter(self._expiries)))

    async def keep_writing(self) -> None:
        """Write what is new, a batch every `_LINGER_S` at most; runs until cancelled."""
        while True:
            await self._written_to.wait()
            self._written_to = trio.Event()
            await trio.sleep(_LINGER_S)
            with trio.move_on_after(_CLOSING_S, shield=True):
                await self.write()

    async def write(self) -> None:
        """Bring the file up to date: texts, order of use, and what was dropped."""
        if self._file is None:
            return
        entries = [Entry(key, self._expiries[key], body) for key, body in self._texts.items()]
        used = [key for key in self._expiries if key in self._touched]
        dropped = list(self._dropped)
        self._texts.clear()
        self._touched.clear()
        self._dropped.clear()
        await self._guarded(partial(self._file.write, entries, used, dropped))

    async def close(self) -> None:
        """Write what is left and close the file."""
        with trio.move_on_after(_CLOSING_S, shield=True):
            await self.write()
            if self._file is not None:
                await self._in_thread(self._file.close)

    def _drop(self, key: bytes) -> None:
        del self._expiries[key]
        self._texts.pop(key, None)
        self._touched.discard(key)
        if self._file is not None:
            self._dropped.add(key)

    async def _read(self, key: bytes) -> str | None:
        """Read from the file; a disk that takes its time is not waited for."""
        if self._file is None:
            return None
        with trio.move_on_after(_READ_PATIENCE_S):
            return await self._guarded(partial(self._file.read, key))
        return None

    async def _guarded(self, work: Callable[[], T]) -> T | None:
        """Do *work* on the file; where that fails, begin with an empty file, or without one."""
        try:
            return await self._in_thread(work)
        except apsw.Error as error:
            log.warning("cache.lost", error=str(error))
        self._expiries.clear()
        self._texts.clear()
        file, self._file = self._file, None
        try:
            if file is not None:
                await self._in_thread(file.remake)
                self._file = file
        except (apsw.Error, OSError) as error:
            log.warning("cache.unavailable", error=str(error))
        return None

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(work, limiter=self._thread, abandon_on_cancel=True)


@asynccontextmanager
async def open_cache(
    path: str | None, *, ttl_s: float, entries: int, clock: Clock = time.time
) -> AsyncIterator[Cache]:
    """Keep replies in the file *path*, or only in memory, for the length of the block."""
    cache = Cache(ttl_s=ttl_s, entries=entries, clock=clock)
    if path is not None:
        await cache.open(path)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cache.keep_writing)
            yield cache
            nursery.cancel_scope.cancel()
    finally:
        await cache.close()
