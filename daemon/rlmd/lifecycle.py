"""From the first signal to the last: what begins a drain, what ends it, who is told.

The nesting of the blocks is the order of the shutdown, read from the inside out:

    async with open_lifecycle(grace_s=10) as life:           # hears signals from here on
        async with open_supervisor(grace=10) as supervisor:   # actors outlive requests
            services = await boot(supervisor)
            life.watch(healthy)
            async with life.serving() as requests:            # requests outlive accepting
                ...bind the doors...
                life.ready("serving")
                await accept(services, requests)
"""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog
import trio

from rlmd import sd
from rlmd.supervision import ungrouped

log = structlog.get_logger(__name__)

LONGEST_LAG_S = 5.0
_RECHECK_S = 1.0

Reload = Callable[[], Awaitable[str]]


class Lifecycle:
    """One run of the daemon: accepting, then draining, then over.

    `draining` is set when no new request may begin; whoever waits for a client's next one should
    race against it, for the drain waits for them up to the grace.
    """

    def __init__(self, background: trio.Nursery, grace_s: float) -> None:
        self.draining = trio.Event()
        self._background = background
        self._grace_s = grace_s
        self._accepting = trio.CancelScope()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[trio.Nursery]:
        """Run the block until told to stop; then what runs in the nursery yielded gets the grace."""
        async with trio.open_nursery() as requests:
            with self._accepting:
                yield requests
            self.stop("doors closed")
            requests.cancel_scope.deadline = trio.current_time() + self._grace_s

    def ready(self, status: str) -> None:
        """Tell systemd that connections are accepted; must not come earlier than that."""
        if not self.draining.is_set():
            sd.ready(status)

    def stop(self, reason: str) -> None:
        """Begin the drain; does nothing when it has begun."""
        if not self.draining.is_set():
            sd.stopping("draining")
            log.info("drain.begun", reason=reason, grace_s=self._grace_s)
            self.draining.set()
            self._accepting.cancel()

    def attend(self, task: Callable[[], Awaitable[None]]) -> None:
        """Run *task*, which never ends by itself, until the daemon is over."""
        self._background.start_soon(task)

    def watch(self, healthy: Callable[[], bool]) -> None:
        """Keep systemd's watchdog fed, if it has one, while *healthy* holds and the loop keeps up."""
        if (interval_s := sd.watchdog_interval()) is not None:
            self._background.start_soon(feed_watchdog, interval_s, healthy)

    def stop_when_idle(self, since: Callable[[], float | None], after_s: float) -> None:
        """Begin the drain once nothing has happened for *after_s* seconds.

        *since* returns the time, on trio's clock, of the last thing that ended, and None while
        anything goes on.
        """

        async def wait_and_stop() -> None:
            await idle(since, after_s)
            self.stop("idle")

        self._background.start_soon(wait_and_stop)


@asynccontextmanager
async def open_lifecycle(*, grace_s: float, reload: Reload | None = None) -> AsyncIterator[Lifecycle]:
    """Hear SIGTERM and SIGINT for the length of the block: the first drains, the second cancels.

    SIGHUP calls *reload*, which must not raise, and shows the line it returns as the status.
    A block that was cancelled by the second signal just ends here; a lone exception leaves ungrouped.
    """
    with ungrouped(), trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async with trio.open_nursery() as background:
            life = Lifecycle(background, grace_s)
            background.start_soon(_obey, signals, life, background.cancel_scope, reload)
            yield life
            background.cancel_scope.cancel()


async def _obey(
    signals: AsyncIterator[int], life: Lifecycle, everything: trio.CancelScope, reload: Reload | None
) -> None:
    told = False
    async for number in signals:
        name = signal.Signals(number).name
        if number == signal.SIGHUP:
            if reload is not None:
                sd.reloading()
                life.ready(await reload())
        elif not told:
            told = True
            life.stop(name)
        else:
            log.warning("drain.cut_short", reason=name)
            everything.cancel()


async def feed_watchdog(interval_s: float, healthy: Callable[[], bool]) -> None:
    """Send WATCHDOG=1 every half *interval_s* seconds; withhold it while something is wrong.

    Wrong is a loop that woke us LONGEST_LAG_S or more too late, and whatever *healthy* denies.
    A withheld ping follows within a second of the recovery.
    """
    pause_s = 0.0
    while True:
        due = trio.current_time() + pause_s
        await trio.sleep_until(due)
        lag_s = trio.current_time() - due
        if lag_s < LONGEST_LAG_S and healthy():
            sd.notify("WATCHDOG=1")
            pause_s = interval_s / 2
        else:
            log.warning("watchdog.withheld", lag_s=round(lag_s, 3))
            pause_s = min(_RECHECK_S, interval_s / 2)


async def idle(since: Callable[[], float | None], after_s: float) -> None:
    """Return when *since* lies *after_s* seconds back; None from it means busy now."""
    while True:
        begun = since()
        left_s = after_s if begun is None else begun + after_s - trio.current_time()
        if left_s <= 0:
            return
        await trio.sleep(left_s)
