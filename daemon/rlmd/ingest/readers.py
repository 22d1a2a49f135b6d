"""The actor that reads batches of files, and leaves behind the ones that do not answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import structlog
import trio

from rlmd.ingest.reading import Reading, ReadLimits
from rlmd.ingest.threads import Threads
from rlmd.requests import Read
from rlmd.supervision import ungrouped
from rlmd.values import ReadFile, Skip

Handler = Callable[[Read], Awaitable[list[ReadFile | Skip]]]
log = structlog.get_logger(__name__)


def reader_pool(
    *, max_file_bytes: int, read_timeout_s: float, open_files: int, stream_over_bytes: int = 10 << 20
) -> Callable[[], AbstractAsyncContextManager[Handler]]:
    """Make the actor for `Read`; all its workers share *open_files* threads, a file open in each.

    Its handler returns one outcome per file, in order, and takes one thread hop for the batch.  A
    system call that takes over *read_timeout_s* is given up: its file is skipped as `unreadable`,
    the rest of the batch goes on in another thread.  Cancelling gives up the thread in hand; it
    ends by itself after its current call.  Raises Busy while every thread hangs.
    """
    threads = Threads(open_files)
    limits = ReadLimits(max_file_bytes, stream_over_bytes)

    async def read(request: Read) -> list[ReadFile | Skip]:
        outcomes: list[ReadFile | Skip] = []
        while len(outcomes) < len(request.files):
            reading = Reading(request.files[len(outcomes) :], request.sink, limits)
            await _run(reading, threads, read_timeout_s)
            outcomes += reading.outcomes
            if reading.started and len(outcomes) < len(request.files):
                outcomes.append(Skip(request.files[len(outcomes)].path, "unreadable"))
        return outcomes

    @asynccontextmanager
    async def actor() -> AsyncIterator[Handler]:
        yield read

    return actor


async def _run(reading: Reading, threads: Threads, timeout_s: float) -> None:
    """Run *reading* to its end, or give it up in the first call that takes over *timeout_s*."""
    try:
        with ungrouped():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_watch, reading, threads, timeout_s, nursery.cancel_scope)
                await threads.run(reading.run)
                nursery.cancel_scope.cancel()
    finally:
        reading.give_up()


async def _watch(reading: Reading, threads: Threads, timeout_s: float, scope: trio.CancelScope) -> None:
    """Cancel *scope* once its thread hangs, or can never start because all others hang."""
    while (waited_s := reading.waited_s()) < timeout_s and (  # noqa: ASYNC110 - only the thread knows
        reading.started or not threads.exhausted
    ):
        await trio.sleep(timeout_s - waited_s)
    scope.cancel()
    log.warning("read.abandoned", waited_s=round(waited_s, 3), hanging=threads.abandoned)
