"""Threads for calls that may never come back."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import TypeVar

import trio

from rlmd.errors import Busy

T = TypeVar("T")


class Threads:
    """At most *limit* calls at once; one that hangs can be given up, but keeps its place.

    A given-up thread counts against the limit until its call returns: a dead mount may use up
    these threads and nobody else's.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._limiter = trio.CapacityLimiter(limit)
        self._lock = Lock()
        self._running = set[object]()
        self._abandoned = set[object]()

    @property
    def abandoned(self) -> int:
        """How many given-up calls have not returned yet."""
        return len(self._abandoned)

    @property
    def exhausted(self) -> bool:
        """Whether every thread hangs in a given-up call."""
        return self.abandoned >= self._limit

    async def run(self, work: Callable[[], T]) -> T:
        """Return what *work* returns in a thread.  Cancelling gives the thread up at once.

        Raises Busy while every thread hangs.
        """
        if self.exhausted:
            raise Busy(
                f"{self.abandoned} reads hang on files that do not answer",
                "Look for a dead network or FUSE mount below the path, or leave it out with exclude.",
            )
        call = object()

        def tracked() -> T:
            with self._lock:
                self._running.add(call)
            try:
                return work()
            finally:
                with self._lock:
                    self._running.discard(call)
                    self._abandoned.discard(call)

        try:
            return await trio.to_thread.run_sync(tracked, abandon_on_cancel=True, limiter=self._limiter)
        except trio.Cancelled:
            with self._lock:
                if call in self._running:
                    self._abandoned.add(call)
            raise
