"""How one incarnation works through its mailbox: one by one, in batches, or side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import structlog
import trio

from rlmd.supervision.errors import lone, part
from rlmd.supervision.mailbox import BatchHandler, Envelope, Handler, Q, R, serve_together

log = structlog.get_logger(__name__)

CRASHES_IN_A_ROW = 3
"""So many crashes with no answer between make the state of a concurrent actor suspect."""


@dataclass(eq=False, slots=True)
class Ledger:
    """What is known of one actor, over all its workers and incarnations.

    `note` hears of each request how many seconds it was in hand, however it ended.
    """

    in_hand: dict[Envelope[Any, Any], float] = field(default_factory=dict)
    note: Callable[[float], None] | None = None
    restarts: int = 0
    last_error: str | None = None
    degraded_until: float = float("-inf")

    @contextmanager
    def holding(self, batch: Sequence[Envelope[Any, Any]]) -> Iterator[None]:
        """Count *batch* as in hand, since now, for the length of the block."""
        now = trio.current_time()
        self.in_hand.update(dict.fromkeys(batch, now))
        try:
            yield
        finally:
            took_s = trio.current_time() - now
            for envelope in batch:
                del self.in_hand[envelope]
                if self.note is not None:
                    self.note(took_s)

    def note_crash(self, crash: BaseException, quiet_after_s: float) -> None:
        """Remember *crash*; the actor is degraded until *quiet_after_s* seconds bring no other."""
        cause = lone(crash)
        self.last_error = f"{type(cause).__name__}: {cause}"
        self.degraded_until = max(self.degraded_until, trio.current_time() + quiet_after_s)


async def serve_one_by_one(
    inbox: trio.MemoryReceiveChannel[Envelope[Q, R]], handle: Handler[Q, R], ledger: Ledger
) -> None:
    """Serve until the mailbox closes; a crash of the handler leaves by here."""
    async for envelope in inbox:
        with ledger.holding([envelope]):
            await envelope.serve(handle)


async def serve_batches(
    inbox: trio.MemoryReceiveChannel[Envelope[Q, R]],
    handle: BatchHandler[Q, R],
    ledger: Ledger,
    *,
    max_batch: int,
) -> None:
    """Serve what waits together, at most *max_batch* at a time, without lingering for more."""
    async for first in inbox:
        batch = [first]
        while len(batch) < max_batch:
            try:
                batch.append(inbox.receive_nowait())
            except (trio.WouldBlock, trio.EndOfChannel):
                break
        with ledger.holding(batch):
            await serve_together(batch, handle)


async def serve_side_by_side(
    inbox: trio.MemoryReceiveChannel[Envelope[Q, R]],
    handle: Handler[Q, R],
    ledger: Ledger,
    *,
    limit: int,
    quiet_after_s: float,
) -> None:
    """Serve each request in a task of its own, at most *limit* at a time.

    A crash costs its own request alone: the others are paid for, and what they share must be
    sound at every checkpoint anyway, for any of them may be cancelled there.  CRASHES_IN_A_ROW
    without an answer between say that it is not sound: the last of them ends the incarnation,
    and the requests still in hand are answered ActorStopped.
    """
    slots = trio.Semaphore(limit)
    in_a_row = 0

    async def serve(envelope: Envelope[Q, R]) -> None:
        nonlocal in_a_row
        try:
            with ledger.holding([envelope]):
                await envelope.serve(handle)
            if not envelope.scope.cancelled_caught:
                in_a_row = 0
        except BaseException as raised:
            passing, crash = part(raised)
            if crash is None:
                raise
            in_a_row += 1
            if in_a_row >= CRASHES_IN_A_ROW:
                raise
            ledger.note_crash(crash, quiet_after_s)
            log.exception("request.crashed", actor=envelope.path[-1], in_a_row=in_a_row, exc_info=crash)
            if passing is not None:
                raise passing from None
        finally:
            slots.release()

    async with trio.open_nursery() as requests:
        while True:
            await slots.acquire()
            try:
                envelope = await inbox.receive()
            except trio.EndOfChannel:
                return
            requests.start_soon(serve, envelope)
