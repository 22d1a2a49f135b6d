"""MCP over HTTP, for clients that cannot start a command: who may come in, and how a drain ends it.

The protocol's own streamable HTTP serves both its eras; hypercorn carries it on trio.  A Unix
socket is guarded by the file system.  A port is open to every process and every web page on the
machine, so there the token counts, and the names under which a browser may reach it.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import structlog
import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

from rlmd.doors.listener import Door
from rlmd.doors.mcp_server import McpDoor
from rlmd.doors.traffic import Traffic
from rlmd.doors.ways import Guard, Way

if TYPE_CHECKING:
    from hypercorn.typing import ASGIFramework

log = structlog.get_logger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

PATH = "/mcp"
MOST_SESSIONS = 1_000
"""Sessions of the older era; one that nobody asks in for half an hour ends."""
FAREWELL_S = 1.0
"""So long may the last bytes of answers take once no call is in hand; streams that only listen end then."""
REFUSED_WITH = {401: [(b"www-authenticate", b"Bearer")], 503: [(b"retry-after", b"1")]}


@dataclass(frozen=True, eq=False)
class HttpDoor:
    """The application on one socket: lets in, counts, hands on to the protocol; all else is refused."""

    manager: StreamableHTTPSessionManager
    guard: Guard | None
    traffic: Traffic
    draining: trio.Event

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "http":
            await self._serve(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1003})

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (refusal := self._refusal(scope)) is not None:
            await _say(send, *refusal)
            return
        with self.traffic.connection():
            await self.manager.handle_request(scope, receive, send)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        if self.guard is not None and (refused := self.guard.refuse(dict(scope["headers"]))) is not None:
            self.traffic.refused["foreign_http"] += 1
            log.warning("http.refused", status=refused[0])
            return refused
        if scope["path"].rstrip("/") != PATH:
            return 404, f"MCP is at {PATH}."
        if self.draining.is_set():
            return 503, "The daemon is shutting down. Ask again in a moment."
        if self.traffic.is_full:
            self.traffic.refused["too_many"] += 1
            return 503, "Too many requests are in hand. Wait for one to end, or raise doors.max_connections."
        return None


async def serve_http(
    mcp: McpDoor,
    ways: Sequence[Way],
    traffic: Traffic,
    draining: trio.Event,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve *mcp* on all *ways* until *draining* is set and no call over HTTP is in hand.

    Nobody can connect after that; each way stays its opener's to close.  A request counts as a
    connection of *traffic*, and so do those that only listen.
    """
    manager = StreamableHTTPSessionManager(
        mcp.server,
        max_request_body_size=traffic.bounds.max_frame_bytes,
        max_sessions=MOST_SESSIONS,
    )

    async def ended() -> None:
        await draining.wait()
        await mcp.http.quiet()

    try:
        async with manager.run(), trio.open_nursery() as nursery:
            for way in ways:
                app = HttpDoor(manager, way.guard, traffic, draining)
                config = _config(way.door)
                framework = cast("ASGIFramework", app)  # our scopes are plain mappings, theirs are typed
                await nursery.start(partial(serve, framework, config, shutdown_trigger=ended, mode="asgi"))
                os.set_inheritable(int(config.bind[0].removeprefix("fd://")), False)
                log.info("http.opened", at=way.door.path)
            task_status.started()
    finally:
        for way in ways:  # who comes while the rest of the daemon drains is refused, and need not wait
            way.door.socket.shutdown(socket.SHUT_RDWR)


def _config(door: Door) -> Config:
    config = Config()
    config.bind = [f"fd://{os.dup(door.socket.fileno())}"]
    config.graceful_timeout = FAREWELL_S
    config.keep_alive_max_requests = 1 << 30  # a session is one connection for days
    config.include_server_header = False
    config.errorlog = logging.getLogger("hypercorn.error")
    return config


async def _live(receive: Receive, send: Send) -> None:
    """Agree to start and to stop: what lives longer than a request is not the application's."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _say(send: Send, status: int, text: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store")]
    headers += REFUSED_WITH.get(status, [])
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": f"{text}\n".encode()})
