"""Raw JSON over a real socket: what the wire promises, era by era and mistake by mistake."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trio

from door_world import HANDSHAKE, MODERN_META, CannedServices, RawClient, call, open_door

pytestmark = pytest.mark.real_io


async def shake_hands(client: RawClient, version: str = "2025-06-18") -> dict[str, Any]:
    await client.send(
        {
            "jsonrpc": "2.0",
            "id": 0,
            "method": "initialize",
            "params": HANDSHAKE | {"protocolVersion": version},
        }
    )
    answer = await client.receive()
    assert answer is not None
    await client.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
    return answer["result"]


@pytest.mark.parametrize("version", ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"])
async def test_each_handshake_version_is_answered_in_kind(home: Any, version: str):
    with trio.fail_after(10):
        async with open_door(home.socket, CannedServices()) as world:
            client = await world.connect()

            hello = await shake_hands(client, version)
            await client.send({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
            listed = await client.receive()

    assert hello["protocolVersion"] == version
    assert len(hello["instructions"]) <= 400
    assert listed is not None
    assert [tool["name"] for tool in listed["result"]["tools"]] == [
        "rlm_analyze",
        "rlm_query_text",
        "rlm_exec",
        "rlm_job",
        "rlm_status",
        "rlm_memory_store",
        "rlm_memory_recall",
        "rlm_memory_forget",
        "rlm_read",
        "rlm_grep",
        "rlm_glob",
    ]


async def test_the_stateless_era_needs_no_handshake(home: Any):
    with trio.fail_after(10):
        async with open_door(home.socket, CannedServices()) as world:
            client = await world.connect()

            answer = await client.call("rlm_read", {"path": "a.py"})

    assert answer["result"]["_meta"]["rlmd/result"]["text"] == "one\ntwo"


async def test_the_tools_take_little_of_the_context_of_an_agent(home: Any):
    with trio.fail_after(10):
        async with open_door(home.socket, CannedServices()) as world:
            client = await world.connect()
            await client.send(
                {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": MODERN_META}}
            )
            listed = await client.receive()

    assert listed is not None
    tools = listed["result"]["tools"]
    assert len(json.dumps(tools)) < 4 * 4_000
    for tool in tools:
        assert tool["inputSchema"]["type"] == "object"
        assert tool["inputSchema"]["additionalProperties"] is False
        assert set(tool["annotations"]) >= {
            "readOnlyHint",
            "destructiveHint",
            "idempotentHint",
            "openWorldHint",
        }
    assert {tool["name"] for tool in tools if "outputSchema" in tool} == {
        "rlm_job",
        "rlm_status",
        "rlm_memory_store",
        "rlm_memory_recall",
        "rlm_memory_forget",
    }


@pytest.mark.parametrize(
    ("line", "code", "request_id"),
    [
        (b"{nonsense", -32700, None),
        (b'{"jsonrpc":"2.0","id":1,', -32700, None),
        (b'"\xff"', -32700, None),
        (b"17", -32600, None),
        (b"{}", -32600, None),
        (b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]', -32600, None),
        (b'{"jsonrpc":"1.0","id":7,"method":"ping"}', -32600, 7),
        (b'{"jsonrpc":"2.0","id":"a","method":"ping","params":[1]}', -32600, "a"),
        (b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}', -32600, None),
        (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', -32600, None),
        (b'{"rlmd/hello":{"cwd":"relative"}}', -32600, None),
        (b'{"rlmd/hello":{"paths":"/a"}}', -32600, None),
    ],
)
async def test_a_bad_frame_is_answered_and_the_connection_lives_on(
    home: Any, line: bytes, code: int, request_id: int | str | None
):
    with trio.fail_after(10):
        async with open_door(home.socket, CannedServices()) as world:
            client = await world.connect()

            await client.stream.send_all(line + b"\r\n")
            refusal = await client.receive()
            later = await client.call("rlm_read", {"path": "a"})

    assert refusal is not None
    assert (refusal["error"]["code"], refusal["id"]) == (code, request_id)
    assert not later["result"].get("isError")


async def test_an_oversized_frame_is_refused_and_closes_its_own_connection_only(home: Any):
    with trio.fail_after(10):
        async with open_door(home.socket, CannedServices(), max_frame_bytes=100_000) as world:
            sinner, other = await world.connect(), await world.connect()

            await sinner.stream.send_all(b'{"a":"' + b"x" * 300_000 + b'"}\n')
            refusal = await sinner.receive()
            await sinner.stream.send_eof()
            end = await sinner.receive()
            unharmed = await other.call("rlm_read", {"path": "a"})

    assert refusal is not None
    assert refusal["error"]["code"] == -32600
    assert end is None
    assert "result" in unharmed


async def test_a_frame_over_a_mebibyte_is_served(home: Any):
    services = CannedServices()
    with trio.fail_after(10):
        async with open_door(home.socket, services) as world:
            client = await world.connect()

            await client.call("rlm_query_text", {"query": "q", "text": "x" * (3 << 20)})

    assert len(services.asked[0][1].text) == 3 << 20


async def test_a_frame_torn_by_the_end_of_the_stream_is_a_parse_error(home: Any):
    with trio.fail_after(10):
        async with open_door(home.socket, CannedServices()) as world:
            client = await world.connect()

            await client.stream.send_all(b'{"jsonrpc":"2.0","id":1,"met')
            await client.stream.send_eof()
            refusal = await client.receive()

    assert refusal is not None
    assert refusal["error"]["code"] == -32700


async def test_answers_under_way_reach_a_client_that_closed_its_sending_half(home: Any):
    release = trio.Event()

    async def wait(_: Any) -> None:
        await release.wait()

    with trio.fail_after(10):
        async with open_door(home.socket, CannedServices(wait)) as world:
            client = await world.connect()
            await client.send(
                call("rlm_read", {"path": "a"}, request_id=1), call("rlm_read", {"path": "a"}, request_id=2)
            )
            await client.stream.send_eof()
            await trio.sleep(0.1)  # longer than a connection without requests would live on
            release.set()
            answers = [await client.receive(), await client.receive()]
            end = await client.receive()

    assert sorted(answer["id"] for answer in answers if answer) == [1, 2]
    assert end is None


async def test_the_hello_line_is_the_workspace_and_the_typed_paths_of_the_session(home: Any):
    services = CannedServices()
    with trio.fail_after(10):
        async with open_door(home.socket, services) as world:
            client = await world.connect()
            await client.send({"rlmd/hello": {"cwd": "/some/where/", "version": "9", "paths": ["/typed"]}})

            await client.call("rlm_read", {"path": "a"})

    session = services.asked[0][0]
    assert (session.workspace, session.allow) == ("/some/where", ("/typed",))


async def test_without_a_hello_line_the_workspace_is_where_the_peer_works(home: Any):
    services = CannedServices()
    with trio.fail_after(10):
        async with open_door(home.socket, services) as world:
            client = await world.connect()

            await client.call("rlm_read", {"path": "a"})

    assert services.asked[0][0].workspace == str(Path.cwd())


async def test_a_hello_line_after_the_first_request_is_refused(home: Any):
    services = CannedServices()
    with trio.fail_after(10):
        async with open_door(home.socket, services) as world:
            client = await world.connect()
            await client.call("rlm_read", {"path": "a"})

            await client.send({"rlmd/hello": {"cwd": "/elsewhere"}})
            refusal = await client.receive()
            await client.call("rlm_read", {"path": "a"}, request_id=2)

    assert refusal is not None
    assert refusal["error"]["code"] == -32600
    assert services.asked[1][0].workspace == str(Path.cwd())


async def test_an_unknown_tool_or_method_is_a_fault_of_the_protocol(home: Any):
    with trio.fail_after(10):
        async with open_door(home.socket, CannedServices()) as world:
            client = await world.connect()

            tool = await client.call("rlm_nothing")
            await client.send(
                {"jsonrpc": "2.0", "id": 2, "method": "no/such", "params": {"_meta": MODERN_META}}
            )
            method = await client.receive()

    assert tool["error"]["code"] == -32602
    assert method is not None
    assert method["error"]["code"] == -32601


async def test_two_hundred_pipelined_calls_are_each_answered_once(home: Any):
    with trio.fail_after(10):
        async with open_door(home.socket, CannedServices(), max_requests=1_000) as world:
            client = await world.connect()
            await client.send(*(call("rlm_read", {"path": "a"}, request_id=number) for number in range(200)))

            answers = [await client.receive() for _ in range(200)]

    assert sorted(answer["id"] for answer in answers if answer) == list(range(200))
