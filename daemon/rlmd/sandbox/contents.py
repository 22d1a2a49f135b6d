"""The contents of open sessions: one copy for all that see the same snapshot."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import trio

from rlmd.sandbox.handover import Handed, hand_over
from rlmd.sandbox.requests import Content, Documents

COPYING_AT_ONCE = 2


@dataclass(slots=True, eq=False)
class Shared:
    """Contents and how many sessions see them."""

    handed: Handed
    key: object
    users: int = 0


class Contents:
    """Copies contents in threads of its own, and closes each copy when its last session has ended."""

    def __init__(self) -> None:
        self._held: dict[object, Shared] = {}
        self._threads = trio.CapacityLimiter(COPYING_AT_ONCE)

    async def take(self, content: Content | None) -> Shared:
        """Return *content* where a process may see it; `give_back` it once.

        Cancelling returns at once; the copy is then closed by whoever finishes it.
        """
        key = (content.id, content.context) if isinstance(content, Documents) else object()
        if key not in self._held:
            copy = _Copy()
            try:
                await trio.to_thread.run_sync(
                    copy.make, content, limiter=self._threads, abandon_on_cancel=True
                )
                handed = copy.claim()
            except BaseException:
                copy.give_up()
                raise
            if key in self._held:
                handed.close()
            else:
                self._held[key] = Shared(handed, key)
        shared = self._held[key]
        shared.users += 1
        return shared

    def give_back(self, shared: Shared) -> None:
        """Say that a session sees *shared* no more."""
        shared.users -= 1
        if not shared.users:
            del self._held[shared.key]
            shared.handed.close()


class _Copy:
    """A copy on its way between a thread and a task that may have gone."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_wanted = True
        self._handed: Handed | None = None

    def make(self, content: Content | None) -> None:
        handed = hand_over(content)
        with self._lock:
            if self._is_wanted:
                self._handed = handed
                return
        handed.close()

    def claim(self) -> Handed:
        handed, self._handed = self._handed, None
        assert handed is not None
        return handed

    def give_up(self) -> None:
        with self._lock:
            self._is_wanted = False
            if self._handed is not None:
                self._handed.close()
