"""What a door offers beside tools: resources, subscriptions to them, and prompts."""

from __future__ import annotations

from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_REQUEST,
    EmptyResult,
    GetPromptRequestParams,
    GetPromptResult,
    ListPromptsResult,
    ListResourcesResult,
    ListResourceTemplatesResult,
    PaginatedRequestParams,
    ReadResourceRequestParams,
    ReadResourceResult,
    SubscribeRequestParams,
    SubscriptionsListenRequestParams,
    SubscriptionsListenResult,
    UnsubscribeRequestParams,
)

from rlmd.doors.connection import Connection, Context
from rlmd.doors.prompts import PROMPTS, get_prompt
from rlmd.doors.resources import TEMPLATES, list_resources, read_resource
from rlmd.doors.services import Services
from rlmd.doors.subscriptions import Pulse, Watch, listen, tell_session

MOST_STREAMS = 16


class Offers:
    """Answers for every connection of a door; `pulse` is told of changes by whoever sees them."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self.pulse = Pulse()

    async def list_resources(
        self, context: Context, params: PaginatedRequestParams | None
    ) -> ListResourcesResult:
        """List memories and jobs."""
        session = context.lifespan_context.asked_by(context.request)
        return await list_resources(self._services, session, params.cursor if params else None)

    async def list_templates(
        self, _context: Context, _params: PaginatedRequestParams | None
    ) -> ListResourceTemplatesResult:
        """List what addresses look like."""
        return TEMPLATES

    async def read_resource(self, context: Context, params: ReadResourceRequestParams) -> ReadResourceResult:
        """Read what an address leads to."""
        session = context.lifespan_context.asked_by(context.request)
        return await read_resource(self._services, session, str(params.uri))

    async def subscribe(self, context: Context, params: SubscribeRequestParams) -> EmptyResult:
        """Tell this connection of changes, until it ends; over HTTP there is none to tell."""
        connection = context.lifespan_context
        if connection.tasks is None:
            raise MCPError(INVALID_REQUEST, "Subscribe over the socket, or by subscriptions/listen")
        if connection.watch is None:
            connection.watch = self._watch(context)
            tell = context.session.send_resource_updated
            connection.tasks.start_soon(tell_session, connection.watch, tell)
        await connection.watch.add([str(params.uri)])
        return EmptyResult()

    async def unsubscribe(self, context: Context, params: UnsubscribeRequestParams) -> EmptyResult:
        """Tell of it no longer."""
        if watch := context.lifespan_context.watch:
            watch.remove(str(params.uri))
        return EmptyResult()

    async def listen(
        self, context: Context, params: SubscriptionsListenRequestParams
    ) -> SubscriptionsListenResult:
        """Serve a stream of changes until its client ends it."""
        connection = context.lifespan_context
        if connection.streams >= MOST_STREAMS and connection.tasks is not None:
            raise MCPError(INVALID_REQUEST, f"{MOST_STREAMS} streams of this connection are open")
        connection.streams += 1
        try:
            return await listen(context, params, self._watch(context))
        finally:
            connection.streams -= 1

    async def list_prompts(
        self, _context: Context, _params: PaginatedRequestParams | None
    ) -> ListPromptsResult:
        """List the prompts."""
        return PROMPTS

    async def get_prompt(self, context: Context, params: GetPromptRequestParams) -> GetPromptResult:
        """Write a prompt out."""
        session = context.lifespan_context.asked_by(context.request)
        return await get_prompt(self._services, session, params.name, params.arguments or {})

    def _watch(self, context: Context) -> Watch:
        connection: Connection = context.lifespan_context
        return Watch(self._services, connection.asked_by(context.request), self.pulse)
