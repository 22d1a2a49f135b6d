"""Work that is asked for from inside another actor's request, and done as ours."""

from __future__ import annotations

import contextvars
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import outcome
import trio

from rlmd.supervision import ungrouped

Work = Callable[[], Awaitable[str]]
Apart = Callable[[Work], Awaitable[str]]


@asynccontextmanager
async def open_apart() -> AsyncIterator[Apart]:
    """Yield what does work in the context of whoever opened this, however deep its asker is.

    A run's code is served inside the request that the run made of the sandbox; a child run that it
    asks for makes requests of the sandbox itself, which would look like a request that waits for
    itself.  It does not: a child never waits for a session.  Cancelling the asker cancels the work
    and returns when it has unwound.
    """
    ours = contextvars.copy_context()

    async def do(work: Work) -> str:
        done, scope = trio.Event(), trio.CancelScope()
        ended: list[outcome.Outcome[str]] = []

        async def task() -> None:
            try:
                with scope:
                    ended.append(outcome.Value(await work()))
            except Exception as exc:  # noqa: BLE001  # whoever asked for the work is told
                ended.append(outcome.Error(exc))
            finally:
                done.set()

        ours.copy().run(nursery.start_soon, task)
        try:
            await done.wait()
        except trio.Cancelled:
            scope.cancel()
            with trio.CancelScope(shield=True):
                await done.wait()
            raise
        return ended[0].unwrap()

    with ungrouped():
        async with trio.open_nursery() as nursery:
            yield do
            nursery.cancel_scope.cancel()
