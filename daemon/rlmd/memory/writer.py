"""The memory writer: the only task that changes memory.db."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import trio

from rlmd.memory.batch import Change, Done
from rlmd.memory.pen import Pen
from rlmd.supervision import Restart

RESTART = Restart(limit=3)
"""How a memory writer is supervised: one that keeps crashing must end the process."""

_CHECKPOINT_PAGES = 8_192
_QUIET_S = 5.0
_TIDYING_S = 600.0
_CLOSING_S = 10.0

WriteAll = Callable[[list[Change]], Awaitable[Sequence[Done | Exception]]]


@asynccontextmanager
async def memory_writer(
    path: str, *, max_value_bytes: int = 65_536, max_bytes: int = 1 << 30
) -> AsyncIterator[WriteAll]:
    """Own memory.db for the length of the block; a batch actor, to be supervised by `RESTART`.

    One batch is one transaction, and its answers come after it was synced to disk.  Each answer is
    what the request asks for or a RequestError: BadArgument, NotFound, TooLarge (a value over
    *max_value_bytes*, or a store grown to *max_bytes*: nothing is ever evicted), VersionConflict, or
    Busy where the disk refuses.  A batch that was begun is finished, however its askers fare.  What has
    expired is removed when nothing else is to do, or when room is needed.  Opening raises StoreRefused.
    """
    thread = trio.CapacityLimiter(1)
    pen = await trio.to_thread.run_sync(Pen, path, max_value_bytes, max_bytes, limiter=thread)
    committed = trio.Event()

    async def write(requests: list[Change]) -> Sequence[Done | Exception]:
        outcomes = await trio.to_thread.run_sync(pen.write, requests, limiter=thread)
        committed.set()
        return outcomes

    async def care_between_commits() -> None:
        """Copy the log once it has grown, or once nothing came for a while; commits wait for that."""
        nonlocal committed
        while True:
            quiet = True
            with trio.move_on_after(_QUIET_S if pen.keeper.wal_pages else _TIDYING_S):
                await committed.wait()
                quiet = False
            committed = trio.Event()
            if quiet:
                await trio.to_thread.run_sync(pen.tidy, limiter=thread)
            if quiet or pen.keeper.wal_pages > _CHECKPOINT_PAGES:
                await trio.to_thread.run_sync(pen.keeper.checkpoint, limiter=thread)

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(care_between_commits)
            yield write
            nursery.cancel_scope.cancel()
    finally:
        with trio.move_on_after(_CLOSING_S, shield=True):
            await trio.to_thread.run_sync(pen.keeper.close, limiter=thread)
