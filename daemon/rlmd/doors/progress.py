"""Progress notifications for one request: monotone, not too many, never silent for long."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import trio

from rlmd.values import Progress, Report, ignore_progress

Notify = Callable[[float, float | None, str | None], Awaitable[None]]

STAGES = ("walk", "read", "count", "index", "search", "turn")
PAUSE_S = 0.2
SILENCE_S = 5.0
"""Half of what the contract allows."""
STEP = 1e-6


class Course:
    """The latest word on how far the work is, as one number that only ever grows."""

    def __init__(self) -> None:
        self.moved = trio.Event()
        self.message = "waiting"
        self._reached = 0.0
        self._told = 0.0

    def report(self, progress: Progress) -> None:
        """Take a stage's own count; stages may overlap, the number never falls back."""
        share = progress.done / progress.total if progress.total else progress.done / (progress.done + 10_000)
        self._reached = max(self._reached, STAGES.index(progress.stage) + min(share, 1.0))
        of = "" if progress.total is None else f" of {progress.total:,}"
        self.message = progress.note or f"{progress.stage}: {progress.done:,}{of} {progress.unit}"
        self.moved.set()

    def next_value(self) -> float:
        """Return where the work stands, above everything told before."""
        self._told = max(self._reached, self._told + STEP)
        return self._told


@asynccontextmanager
async def notifying(notify: Notify | None) -> AsyncIterator[Report]:
    """Yield the callback that work reports to, passing its word on through *notify* meanwhile."""
    if notify is None:
        yield ignore_progress
        return
    course = Course()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_tell, course, notify)
        yield course.report
        nursery.cancel_scope.cancel()


async def _tell(course: Course, notify: Notify) -> None:
    while True:
        with trio.move_on_after(SILENCE_S - PAUSE_S):
            await course.moved.wait()
        course.moved = trio.Event()
        try:
            await notify(course.next_value(), float(len(STAGES)), course.message)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            return  # the connection is ending and takes the request with it
        await trio.sleep(PAUSE_S)
