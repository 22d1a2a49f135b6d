"""MCP over HTTP on real sockets: both eras, cancellation, limits, and how a drain ends it."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx2
import pytest
import trio
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from door_world import HANDSHAKE, CannedServices, call
from rlmd.doors import listener
from rlmd.doors.http import serve_http
from rlmd.doors.listener import Door
from rlmd.doors.mcp_server import McpDoor
from rlmd.doors.traffic import Bounds, Traffic
from rlmd.doors.ways import Guard, Way
from rlmd.observe import Timings
from rlmd.values import Progress

pytestmark = [
    pytest.mark.real_io,
    # The protocol's own client leaves the generators of its streams to the collector.
    pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
ACCEPT = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
MODERN = ACCEPT | {"mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call"}
ERAS = pytest.mark.parametrize("era", ["legacy", "2026-07-28"])


@dataclass
class World:
    """A door that answers HTTP on a Unix socket, and on a port to who has the token."""

    path: str
    port: int
    draining: trio.Event
    ended: trio.Event

    def client(self, **headers: str) -> httpx2.AsyncClient:
        transport = httpx2.AsyncHTTPTransport(uds=self.path)
        return httpx2.AsyncClient(transport=transport, timeout=10, headers=headers)

    @asynccontextmanager
    async def agent(self, era: str, **headers: str) -> AsyncIterator[Client]:
        """Connect as the SDK of the protocol does."""
        async with self.client(**headers) as http:
            transport = streamable_http_client("http://localhost/mcp", http_client=http)
            async with Client(transport, mode=era) as client:
                yield client


@asynccontextmanager
async def http_world(home: Any, services: Any, *, max_connections: int = 8):
    traffic = Traffic(Bounds(max_connections=max_connections, max_frame_bytes=1 << 20))
    mcp = McpDoor(services, version="0.1.0", traffic=traffic, timings=Timings())
    unix, tcp = listener.bind(str(home.path / "http.sock")), socket.create_server(("127.0.0.1", 0))
    port = tcp.getsockname()[1]
    world = World(unix.path, port, trio.Event(), trio.Event())
    ways = [Way(unix), Way(Door(tcp, f"127.0.0.1:{port}"), Guard("s3cret", port))]

    async def serve(task_status: Any) -> None:
        await serve_http(mcp, ways, traffic, world.draining, task_status)
        world.ended.set()

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            await nursery.start(serve)
            yield world
            nursery.cancel_scope.cancel()
    unix.close()
    tcp.close()


@ERAS
async def test_tools_are_listed_and_called_in_both_eras(home: Any, era: str):
    services = CannedServices()
    async with http_world(home, services) as world, world.agent(era, **{"rlmd-cwd": "/tree"}) as agent:
        tools = await agent.list_tools()
        result = await agent.call_tool("rlm_grep", {"pattern": "x"})

    assert len(tools.tools) == 11
    assert result.meta["rlmd/result"]["total"] == 3
    ((session, _),) = services.asked
    assert session.workspace == "/tree"
    assert session.id.startswith("h-")


@ERAS
async def test_progress_arrives_while_the_call_runs(home: Any, era: str):
    told = trio.Event()

    async def step(report: Any) -> None:
        report(Progress("walk", 1, 2))
        await told.wait()

    async def note(_done: float, _total: float | None, _text: str | None) -> None:
        told.set()

    async with http_world(home, CannedServices(step)) as world, world.agent(era) as agent:
        result = await agent.call_tool("rlm_analyze", {"query": "q", "paths": ["/t"]}, progress_callback=note)

    assert not result.is_error


@ERAS
async def test_a_call_that_is_cancelled_stops_its_work(home: Any, era: str):
    begun, cancelled = trio.Event(), trio.Event()

    async def wait(_: Any) -> None:
        begun.set()
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()

    async with http_world(home, CannedServices(wait)) as world, world.agent(era) as agent:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(agent.call_tool, "rlm_read", {"path": "a"})
            await begun.wait()
            nursery.cancel_scope.cancel()
        with trio.fail_after(1):
            await cancelled.wait()


async def test_a_port_asks_for_the_token_and_a_socket_does_not(home: Any):
    body = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": HANDSHAKE}
    async with http_world(home, CannedServices()) as world:
        url = f"http://127.0.0.1:{world.port}/mcp"
        async with httpx2.AsyncClient(timeout=10) as port, world.client() as unix:
            bare = await port.post(url, json=body, headers=ACCEPT)
            shown = await port.post(url, json=body, headers=ACCEPT | {"authorization": "Bearer s3cret"})
            foreign = await port.post(url, json=body, headers=ACCEPT | {"host": "evil.example"})
            inside = await unix.post("http://whatever/mcp", json=body, headers=ACCEPT)

    assert (bare.status_code, bare.headers["www-authenticate"]) == (401, "Bearer")
    assert [each.status_code for each in (shown, foreign, inside)] == [200, 421, 200]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/", b"{}", 404),
        ("POST", "/mcp/../x", b"{}", 404),
        ("POST", "/mcp", b"{", 400),
        ("POST", "/mcp", b"[]", 400),
        ("POST", "/mcp", b"\xff" * 100, 400),
        ("POST", "/mcp", b"x" * (1 << 20) + b"x", 413),
        ("PUT", "/mcp", b"{}", 405),
        ("GET", "/mcp", b"", 400),
        ("DELETE", "/mcp", b"", 400),
    ],
)
async def test_what_is_no_request_of_the_protocol_is_told_so(
    home: Any, method: str, path: str, body: bytes, status: int
):
    async with http_world(home, CannedServices()) as world, world.client() as client:
        answer = await client.request(method, f"http://localhost{path}", content=body, headers=ACCEPT)
        after = await client.post(
            "http://localhost/mcp", json=call("rlm_status"), headers=MODERN | {"mcp-name": "rlm_status"}
        )

    assert answer.status_code == status
    assert after.status_code == 200


async def test_more_requests_than_may_be_in_hand_are_told_so(home: Any):
    begun = trio.Event()

    async def wait(_: Any) -> None:
        begun.set()
        await trio.sleep_forever()

    async with (
        http_world(home, CannedServices(wait), max_connections=1) as world,
        world.client() as client,
        trio.open_nursery() as nursery,
    ):
        post = partial(
            client.post,
            "http://localhost/mcp",
            json=call("rlm_read", {"path": "a"}),
            headers=MODERN | {"mcp-name": "rlm_read"},
        )
        nursery.start_soon(post)
        await begun.wait()
        refused = await post()
        nursery.cancel_scope.cancel()

    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")


async def test_a_drain_waits_for_calls_in_hand_and_not_for_those_who_listen(home: Any):
    begun, go_on = trio.Event(), trio.Event()

    async def wait(_: Any) -> None:
        begun.set()
        await go_on.wait()

    answers: list[httpx2.Response] = []
    async with http_world(home, CannedServices(wait)) as world, world.client() as client:
        opening = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": HANDSHAKE}
        opened = await client.post("http://localhost/mcp", json=opening, headers=ACCEPT)
        session = ACCEPT | {"mcp-session-id": opened.headers["mcp-session-id"]}
        reading = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
        reading["params"] = {"name": "rlm_read", "arguments": {"path": "a"}}

        async def ask() -> None:
            answers.append(await client.post("http://localhost/mcp", json=reading, headers=session))

        async with (
            trio.open_nursery() as nursery,
            client.stream("GET", "http://localhost/mcp", headers=session) as listening,
        ):
            nursery.start_soon(ask)
            await begun.wait()
            world.draining.set()
            refused = await client.post("http://localhost/mcp", json=reading, headers=session)
            go_on.set()
            await world.ended.wait()
        with pytest.raises(httpx2.ConnectError):
            await client.post("http://localhost/mcp", json=reading, headers=session)

    assert listening.status_code == 200
    assert refused.status_code == 503
    assert '"isError":false' in answers[0].text
