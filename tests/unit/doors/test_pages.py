"""A reader of pages on the socket of the protocol: one answer in HTTP, and nobody else disturbed."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from door_world import CannedServices, World, open_door

pytestmark = pytest.mark.real_io


async def fetch(world: World, head: bytes) -> bytes:
    client = await world.connect()
    await client.stream.send_all(head)
    told = b""
    while data := await client.stream.receive_some():
        told += data
    return told


async def test_the_metrics_are_a_page_on_the_socket(home: Any):
    with trio.fail_after(5):
        async with open_door(home.socket, CannedServices()) as world:
            told = await fetch(world, b"GET /metrics HTTP/1.1\r\nHost: rlmd\r\n\r\n")

    head, _, body = told.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4")
    assert f"Content-Length: {len(body)}".encode() in head
    assert body == b"rlmd_connections 1\n"


async def test_other_pages_are_not_there(home: Any):
    with trio.fail_after(5):
        async with open_door(home.socket, CannedServices()) as world:
            told = await fetch(world, b"GET / HTTP/1.0\n\n")

    assert told.startswith(b"HTTP/1.1 404 Not Found\r\n")


async def test_metrics_that_fail_are_a_failure_of_their_reader_alone(home: Any, events: Any):
    class Broken(CannedServices):
        async def metrics(self) -> str:
            raise OSError("disk on fire")

    with trio.fail_after(5):
        async with open_door(home.socket, Broken()) as world:
            other = await world.connect()
            told = await fetch(world, b"GET /metrics HTTP/1.1\r\n\r\n")
            unharmed = await other.call("rlm_read", {"path": "a"})

    assert told.startswith(b"HTTP/1.1 500 ")
    assert b"fire" not in told
    assert "result" in unharmed
    assert "page.crashed" in [event["event"] for event in events]


async def test_a_page_is_no_part_of_a_conversation(home: Any):
    with trio.fail_after(5):
        async with open_door(home.socket, CannedServices()) as world:
            client = await world.connect()
            await client.call("rlm_read", {"path": "a"})
            await client.stream.send_all(b"GET /metrics HTTP/1.1\r\n")
            refused = await client.receive()

    assert refused is not None
    assert refused["error"]["code"] == -32700


async def test_doors_say_who_is_in_and_who_was_turned_away(home: Any):
    with trio.fail_after(5):
        async with open_door(home.socket, CannedServices(), max_connections=1) as world:
            first, second = await world.connect(), await world.connect()
            await first.call("rlm_read", {"path": "a"})
            while await second.receive() is not None:
                pass
            facts = world.traffic.facts()

    assert (facts.connections, facts.max_connections, facts.accepted) == (1, 1, 1)
    assert facts.refused == {"too_many": 1}
