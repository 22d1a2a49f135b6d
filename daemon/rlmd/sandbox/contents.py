"""The contents of open sessions: one place for all that see the same snapshot."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import trio

from rlmd.sandbox.handover import Handed, hand_over
from rlmd.sandbox.outcome import Violation
from rlmd.sandbox.requests import Content, Documents
from rlmd.sandbox.table import MOST_BLOCKS

COPYING_AT_ONCE = 4


@dataclass(slots=True, eq=False)
class Shared:
    """Contents and how many sessions see them.

    The *content* is held too: what is punched out of a pack is what no living snapshot names.
    """

    handed: Handed
    key: object
    content: Content | None
    threads: trio.CapacityLimiter
    users: int = 0

    async def bring(self, first: int, count: int) -> None:
        """Have *count* blocks there from *first* on; at once where they are.

        Raises Busy where a disk is full, and Violation for blocks that do not exist or are too many.
        Cancelling returns at once.
        """
        source = self.handed.source
        if source is None or not 0 < count <= min(MOST_BLOCKS, source.blocks - first):
            raise Violation("it asked for contents that it has not")
        if not source.has(first, count):
            await trio.to_thread.run_sync(
                source.bring, first, count, limiter=self.threads, abandon_on_cancel=True
            )


class Contents:
    """Hands contents over in threads of its own, and closes them when their last session has ended."""

    def __init__(self) -> None:
        self._held: dict[object, Shared] = {}
        self._threads = trio.CapacityLimiter(COPYING_AT_ONCE)

    async def take(self, content: Content | None) -> Shared:
        """Return *content* where a process may see it; `give_back` it once.

        Cancelling returns at once; what is made is then closed by whoever finishes it.
        """
        key = (content.id, content.context) if isinstance(content, Documents) else object()
        if key not in self._held:
            making = _Making()
            try:
                await trio.to_thread.run_sync(
                    making.make, content, limiter=self._threads, abandon_on_cancel=True
                )
                handed = making.claim()
            except BaseException:  # cancelled or failed, half of it is of no use
                making.give_up()
                raise
            if key in self._held:
                handed.close()
            else:
                self._held[key] = Shared(handed, key, content, self._threads)
        shared = self._held[key]
        shared.users += 1
        return shared

    def give_back(self, shared: Shared) -> None:
        """Say that a session sees *shared* no more."""
        shared.users -= 1
        if not shared.users:
            del self._held[shared.key]
            shared.handed.close()


class _Making:
    """Contents on their way between a thread and a task that may have gone."""

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
