"""Starting actors in order, restarting the ones that crash, draining them in reverse."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

import structlog
import trio

from rlmd.supervision.errors import RestartsExhausted, lone, part, ungrouped
from rlmd.supervision.mailbox import BatchHandler, Envelope, Handler, Mailbox, Q, R
from rlmd.supervision.serving import Ledger, serve_batches, serve_one_by_one, serve_side_by_side

log = structlog.get_logger(__name__)

H = TypeVar("H")
Actor = Callable[[], AbstractAsyncContextManager[Handler[Q, R]]]
BatchActor = Callable[[], AbstractAsyncContextManager[BatchHandler[Q, R]]]

_LAST_CALL_S = 1.0


@dataclass(frozen=True, slots=True)
class Restart:
    """What a crash leads to: a pause, doubling up to *longest_pause* seconds, then a fresh start.

    The doubling begins anew after *window* seconds without a crash.  Without a *limit* that goes
    on for ever; with one, only so many crashes in any *window* seconds are forgiven, the next
    raises RestartsExhausted through the supervisor.  Each worker of an actor is judged alone.
    """

    limit: int | None = None
    window: float = 60.0
    pause: float = 0.1
    longest_pause: float = 30.0


FOR_EVER = Restart()


@dataclass(frozen=True, slots=True)
class ActorStats:
    """How an actor is doing.

    `busy` requests are in its hands, the oldest of them for `oldest_s` seconds; `waiting` ones
    are still in their callers'.  `degraded` holds from a crash until the window passes without one.
    """

    name: str
    workers: int
    busy: int
    waiting: int
    restarts: int
    last_error: str | None
    degraded: bool
    oldest_s: float


class Supervisor:
    """Starts actors in order, restarts the ones that crash, and drains them in reverse order."""

    def __init__(self, nursery: trio.Nursery, note: Callable[[str, float], None] | None = None) -> None:
        self._nursery = nursery
        self._note = note
        self._pools: list[_Pool[Any, Any, Any]] = []

    async def start(
        self, name: str, actor: Actor[Q, R], *, workers: int = 1, restart: Restart = FOR_EVER
    ) -> Mailbox[Q, R]:
        """Start *workers* incarnations behind one mailbox, each serving one request at a time.

        Whatever a first start raises is raised here and not tried again.
        """
        return await self._start(_Pool(Mailbox[Q, R](name), actor, serve_one_by_one, restart, workers))

    async def start_batch(
        self, name: str, actor: BatchActor[Q, R], *, max_batch: int = 256, restart: Restart = FOR_EVER
    ) -> Mailbox[Q, R]:
        """Start an actor whose handler takes all that wait, at most *max_batch*, in one call.

        The handler returns one answer each, in order; an Exception among them is raised at its
        asker as it is.  What was taken commits, though its asker be cancelled.
        """
        serve = partial(serve_batches, max_batch=max_batch)
        return await self._start(_Pool(Mailbox[Q, R](name), actor, serve, restart))

    async def start_concurrent(
        self, name: str, actor: Actor[Q, R], *, limit: int = 64, restart: Restart = FOR_EVER
    ) -> Mailbox[Q, R]:
        """Start an actor that serves up to *limit* requests side by side; further ones wait."""
        serve = partial(serve_side_by_side, limit=limit, quiet_after_s=restart.window)
        return await self._start(_Pool(Mailbox[Q, R](name), actor, serve, restart))

    def stats(self) -> list[ActorStats]:
        """Describe every actor, in the order they were started."""
        return [pool.stats() for pool in self._pools]

    async def drain(self, grace: float) -> None:
        """Close last-started first, finishing work in hand; cancel what *grace* seconds leave.

        An actor whose turn comes after the grace was used up by others still gets a second.
        """
        deadline = trio.current_time() + grace
        for pool in reversed(self._pools):
            patience = max(deadline - trio.current_time(), min(grace, _LAST_CALL_S))
            with trio.move_on_after(patience):
                await pool.mailbox.close()
            pool.scope.cancel()
            await pool.mailbox.gone.wait()

    async def _start(self, pool: _Pool[Q, R, H]) -> Mailbox[Q, R]:
        if self._note is not None:
            pool.ledger.note = partial(self._note, pool.mailbox.name)
        await self._nursery.start(pool.run)
        self._pools.append(pool)
        return pool.mailbox


@asynccontextmanager
async def open_supervisor(
    *, grace: float, note: Callable[[str, float], None] | None = None
) -> AsyncIterator[Supervisor]:
    """Supervise for the length of the block; leaving it drains, an exception in it cancels.

    A lone error of an actor's first start, or RestartsExhausted, is raised without its groups.
    *note* is called with the name of an actor and the seconds that each request was in its hands.
    """
    with ungrouped():
        async with trio.open_nursery() as nursery:
            supervisor = Supervisor(nursery, note)
            yield supervisor
            await supervisor.drain(grace)


@dataclass(eq=False)
class _Pool(Generic[Q, R, H]):
    """The workers behind one mailbox."""

    mailbox: Mailbox[Q, R]
    actor: Callable[[], AbstractAsyncContextManager[H]]
    serve: Callable[[trio.MemoryReceiveChannel[Envelope[Q, R]], H, Ledger], Awaitable[None]]
    restart: Restart
    workers: int = 1
    ledger: Ledger = field(default_factory=Ledger)
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Keep every worker alive until the mailbox closes; then nobody waits for an answer."""
        try:
            with self.mailbox.inbox, self.scope:
                async with trio.open_nursery() as workers:
                    for _ in range(self.workers):
                        await workers.start(self._keep_alive)
                    task_status.started()
        finally:
            self.mailbox.gone.set()

    async def _keep_alive(self, *, task_status: trio.TaskStatus[None]) -> None:
        crashes = _Crashes(self.restart)
        booted = False
        while True:
            try:
                async with self.actor() as handle:
                    if not booted:
                        booted = True
                        task_status.started()
                    await self.serve(self.mailbox.inbox, handle, self.ledger)
            except BaseException as raised:
                passing, crash = part(raised)
                if crash is None or not booted:
                    raise
                pause = self._note(crash, crashes)
                if passing is not None:
                    raise passing from None
            else:
                return
            with trio.move_on_after(pause):
                await self.mailbox.closing.wait()
            if self.mailbox.closing.is_set():
                return
            self.ledger.restarts += 1

    def _note(self, crash: BaseException, crashes: _Crashes) -> float:
        recent, pause = crashes.add(trio.current_time())
        self.ledger.note_crash(crash, pause + self.restart.window)
        if self.restart.limit is not None and recent > self.restart.limit:
            raise RestartsExhausted(self.mailbox.name) from lone(crash)
        log.error("actor.crashed", actor=self.mailbox.name, crashes=recent, pause_s=pause, exc_info=crash)
        return pause

    def stats(self) -> ActorStats:
        now = trio.current_time()
        ledger = self.ledger
        return ActorStats(
            name=self.mailbox.name,
            workers=self.workers,
            busy=len(ledger.in_hand),
            waiting=self.mailbox.waiting,
            restarts=ledger.restarts,
            last_error=ledger.last_error,
            degraded=now < ledger.degraded_until,
            oldest_s=now - min(ledger.in_hand.values(), default=now),
        )


class _Crashes:
    """The recent crashes of one worker, and how long to pause after each."""

    def __init__(self, restart: Restart) -> None:
        self._restart = restart
        self._times: deque[float] = deque()
        self._pause = 0.0

    def add(self, now: float) -> tuple[int, float]:
        """Return the crashes of the last window, this one included, and the seconds to pause."""
        restart = self._restart
        quiet = not self._times or now - self._times[-1] >= self._pause + restart.window
        self._pause = min(restart.pause if quiet else 2 * self._pause, restart.longest_pause)
        self._times.append(now)
        while self._times[0] <= now - restart.window:
            self._times.popleft()
        return len(self._times), self._pause
