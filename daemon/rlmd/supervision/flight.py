"""One piece of work that several callers wait for and that belongs to none of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar, cast

import trio

from rlmd.supervision.errors import lone
from rlmd.values import Progress, Report, ignore_progress

T = TypeVar("T")

UNWIND_S = 2.0


class Flight(Generic[T]):
    """Work that is cancelled when the last of those who wait for it has gone.

    Whoever makes it runs it in a nursery that outlives every waiter.
    """

    def __init__(self, work: Callable[[Report], Awaitable[T]]) -> None:
        self._work = work
        self._scope = trio.CancelScope()
        self._begun = False
        self._done = trio.Event()
        self._waiters: dict[object, Report] = {}
        self._first: object = None
        self._value: T | None = None
        self._error: Exception | None = None

    @property
    def abandoned(self) -> bool:
        """Whether everybody who waited has gone, so that nobody new may join."""
        return self._scope.cancel_called

    async def run(self) -> None:
        """Do the work; its failure is told to those who wait, not raised here."""
        self._begun = True
        try:
            with self._scope:
                self._value = await self._work(self._report)
        except Exception as error:  # noqa: BLE001  # it belongs to those who wait
            self._error = alone if isinstance(alone := lone(error), Exception) else error
        finally:
            self._first = next(iter(self._waiters), None)
            self._done.set()

    async def wait(self, report: Report = ignore_progress) -> tuple[T, bool]:
        """Return what the work returns, and whether of those who waited to the end this one came first.

        Raises what the work raised.  *report* hears of its progress meanwhile.  The last waiter to be
        cancelled cancels the work, and leaves when it has unwound; any other just leaves.
        """
        me = object()
        self._waiters[me] = report
        try:
            await self._done.wait()
        finally:
            del self._waiters[me]
            if not (self._waiters or self._done.is_set()):
                self._scope.cancel()
                if self._begun:
                    with trio.move_on_after(UNWIND_S, shield=True):
                        await self._done.wait()
        if self._error is not None:
            raise self._error.with_traceback(None)
        return cast("T", self._value), self._first is me

    def _report(self, progress: Progress) -> None:
        for follow in list(self._waiters.values()):
            follow(progress)
