"""One run of work that several callers wait for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import trio

from rlmd.supervision.errors import lone
from rlmd.values import Progress, Report

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
        self._followers: list[Report] = []
        self._value: T | None = None
        self._error: Exception | None = None

    async def run(self) -> None:
        """Do the work; its failure is told to those who wait, not raised here."""
        self._begun = True
        try:
            with self._scope:
                self._value = await self._work(self._report)
        except Exception as error:  # noqa: BLE001  # it belongs to those who wait
            self._error = alone if isinstance(alone := lone(error), Exception) else error
        finally:
            self._done.set()

    async def wait(self, report: Report) -> T:
        """Return what the work returns, or raise what it raised, hearing of its progress meanwhile.

        The last waiter to be cancelled cancels the work, and leaves when it has unwound.
        """
        self._followers.append(report)
        try:
            await self._done.wait()
        finally:
            self._followers.remove(report)
            if not (self._followers or self._done.is_set()):
                self._scope.cancel()
                if self._begun:
                    with trio.move_on_after(UNWIND_S, shield=True):
                        await self._done.wait()
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]  # set whenever there was no error and no cancel

    @property
    def abandoned(self) -> bool:
        """Whether everybody who waited has gone, so that nobody new may join."""
        return self._scope.cancel_called

    def _report(self, progress: Progress) -> None:
        for follow in self._followers:
            follow(progress)
