"""`python -I -S bridge.py connect` as an agent runs it, over a door and over a daemon of its own making."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
import trio

from door_world import HANDSHAKE, CannedServices, call, open_door
from rlmd.cli import bridge
from rlmd.cli.main import main

COMMAND = [sys.executable, "-I", "-S", bridge.__file__, "connect"]


def lines(*frames: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(frame).encode() + b"\n" for frame in frames)


async def test_requests_piped_in_are_answered_before_the_bridge_ends(home: Any):
    services = CannedServices()
    with trio.fail_after(20):
        async with open_door(home.socket, services):
            given = lines(call("rlm_read", {"path": "a"}, request_id=1), call("rlm_status", request_id=2))
            done = await trio.run_process(COMMAND, stdin=given, capture_stdout=True, cwd=home.path)

    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(answer["id"] for answer in answers) == [1, 2]
    assert services.asked[0][0].workspace == str(home.path)


@pytest.mark.slow
async def test_a_flood_that_is_read_late_does_not_jam_the_bridge(home: Any):
    given = {"pattern": "x" * 2_000}  # both directions outgrow what the kernel holds for them
    flood = lines(*(call("rlm_grep", given, request_id=number) for number in range(400)))
    with trio.fail_after(60):
        async with open_door(home.socket, CannedServices(lines=100), max_requests=10_000):
            done = await trio.run_process(COMMAND, stdin=flood, capture_stdout=True)

    assert len(done.stdout.splitlines()) == 400


async def test_work_stops_when_nobody_reads_the_bridge_any_more(home: Any):
    begun, cancelled = trio.Event(), trio.Event()

    async def last(_: Any) -> None:
        begun.set()
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()

    with trio.fail_after(20):
        async with open_door(home.socket, CannedServices(last)):
            process = await trio.lowlevel.open_process(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            assert process.stdin is not None
            assert process.stdout is not None
            await process.stdin.send_all(lines(call("rlm_read", {"path": "a"})))
            await begun.wait()
            await process.stdin.aclose()
            await process.stdout.aclose()
            await cancelled.wait()
            code = await process.wait()

    assert code == 0


async def test_the_bridge_is_there_in_a_moment(home: Any):
    took: list[float] = []
    with trio.fail_after(30):
        async with open_door(home.socket, CannedServices()):
            given = lines({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": HANDSHAKE})
            for _ in range(8):
                began = time.perf_counter()
                await trio.run_process(COMMAND, stdin=given, capture_stdout=True)
                took.append(time.perf_counter() - began)

    assert min(took) < 0.15  # a bare interpreter takes 10 to 20 ms of it, the end of the process as much


def test_a_socket_path_that_is_too_long_is_78(home: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RLMD_SOCKET", f"/tmp/{'x' * 120}")

    done = subprocess.run(COMMAND, input=b"", capture_output=True, timeout=20, check=False)

    assert done.returncode == 78
    assert done.stdout == b""


def test_settings_that_are_wrong_are_told_by_whoever_wanted_a_daemon(
    home: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("RLMD_DOORS__MAX_CONECTIONS", "3")

    done = subprocess.run(COMMAND, input=b"", capture_output=True, timeout=30, check=False)

    assert done.returncode == 78
    assert b"max_connections" in done.stderr
    assert done.stdout == b""


@pytest.fixture
def stopped(home: Any) -> Iterator[None]:
    """End the daemon that the test started."""
    yield
    main(["stop"])


@pytest.mark.usefixtures("stopped")
def test_bridges_that_find_no_daemon_start_one_between_them(home: Any):
    given = lines(call("rlm_status"))
    bridges = [subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(4)]

    answers = [json.loads(process.communicate(given, timeout=40)[0]) for process in bridges]

    pids = {answer["result"]["_meta"]["rlmd/result"]["pid"] for answer in answers}
    assert len(pids) == 1
    assert [process.returncode for process in bridges] == [0] * 4
    assert not os.path.exists(f"{home.socket}.start")


@pytest.mark.slow
@pytest.mark.usefixtures("stopped")
def test_the_commands_agree_on_the_daemon_that_one_of_them_started(
    home: Any, capsys: pytest.CaptureFixture[str]
):
    stored = main(["memory", "store", "k", "forty-two", "--tag", "t"])
    recalled = main(["memory", "recall", "--key", "k", "--json"])
    (item,) = json.loads(capsys.readouterr().out.splitlines()[-1])["items"]
    nothing = main(["memory", "recall", "--key", "other"])
    stop = main(["stop"])
    gone = not home.socket.exists()
    status = main(["status"])

    assert (stored, recalled, nothing, stop, status) == (0, 0, 1, 0, 69)
    assert item["value"] == "forty-two"
    assert gone
