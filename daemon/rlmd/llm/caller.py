"""The caller: the only one in the daemon that asks a model, on behalf of every session."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial

import structlog
import trio

from rlmd.errors import Busy
from rlmd.llm.cache import Cache, Clock, open_cache, request_key
from rlmd.llm.fair import Ticket
from rlmd.llm.gate import Gate
from rlmd.llm.limits import Limits
from rlmd.llm.meter import Meter
from rlmd.llm.values import Ask, Chat, RateInfo, Reply, Upstream, UpstreamError, free
from rlmd.llm.windows import estimate_tokens
from rlmd.supervision import Flight
from rlmd.values import Report

log = structlog.get_logger(__name__)

Answer = Callable[[Ask], Awaitable[Reply]]

_CLOSING_S = 2.0


def mailbox_limit(limits: Limits) -> int:
    """Say how many requests the actor serves side by side: more than it accepts, so that it can refuse."""
    return limits.queue + 64


@asynccontextmanager
async def llm_caller(
    make_upstream: Callable[[], Upstream],
    limits: Limits,
    meter: Meter,
    *,
    cache_path: str | None,
    clock: Clock = time.time,
    luck: Callable[[], float] = random.random,
) -> AsyncIterator[Answer]:
    """Own the endpoint for the length of the block; a concurrent actor of `mailbox_limit`.

    Each `Ask` is answered by one whole `Reply`, or by UpstreamError or Busy.  Equal asks in flight
    share one call, which ends when the last of their askers leaves.  *clock* dates what is cached.
    """
    upstream = make_upstream()
    try:
        async with (
            open_cache(
                cache_path, ttl_s=limits.cache_ttl_s, entries=limits.cache_entries, clock=clock
            ) as cache,
            trio.open_nursery() as nursery,
        ):
            caller = _Caller(upstream, limits, meter, cache, nursery, luck)
            nursery.start_soon(caller.gate.keep_time)
            yield caller.answer
            nursery.cancel_scope.cancel()
    finally:
        with trio.move_on_after(_CLOSING_S, shield=True):
            await upstream.aclose()


class _Caller:
    """From the outside in: acceptance, cache, flights, retries, the gate, the deadline, the endpoint."""

    def __init__(
        self,
        upstream: Upstream,
        limits: Limits,
        meter: Meter,
        cache: Cache,
        nursery: trio.Nursery,
        luck: Callable[[], float],
    ) -> None:
        self.gate = Gate(upstream.name, limits)
        self._upstream = upstream
        self._limits = limits
        self._meter = meter
        self._cache = cache
        self._nursery = nursery
        self._luck = luck
        self._accepted: Counter[str] = Counter()
        self._flights: dict[bytes, tuple[Flight[Reply], Ticket]] = {}
        meter.endpoint, meter.gate = upstream.name, self.gate

    async def answer(self, ask: Ask) -> Reply:
        """Answer *ask* from the cache, from a call under way, or by a call."""
        with self._accept(ask.job):
            if not ask.use_cache:
                return await self._call(ask, _ticket(ask))
            key = request_key(ask.project, self._upstream.name, ask.chat)
            if (kept := await self._cache.get(key)) is not None:
                self._meter.hits += 1
                return kept
            return await self._share(key, ask)

    @contextmanager
    def _accept(self, job: str) -> Iterator[None]:
        """Count the block as one call in hand; raise Busy where there are too many."""
        most = self._limits.queue
        if self._accepted.total() >= most:
            raise Busy(f"{most} model calls are in hand (llm.queue).", "Ask again in a moment.")
        if self._accepted[job] >= max(1, most // 2):
            raise Busy(f"This job has {most // 2} model calls in hand, half of llm.queue.", "Ask for fewer.")
        self._accepted[job] += 1
        try:
            yield
        finally:
            self._accepted[job] -= 1
            if not self._accepted[job]:
                del self._accepted[job]

    async def _share(self, key: bytes, ask: Ask) -> Reply:
        """Join the flight of this request, or begin it."""
        flight, ticket = self._flights.get(key, (None, _ticket(ask)))
        if flight is None or flight.abandoned:
            self._meter.misses += 1
            ticket = _ticket(ask)
            flight = Flight(partial(self._call_and_keep, key, ask, ticket))
            self._flights[key] = flight, ticket
            self._nursery.start_soon(self._fly, key, flight)
        else:
            self._meter.joined += 1
            if ask.interactive:
                self.gate.hurry(ticket)
        reply, pays = await flight.wait()
        return reply if pays else free(reply)

    async def _fly(self, key: bytes, flight: Flight[Reply]) -> None:
        try:
            await flight.run()
        finally:
            standing, _ = self._flights.get(key, (None, None))
            if standing is flight:  # an abandoned one may have been replaced
                del self._flights[key]

    async def _call_and_keep(self, key: bytes, ask: Ask, ticket: Ticket, _: Report) -> Reply:
        reply = await self._call(ask, ticket)
        self._cache.put(key, reply)
        return reply

    async def _call(self, ask: Ask, ticket: Ticket) -> Reply:
        """Attempt until there is a reply or no hope; between attempts the place in the gate is free."""
        failures = 0
        while True:
            try:
                return await self._attempt(ask, ticket)
            except UpstreamError as error:
                failures += 1
                pause_s = self._limits.retry.pause_s(failures, error, self._luck())
                if pause_s is None:
                    raise
                log.debug("call.retried", model=ask.chat.model, reason=error.kind, pause_s=round(pause_s, 3))
            await trio.sleep(pause_s)

    async def _attempt(self, ask: Ask, ticket: Ticket) -> Reply:
        async with self.gate.passage(ticket) as passage:
            self._meter.calls += 1
            try:
                reply, rates = await self._in_time(ask.chat)
            except UpstreamError as error:
                passage.result = error
                self._meter.errors += 1
                if error.usage is not None:
                    self._meter.count(error.usage, ask.project)
                raise
            passage.result = reply, rates
            self._meter.count(reply.usage, ask.project)
            return reply

    async def _in_time(self, chat: Chat) -> tuple[Reply, RateInfo]:
        """Ask the endpoint; its whole answer, however it drips, has to come within the deadline."""
        with trio.move_on_after(self._limits.timeout_s):
            return await self._upstream.complete(chat)
        raise UpstreamError(
            "timeout", f"{self._upstream.name} gave no whole answer within {self._limits.timeout_s:g} s"
        )


def _ticket(ask: Ask) -> Ticket:
    return Ticket(ask.job, ask.chat.model, estimate_tokens(ask.chat), ask.interactive)
