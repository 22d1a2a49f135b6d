"""Telling clients that a memory they watch was written, or that the code it speaks of has changed.

Both eras: a `subscriptions/listen` request whose answer is the stream, and `resources/subscribe` on a
connection.  Each looks by itself, with its own session's rights, so nothing outlives who asked.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import anyio
import structlog
import trio
from mcp.server.context import ServerRequestContext
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ResourceUpdated
from mcp_types import SubscriptionsListenRequestParams, SubscriptionsListenResult

from rlmd.doors.resources import memory_at, recall_one
from rlmd.doors.services import Services
from rlmd.errors import RequestError
from rlmd.values import Session

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 2.0
REST_S = 0.1
"""So long at least from one look to the next, however much changes meanwhile."""
MOST_WATCHED = 256
Tell = Callable[[str], Awaitable[None]]


class Pulse:
    """Wakes who watches ahead of time: whoever saw files or memories change calls `changed`."""

    def __init__(self) -> None:
        self._lot = trio.lowlevel.ParkingLot()

    def changed(self) -> None:
        """Let every watcher look at once; what has changed is for it to find out."""
        self._lot.unpark_all()

    async def wait(self, at_most_s: float) -> None:
        """Return at the next change that is told of, or after *at_most_s* seconds."""
        with trio.move_on_after(at_most_s):
            await self._lot.park()


class Watch:
    """Looks at memories again and again, and tells of each that is not as it was."""

    def __init__(self, services: Services, session: Session, pulse: Pulse) -> None:
        self._services = services
        self._session = session
        self._pulse = pulse
        self._seen: dict[str, object] = {}
        self._begun = trio.Event()

    async def add(self, uris: Iterable[str]) -> None:
        """Watch the memories among *uris* too, from how they are now; others are nobody's to change."""
        for uri in uris:
            if memory_at(uri) is not None and len(self._seen) < MOST_WATCHED:
                self._seen[uri] = await self._look(uri)
        if self._seen:
            self._begun.set()

    def remove(self, uri: str) -> None:
        """Watch it no longer."""
        self._seen.pop(uri, None)

    async def run(self, tell: Tell) -> None:
        """Tell of every change by the address of the memory, until cancelled."""
        await self._begun.wait()
        while True:
            await self._pulse.wait(LOOK_EVERY_S)
            for uri, seen in list(self._seen.items()):
                now = await self._look(uri)
                if now != seen and uri in self._seen:
                    self._seen[uri] = now
                    await tell(uri)
            await trio.sleep(REST_S)

    async def _look(self, uri: str) -> object:
        place = memory_at(uri)
        assert place is not None
        try:
            item = await recall_one(self._services, self._session, *place)
        except RequestError as gone:
            return gone.code
        return item.version, item.state, [(at.path, at.start_line, at.status, at.diff) for at in item.anchors]


async def listen(
    context: ServerRequestContext[Any, Any], params: SubscriptionsListenRequestParams, watch: Watch
) -> SubscriptionsListenResult:
    """Serve one stream of the stateless era until its client ends it."""
    bus = InMemorySubscriptionBus()

    async def tell(uri: str) -> None:
        await bus.publish(ResourceUpdated(uri=uri))

    await watch.add(params.notifications.resource_subscriptions or ())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.run, tell)
        result = await ListenHandler(bus)(context, params)
        nursery.cancel_scope.cancel()
    return result


async def tell_session(watch: Watch, send: Callable[[str], Awaitable[None]]) -> None:
    """Serve the subscriptions of one connection of the handshake era; a peer that is gone ends it."""
    try:
        await watch.run(send)
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
        log.info("subscription.broken")
