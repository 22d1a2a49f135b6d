"""The one gate in front of an endpoint: every call of every session waits its turn here."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from rlmd.llm.fair import FairQueue, Ticket
from rlmd.llm.lanes import Lane, Lanes
from rlmd.llm.limits import Limits
from rlmd.llm.values import RateInfo, Reply, UpstreamError
from rlmd.llm.windows import Reservation

_LONGEST_HOLD_S = 3600.0


@dataclass(eq=False, slots=True)
class Passage:
    """One call's time in flight; whoever makes the call sets `result`, or it was cancelled."""

    lane: Lane
    ticket: Ticket
    sent_at: float
    reservation: Reservation
    entered: int
    result: tuple[Reply, RateInfo] | UpstreamError | None = None


@dataclass(eq=False, slots=True)
class _Wait:
    over: trio.Event = field(default_factory=trio.Event)
    outcome: Passage | UpstreamError | None = None


class Gate:
    """Lets a call pass when its model has a free slot, the windows have room and nobody holds us back.

    `keep_time` must run for as long as calls may wait.
    """

    def __init__(self, endpoint: str, limits: Limits) -> None:
        self._endpoint = endpoint
        self._limits = limits
        self._queue = FairQueue()
        self._waits: dict[Ticket, _Wait] = {}
        self.lanes = Lanes(endpoint, limits)
        self.in_flight = 0
        self._held_until = -math.inf
        self._wake_at = math.inf
        self._rescheduled = trio.Event()

    @property
    def waiting(self) -> int:
        """How many calls wait for their turn."""
        return len(self._queue)

    @asynccontextmanager
    async def passage(self, ticket: Ticket) -> AsyncIterator[Passage]:
        """Wait for a turn and hold it for the block; its `result` teaches the limits when it is left.

        Raises UpstreamError: "open" where the breaker turns the call away, "rate_limited" where the
        endpoint wants a longer wait than we have patience for.  Cancelling gives the place back.
        """
        passage = await self._turn(ticket)
        try:
            yield passage
        finally:
            self._leave(passage)

    def hurry(self, ticket: Ticket) -> None:
        """Let *ticket* go with the interactive ones from now on."""
        self._queue.hurry(ticket)

    async def keep_time(self) -> None:
        """Let calls pass that wait for nothing but time; runs until cancelled."""
        while True:
            self._rescheduled = trio.Event()
            with trio.move_on_at(self._wake_at):
                await self._rescheduled.wait()
                continue
            self._let_pass()

    async def _turn(self, ticket: Ticket) -> Passage:
        now = trio.current_time()
        lane = self.lanes.use(ticket.model, now, (each.model for each in self._queue))
        self._require_hope(lane, ticket, now)
        wait = self._waits[ticket] = _Wait()
        self._queue.add(ticket)
        self._let_pass()
        try:
            await wait.over.wait()
        except trio.Cancelled:
            if isinstance(wait.outcome, Passage):
                self._leave(wait.outcome, sent=False)
            elif wait.outcome is None:
                self._queue.remove(ticket)
                del self._waits[ticket]
            raise
        if isinstance(wait.outcome, Passage):
            return wait.outcome
        assert wait.outcome is not None
        raise wait.outcome

    def _require_hope(self, lane: Lane, ticket: Ticket, now: float) -> None:
        """Raise at once what the call would only learn after a wait that nobody has patience for."""
        if lane.breaker.wait_s(now) > 0:
            raise self._turned_away(lane, now)
        held_s = max(self._held_until - now, lane.windows.wait_s(now, ticket.tokens))
        if held_s > self._limits.retry.patience_s:
            raise self._held_back(held_s)

    def _let_pass(self) -> None:
        """Call everybody in who may go now, and note when time alone will let somebody else."""
        now = trio.current_time()
        before, self._wake_at = self._wake_at, math.inf
        if now < self._held_until:
            self._wake_at = self._held_until
            self._give_up_hope(now)
        else:
            while self.in_flight < self._limits.concurrency:
                ticket = self._queue.take(lambda each: self._fits(each, now))
                if ticket is None:
                    break
                self._call_in(ticket, now)
        if self._wake_at != before:
            self._rescheduled.set()

    def _fits(self, ticket: Ticket, now: float) -> bool:
        lane = self.lanes[ticket.model]
        if lane.breaker.wait_s(now) > 0:
            return True  # to be turned away at once
        if lane.in_flight >= lane.aimd.limit:
            return False
        wait_s = lane.windows.wait_s(now, ticket.tokens)
        if wait_s > 0:
            self._wake_at = min(self._wake_at, now + wait_s)
        return wait_s == 0

    def _call_in(self, ticket: Ticket, now: float) -> None:
        lane = self.lanes[ticket.model]
        entered = lane.breaker.enter(now)
        if entered is None:
            self._queue.ended(ticket.job)
            self._answer(ticket, self._turned_away(lane, now))
            return
        lane.in_flight += 1
        self.in_flight += 1
        reservation = lane.windows.reserve(now, ticket.tokens)
        self._answer(ticket, Passage(lane, ticket, now, reservation, entered))

    def _give_up_hope(self, now: float) -> None:
        """Tell those who wait when the endpoint wants more time than anybody has patience for."""
        held_s = self._held_until - now
        if held_s > self._limits.retry.patience_s:
            for ticket in list(self._queue):
                self._queue.remove(ticket)
                self._answer(ticket, self._held_back(held_s))

    def _answer(self, ticket: Ticket, outcome: Passage | UpstreamError) -> None:
        wait = self._waits.pop(ticket)
        wait.outcome = outcome
        wait.over.set()

    def _leave(self, passage: Passage, *, sent: bool = True) -> None:
        """Give the slot back, settle the reservation and learn from how the call ended."""
        now = trio.current_time()
        result = passage.result
        if isinstance(result, UpstreamError) and result.retryable and result.retry_after_s:
            hold_s = min(result.retry_after_s, _LONGEST_HOLD_S)
            self._held_until = max(self._held_until, now + hold_s)
        passage.lane.settle(passage.reservation, result, sent=sent)
        passage.lane.learn(now, passage.sent_at, passage.entered, result)
        passage.lane.in_flight -= 1
        self.in_flight -= 1
        self._queue.ended(passage.ticket.job)
        self._let_pass()

    def _turned_away(self, lane: Lane, now: float) -> UpstreamError:
        wait_s = lane.breaker.wait_s(now)
        when = (
            f"in {math.ceil(wait_s)} s" if wait_s < math.inf else "as soon as the call that tries it is back"
        )
        return UpstreamError(
            "open",
            f"{self._endpoint} failed repeatedly with {lane.model} and is left alone for now; "
            f"the last failure was: {lane.last_words}",
            hint=f"It is tried again {when}.",
        )

    def _held_back(self, held_s: float) -> UpstreamError:
        return UpstreamError(
            "rate_limited",
            f"{self._endpoint} takes no more calls for {math.ceil(held_s)} s: its rate limit is used up",
            retry_after_s=held_s,
        )
