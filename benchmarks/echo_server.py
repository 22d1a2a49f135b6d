"""The SDK's own low-level server with one tool that echoes, on a Unix socket: the peer of `doors`."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator

import anyio
import trio
from mcp.server.lowlevel import Server
from mcp.server.runner import serve_dual_era_loop
from mcp.shared.message import SessionMessage
from mcp_types import CallToolResult, ListToolsResult, TextContent, Tool
from mcp_types.jsonrpc import jsonrpc_message_adapter


async def _list(*_):
    return ListToolsResult(tools=[Tool(name="echo", input_schema={"type": "object"})])


async def _call(_, params):
    return CallToolResult(content=[TextContent(type="text", text=params.arguments["text"])])


async def _lines(stream: trio.SocketStream) -> AsyncIterator[bytes]:
    held = b""
    async for data in stream:
        *whole, held = (held + data).split(b"\n")
        for line in whole:
            yield line


async def main(path: str) -> None:
    server = Server("echo", version="1", on_list_tools=_list, on_call_tool=_call)
    options = server.create_initialization_options()

    async def serve(stream: trio.SocketStream) -> None:
        incoming, reads = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        writes, outgoing = anyio.create_memory_object_stream[SessionMessage](0)

        async def read() -> None:
            async with incoming:
                async for line in _lines(stream):
                    await incoming.send(
                        SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
                    )

        async def write() -> None:
            async for item in outgoing:
                text = item.message.model_dump_json(by_alias=True, exclude_unset=True)
                await stream.send_all(text.encode() + b"\n")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            nursery.start_soon(write)
            await serve_dual_era_loop(server, reads, writes, lifespan_state={}, init_options=options)
            nursery.cancel_scope.cancel()

    listening = trio.socket.socket(trio.socket.AF_UNIX)
    await listening.bind(path)
    listening.listen()
    print("ready", flush=True)
    await trio.serve_listeners(serve, [trio.SocketListener(listening)])


if __name__ == "__main__":
    if os.path.exists(sys.argv[1]):
        os.unlink(sys.argv[1])
    trio.run(main, sys.argv[1])
