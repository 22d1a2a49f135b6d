"""The actor that finds the files of a tree and streams them to who asked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

import trio

from rlmd.ingest.threads import Threads
from rlmd.ingest.walk import walk, walk_again
from rlmd.requests import Walk
from rlmd.values import SkipTally

Handler = Callable[[Walk], Awaitable[SkipTally]]


def walker(*, threads: int) -> Callable[[], AbstractAsyncContextManager[Handler]]:
    """Make the actor for `Walk`; all its workers share *threads* threads.

    Its handler sends batches as `out` takes them, one thread hop each, then closes `out` and
    returns the tally.  When the other end of `out` is closed the walk ends there, quietly.
    Cancelling gives up the step in hand, which may hang on a dead mount, and closes `out`.
    Raises Busy while every thread hangs.
    """
    pool = Threads(threads)

    @asynccontextmanager
    async def actor() -> AsyncIterator[Handler]:
        yield partial(_walk, pool)

    return actor


async def _walk(pool: Threads, request: Walk) -> SkipTally:
    tally = SkipTally()
    if request.again is None or request.visitor is None:
        steps = walk(request.root, request.targets, request.rules, tally, request.visitor)
    else:
        steps = walk_again(request.root, request.again, request.rules, request.visitor)
    with request.out as out:
        try:
            while (batch := await pool.run(partial(next, steps, None))) is not None:
                if batch:
                    await out.send(batch)
        except trio.BrokenResourceError:
            pass  # nobody wants the rest
    return tally
