"""Who gets in, how many at once, and what a bad neighbour can do to the others: nothing."""

from __future__ import annotations

import os
import socket
import stat
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import mcp_types
import pytest
import trio
from mcp import Client

from door_world import CannedServices, call, open_door
from rlmd.doors import listener
from rlmd.doors.traffic import Bounds, Traffic
from rlmd.doors.wire import Wire
from rlmd.errors import ConfigError

pytestmark = pytest.mark.real_io


def test_the_socket_and_its_new_directory_are_open_to_us_alone(home: Any):
    path = home.path / "new" / "mcp.sock"

    door = listener.bind(str(path))
    modes = [stat.S_IMODE(os.stat(place).st_mode) for place in (path.parent, path)]
    door.close()

    assert modes == [0o700, 0o600]


def test_a_closed_door_leaves_nothing_beside_itself(home: Any):
    path = home.path / "mcp.sock"

    listener.bind(str(path)).close()

    assert not list(home.path.glob("mcp.sock*"))


def test_a_socket_that_a_dead_daemon_left_is_taken_over(home: Any):
    path = home.path / "mcp.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))

    listener.bind(str(path)).close()

    assert not path.exists()


def test_a_second_daemon_is_told_that_the_socket_is_taken(home: Any):
    path = str(home.path / "mcp.sock")
    first = listener.bind(path)

    with pytest.raises(listener.SocketTaken, match="another daemon"):
        listener.bind(path)

    first.close()


def test_a_socket_that_another_process_listens_on_is_left_alone(home: Any):
    path = home.path / "mcp.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen(1)

        with pytest.raises(listener.SocketTaken):
            listener.bind(str(path))

    assert path.exists()


def test_a_file_in_the_way_is_not_removed(home: Any):
    path = home.path / "mcp.sock"
    path.write_text("precious")

    with pytest.raises(ConfigError, match="in the way"):
        listener.bind(str(path))

    assert path.read_text() == "precious"


def test_a_socket_that_took_our_place_is_not_unlinked(home: Any):
    path = home.path / "mcp.sock"
    door = listener.bind(str(path))
    path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))

        door.close()

        assert path.exists()


def test_an_inherited_socket_stays_with_whoever_made_it(home: Any):
    path = home.path / "mcp.sock"
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))
        made.listen(1)

        listener.adopt(os.dup(made.fileno())).close()

    assert path.exists()


def test_an_inherited_descriptor_that_is_no_unix_socket_is_a_mistake_of_the_set_up():
    with socket.socket(socket.AF_INET) as made, pytest.raises(ConfigError, match="no Unix stream socket"):
        listener.adopt(os.dup(made.fileno()))


async def test_clients_that_come_before_the_door_is_served_are_answered_then(home: Any):
    door = listener.bind(str(home.socket))
    early = await trio.open_unix_socket(str(home.socket))
    await early.send_all(b"hello")

    async def echo(stream: trio.SocketStream, _: listener.Peer) -> None:
        await stream.send_all(await stream.receive_some())

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery, early:
            await nursery.start(
                partial(listener.serve, door, echo, traffic=Traffic(Bounds(max_connections=2)))
            )
            heard = await early.receive_some()
            nursery.cancel_scope.cancel()
    door.close()

    assert heard == b"hello"


async def test_clients_that_wait_when_the_accepting_ends_are_served_all_the_same(home: Any):
    door = listener.bind(str(home.socket))
    late = [await trio.open_unix_socket(str(home.socket)) for _ in range(3)]

    async def greet(stream: trio.SocketStream, _: listener.Peer) -> None:
        await stream.send_all(b"hello")

    with trio.fail_after(10):
        async with trio.open_nursery() as connections:
            with trio.CancelScope() as accepting:
                accepting.cancel()
                await listener.serve(
                    door, greet, traffic=Traffic(Bounds(max_connections=9)), connections=connections
                )
        heard = [await stream.receive_some() for stream in late]
    door.close()
    for stream in late:
        await stream.aclose()

    assert heard == [b"hello"] * 3


async def test_a_foreign_user_is_let_go_without_a_word(home: Any):
    with trio.fail_after(10):
        async with open_door(home.socket, CannedServices(), uid=os.getuid() + 1) as world:
            client = await world.connect()

            assert await client.receive() is None


async def test_beyond_the_bound_a_peer_is_told_busy_and_a_place_comes_free_again(home: Any):
    with trio.fail_after(10):
        async with open_door(home.socket, CannedServices(), max_connections=1) as world:
            first = await world.connect()
            await first.call("rlm_read", {"path": "a"})

            refused = await (await world.connect()).receive()
            await first.stream.aclose()
            later = await world.connect()
            while (answer := await retry(later)) is None:
                later = await world.connect()

    assert refused is not None
    assert refused["error"]["message"].startswith("busy")
    assert "result" in answer


async def retry(client: Any) -> Any:
    """Call once; None where the connection was refused, since the place was not free yet."""
    try:
        await client.send(call("rlm_read", {"path": "a"}))
    except trio.BrokenResourceError:
        return None
    frame = await client.receive()
    return None if frame is None or "error" in frame else frame


async def test_sixty_four_connections_are_served_side_by_side(home: Any):
    answers: list[Any] = []
    with trio.fail_after(20):
        async with open_door(home.socket, CannedServices()) as world:
            clients = [await world.connect() for _ in range(64)]

            async def ask(client: Any) -> None:
                answers.append(await client.call("rlm_read", {"path": "a"}))

            async with trio.open_nursery() as nursery:
                for client in clients:
                    nursery.start_soon(ask, client)

    assert len(answers) == 64
    assert all("result" in answer for answer in answers)


async def test_a_handler_that_crashes_loses_its_own_connection_only(home: Any, events: list[Any]):
    door = listener.bind(str(home.socket))

    async def handle(stream: trio.SocketStream, _: listener.Peer) -> None:
        if (data := await stream.receive_some()) == b"crash":
            raise RuntimeError("boom")
        await stream.send_all(data)

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            await nursery.start(
                partial(listener.serve, door, handle, traffic=Traffic(Bounds(max_connections=4)))
            )
            good, bad = [await trio.open_unix_socket(str(home.socket)) for _ in range(2)]
            async with good, bad:
                await bad.send_all(b"crash")
                end = await bad.receive_some()
                await good.send_all(b"fine")
                heard = await good.receive_some()
            nursery.cancel_scope.cancel()
    door.close()

    assert (end, heard) == (b"", b"fine")
    assert [event["event"] for event in events].count("connection.crashed") == 1


async def test_a_reader_that_is_too_slow_is_cut_off_and_its_work_with_it(home: Any):
    with trio.fail_after(20):
        async with open_door(home.socket, CannedServices(lines=20_000), write_timeout_s=0.3) as world:
            slow, other = await world.connect(), await world.connect()
            for number in range(20):
                await slow.send(call("rlm_analyze", {"query": "q", "paths": ["."]}, request_id=number))
            await trio.sleep(0.6)
            unharmed = await other.call("rlm_read", {"path": "a"})
            with trio.fail_after(5):
                while await slow.receive() is not None:
                    pass

    assert "result" in unharmed
    assert world.traffic.facts().refused == {"slow": 1}


async def test_whoever_does_not_read_is_not_read_either(home: Any):
    services = CannedServices(value="v" * 90_000)
    given = {"key": "k", "value_chars": 90_000}
    with trio.fail_after(20):
        async with open_door(home.socket, services, write_timeout_s=60, max_requests=10_000) as world:
            client = await world.connect()
            with trio.move_on_after(1.0):
                for number in range(3_000):
                    await client.send(call("rlm_memory_recall", given, request_id=number))

    assert len(services.asked) < 60


async def test_a_drain_ends_idle_connections_at_once_and_the_others_after_their_answers(home: Any):
    draining, begun, release = trio.Event(), trio.Event(), trio.Event()

    async def work(_: Any) -> None:
        begun.set()
        await release.wait()

    with trio.fail_after(10):
        async with open_door(home.socket, CannedServices(work), draining=draining) as world:
            idle, busy = await world.connect(), await world.connect()
            await busy.send(call("rlm_read", {"path": "a"}))
            await begun.wait()

            draining.set()
            ended = await idle.receive()
            release.set()
            answer, end = await busy.receive(), await busy.receive()

    assert ended is None
    assert answer is not None
    assert "result" in answer
    assert end is None


async def _no_page(_: str) -> bytes:
    raise AssertionError("nobody asked for a page")


def unix_client(path: Path) -> Any:
    """Return a transport for the package's own client."""

    class Transport:
        async def __aenter__(self) -> Any:
            self.stream = await trio.open_unix_socket(str(path))
            wire = Wire(
                self.stream,
                max_frame_bytes=8 << 20,
                write_timeout_s=5,
                greet=print,
                page=_no_page,
                refused=Counter(),
            )
            return wire.reads, wire.writes

        async def __aexit__(self, *_: object) -> None:
            await self.stream.aclose()

    return Transport()


@pytest.mark.parametrize("mode", ["auto", "legacy", "2026-07-28"])
async def test_the_protocols_own_client_is_served_in_every_mode(home: Any, mode: Any):
    given = {
        "rlm_analyze": {"query": "q", "paths": ["."]},
        "rlm_query_text": {"query": "q", "text": "t"},
        "rlm_exec": {"code": "1"},
        "rlm_job": {"action": "list"},
        "rlm_status": {},
        "rlm_memory_store": {"key": "k", "value": "v"},
        "rlm_memory_recall": {"key": "k"},
        "rlm_memory_forget": {"key": "k"},
        "rlm_read": {"path": "a"},
        "rlm_grep": {"pattern": "x"},
        "rlm_glob": {"pattern": "*"},
    }
    with trio.fail_after(20):
        async with (
            open_door(home.socket, CannedServices()),
            Client(unix_client(home.socket), mode=mode) as client,
        ):
            listed = await client.list_tools()
            results = {name: await client.call_tool(name, given[name]) for name in given}

    assert {tool.name for tool in listed.tools} == set(given)
    for name, result in results.items():
        assert not result.is_error, name
        (block,) = result.content
        assert isinstance(block, mcp_types.TextContent)
        assert result.meta is not None
        assert isinstance(result.meta["rlmd/result"], dict)
