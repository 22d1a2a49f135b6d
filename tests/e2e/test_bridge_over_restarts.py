"""A session that outlives its daemons, as an agent sees it through the bridge."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from daemon_world import Places, running_daemon, until
from door_world import HANDSHAKE, call
from rlmd.cli import bridge

COMMAND = [sys.executable, "-I", "-S", bridge.__file__, "connect"]


class Agent:
    """Lines to the bridge, and back."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    def send(self, frame: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(frame).encode() + b"\n")
        self.process.stdin.flush()

    def receive(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line: dict[str, Any] = json.loads(self.process.stdout.readline())
        return line

    def shake_hands(self) -> dict[str, Any]:
        self.send({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": HANDSHAKE})
        answer = self.receive()
        self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return answer

    def ask(self, number: int, tool: str = "rlm_status", **given: Any) -> dict[str, Any]:
        """Call a tool in the older era, in which the session is the connection's."""
        params = {"name": tool, "arguments": given}
        self.send({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params})
        return self.receive()


@contextmanager
def agent(places: Places, cwd: Path) -> Iterator[Agent]:
    with subprocess.Popen(
        COMMAND, env=places.env(), cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        yield Agent(process)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(20) == 0


def test_a_session_goes_on_with_the_next_daemon_as_if_nothing_had_been(places: Places, tree: Path):
    with running_daemon(places) as first, agent(places, tree) as session:
        session.shake_hands()
        before = session.ask(1, "rlm_grep", pattern="reticulate")
        first.end()
        with running_daemon(places) as second:
            after = session.ask(2, "rlm_grep", pattern="reticulate")
            status = session.ask(3)

    assert after["result"] == before["result"]
    assert (after["id"], status["id"]) == (2, 3)
    assert status["result"]["_meta"]["rlmd/result"]["pid"] == second.pid


@pytest.mark.parametrize("era", ["handshake", pytest.param("stateless", marks=pytest.mark.slow)])
def test_what_a_killed_daemon_owed_is_answered_as_busy(places: Places, tree: Path, era: str):
    endless = call("rlm_exec", {"code": "while True: pass", "timeout_s": 60})
    with running_daemon(places) as first, agent(places, tree) as session, first.connect() as watch:
        if era == "handshake":
            session.shake_hands()
            endless["params"].pop("_meta")
        session.send(endless)
        until(lambda: watch.ask("rlm_status")["doors"]["requests"] == 2, "the cell runs")
        first.end(signal.SIGKILL)
        lost = session.receive()
        with running_daemon(places):
            session.send(call("rlm_status", request_id=2) if era == "stateless" else endless | {"id": 2})
            if era == "handshake":
                cancel = {"method": "notifications/cancelled", "params": {"requestId": 2}}
                session.send({"jsonrpc": "2.0", **cancel})
                after = session.ask(3)
            else:
                after = session.receive()

    assert lost["id"] == 1
    assert lost["result"]["isError"]
    assert "Ask again" in lost["result"]["content"][0]["text"]
    assert not after["result"].get("isError")


@pytest.mark.slow
def test_a_daemon_that_was_stopped_is_started_by_the_next_request_and_not_before(places: Places, tree: Path):
    with running_daemon(places) as first, agent(places, tree) as session:
        session.shake_hands()
        session.ask(1)
        first.end()
        left = places.run("status").code
        answer = session.ask(2)
        stopped = places.run("stop").code

    assert left == 69
    assert not answer["result"].get("isError")
    assert stopped == 0
