"""MCP over one connection: both protocol eras, every failure a result, nothing left behind.

The engine is the SDK's low-level server, driven connection by connection, so that what belongs to
the daemon is built once and what belongs to a connection dies with it.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import anyio
import structlog
import trio
from mcp.server.lowlevel import Server
from mcp.server.runner import serve_dual_era_loop
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
)

from rlmd.answers import Json
from rlmd.doors.connection import Connection, Context
from rlmd.doors.errors import Failure, explain
from rlmd.doors.listener import Peer
from rlmd.doors.offers import Offers
from rlmd.doors.pages import page
from rlmd.doors.progress import notifying
from rlmd.doors.services import Services
from rlmd.doors.tools import TOOLS, Call, Reply, Verb, tool_named
from rlmd.doors.trace import log_context
from rlmd.doors.traffic import Traffic
from rlmd.doors.wire import Wire
from rlmd.errors import Busy
from rlmd.observe import Timings
from rlmd.values import Session

log = structlog.get_logger(__name__)

RESULT_META = "rlmd/result"
ERROR_META = "rlmd/error"
INSTRUCTIONS = (
    "Questions over trees, logs and documents larger than your context: rlm_analyze answers with "
    "passages whose path and lines were checked; rlm_query_text does so over one text. rlm_grep, "
    "rlm_glob and rlm_read look at the files as they are now. rlm_memory_store keeps findings across "
    "sessions; recall before you explore."
)


class McpDoor:
    """Serves MCP on connections that a listener accepted.

    How much a connection may ask for is in the bounds of `traffic`: tool calls beyond them are told
    `busy`.  `timings` hears how long each call took.  `max_chars` holds where a call does not say.
    Once `draining` is set nothing more is read: each connection ends when its calls are answered.
    `changed` is for whoever sees files change: subscribers to memories that cite them look at once.
    """

    def __init__(
        self,
        services: Services,
        *,
        version: str,
        traffic: Traffic,
        timings: Timings,
        max_chars: int = 9_000,
        draining: trio.Event | None = None,
    ) -> None:
        self.services = services
        self._traffic = traffic
        self._timings = timings
        self._draining = trio.Event() if draining is None else draining
        self._max_chars = max_chars
        self.http = Connection(Session(f"h-{secrets.token_hex(6)}", None))
        """What all requests over HTTP share, which has no connections that mean anything."""
        self._offers = Offers(services)
        self.changed = self._offers.pulse.changed
        self._tools = [tool.describe() for tool in TOOLS]
        self.server: Server[Connection] = Server(
            "rlmd",
            version=version,
            lifespan=self._http_lifespan,
            instructions=INSTRUCTIONS,
            on_list_tools=self._list_tools,
            on_call_tool=self._call_tool,
            on_list_resources=self._offers.list_resources,
            on_list_resource_templates=self._offers.list_templates,
            on_read_resource=self._offers.read_resource,
            on_subscribe_resource=self._offers.subscribe,
            on_unsubscribe_resource=self._offers.unsubscribe,
            on_subscriptions_listen=self._offers.listen,
            on_list_prompts=self._offers.list_prompts,
            on_get_prompt=self._offers.get_prompt,
        )
        self.server.middleware.clear()  # tracing nobody reads costs 5 % of a call
        self._options = self.server.create_initialization_options()

    async def serve(self, stream: trio.SocketStream, peer: Peer) -> None:
        """Serve one connection until its peer is done with it or gone; cancelling stops all its work."""
        session = Session(f"c-{secrets.token_hex(6)}", _working_directory(peer))
        connection = Connection(session)
        wire = Wire(
            stream,
            max_frame_bytes=self._traffic.bounds.max_frame_bytes,
            write_timeout_s=self._traffic.bounds.write_timeout_s,
            greet=connection.greet,
            page=partial(page, self.services),
            refused=self._traffic.refused,
        )
        with structlog.contextvars.bound_contextvars(connection_id=connection.session.id), wire.end:
            log.info("connection.opened", peer_pid=peer.pid)
            try:
                async with trio.open_nursery() as nursery:
                    connection.tasks = nursery
                    nursery.start_soon(_read_no_more, stream, self._draining)
                    await serve_dual_era_loop(
                        self.server,
                        wire.reads,
                        wire.writes,
                        lifespan_state=connection,
                        init_options=self._options,
                    )
                    nursery.cancel_scope.cancel()
            except* (anyio.BrokenResourceError, trio.BrokenResourceError):
                log.info("connection.broken")

    @asynccontextmanager
    async def _http_lifespan(self, _server: Server[Connection]) -> AsyncIterator[Connection]:
        """Say what HTTP requests have for a connection; those of a socket bring their own."""
        yield self.http

    async def _list_tools(self, _context: Context, _params: PaginatedRequestParams | None) -> ListToolsResult:
        return ListToolsResult(tools=self._tools)

    async def _call_tool(self, context: Context, params: CallToolRequestParams) -> CallToolResult:
        with structlog.contextvars.bound_contextvars(**log_context(context.request_id, context.meta)):
            return await self._call(context, params)

    async def _call(self, context: Context, params: CallToolRequestParams) -> CallToolResult:
        tool = tool_named(params.name)
        if tool is None:
            raise MCPError(INVALID_PARAMS, f"Unknown tool: {params.name}")
        connection = context.lifespan_context
        bounds = self._traffic.bounds
        over_http = context.request is not None  # there each request is a connection, and bounded as such
        if connection.requests >= bounds.max_requests and not over_http:
            self._traffic.refused["busy"] += 1
            crowd = f"{bounds.max_requests} calls of this connection are running"
            return _failed(explain(Busy(crowd, "Wait for one to end.")))
        session = connection.asked_by(context.request)
        started, outcome = trio.current_time(), "cancelled"
        wants_progress = "progress_token" in (context.meta or {})
        try:
            with connection.request(), self._traffic.request(), self._timings.measure(tool.name):
                async with notifying(context.session.report_progress if wants_progress else None) as report:
                    call = Call(self.services, session, report, self._max_chars, bounds.wait_s)
                    result = await _answer(tool, call, params)
            outcome = "failed" if result.is_error else "answered"
            return result
        finally:
            took_s = round(trio.current_time() - started, 4)
            log.info("request.ended", tool=tool.name, outcome=outcome, took_s=took_s)


async def _answer(tool: Verb[Any], call: Call, params: CallToolRequestParams) -> CallToolResult:
    try:
        return _succeeded(await tool.answer(call, params.arguments))
    except MCPError:
        raise
    except Exception as exc:  # noqa: BLE001  # the boundary: a call's failure is its answer
        return _failed(explain(exc))


def _succeeded(reply: Reply) -> CallToolResult:
    return CallToolResult(
        content=[TextContent(type="text", text=reply.text)],
        structured_content=reply.structured,
        _meta={RESULT_META: reply.facts},
    )


def _failed(failure: Failure) -> CallToolResult:
    error: dict[str, Json] = {
        "code": failure.code,
        "message": failure.message,
        "retryable": failure.retryable,
        "hint": failure.hint,
    }
    return CallToolResult(
        content=[TextContent(type="text", text=failure.text)], is_error=True, _meta={ERROR_META: error}
    )


async def _read_no_more(stream: trio.SocketStream, draining: trio.Event) -> None:
    """Once *draining* is set make the connection look as if its peer had said all it wanted."""
    await draining.wait()
    with suppress(OSError):  # the peer is gone already
        stream.socket.shutdown(socket.SHUT_RD)


def _working_directory(peer: Peer) -> str | None:
    """Return where the peer works, or None where the kernel will not tell (notably under PrivateUsers)."""
    try:
        return os.readlink(f"/proc/{peer.pid}/cwd")
    except OSError:
        return None
