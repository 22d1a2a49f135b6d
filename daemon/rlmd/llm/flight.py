"""One call that several askers wait for and that belongs to none of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import trio

T = TypeVar("T")

_UNWIND_S = 2.0


class Flight(Generic[T]):
    """Work that is cancelled when the last of those who wait for it has gone.

    Whoever makes it runs it in a nursery that outlives every waiter.
    """

    def __init__(self, work: Callable[[], Awaitable[T]]) -> None:
        self._work = work
        self._scope = trio.CancelScope()
        self._done = trio.Event()
        self._waiters: dict[object, None] = {}
        self._payer: object = None
        self._value: T | None = None
        self._error: Exception | None = None

    @property
    def abandoned(self) -> bool:
        """Whether everybody who waited has gone, so that nobody new may join."""
        return self._scope.cancel_called

    async def run(self) -> None:
        """Do the work; its failure is told to those who wait, not raised here."""
        try:
            with self._scope:
                self._value = await self._work()
        except Exception as error:  # noqa: BLE001  # it belongs to those who wait
            self._error = error
        finally:
            self._payer = next(iter(self._waiters), None)
            self._done.set()

    async def wait(self) -> tuple[T, bool]:
        """Return what the work returns, and whether this waiter is the one to pay for it.

        Raises what the work raised.  The last waiter to be cancelled cancels the work, and leaves
        when it has unwound; any other just leaves.
        """
        me = object()
        self._waiters[me] = None
        try:
            await self._done.wait()
        finally:
            del self._waiters[me]
            if not (self._waiters or self._done.is_set()):
                self._scope.cancel()
                with trio.move_on_after(_UNWIND_S, shield=True):
                    await self._done.wait()
        if self._error is not None:
            raise self._error.with_traceback(None)
        return self._value, self._payer is me  # type: ignore[return-value]  # set unless there was an error
