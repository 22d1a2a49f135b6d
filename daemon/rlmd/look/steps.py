"""Run long blocking work in threads, in steps short enough to be given up."""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic

import trio

STEP_S = 0.02


async def in_steps(work: Iterator[None], *, limiter: trio.CapacityLimiter) -> None:
    """Exhaust *work* in a thread, one hop per `STEP_S` of it; what it raises is raised here.

    *work* yields wherever it may pause, at least every few milliseconds.  Cancelling returns at
    once: the step under way is abandoned, holds its place in *limiter* until it ends, and is the
    last one; no step begins after it.  *work* is then dropped with whatever it has open.
    """
    while not await trio.to_thread.run_sync(_step, work, abandon_on_cancel=True, limiter=limiter):
        pass


def _step(work: Iterator[None]) -> bool:
    """Advance *work* for `STEP_S` and say whether it is done."""
    deadline = monotonic() + STEP_S
    return all(monotonic() < deadline for _ in work)
