"""The daemon under a service manager that is a socket of ours: what systemd hears, anywhere."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from daemon_world import PATIENCE_S, Client, Places, until

STARTER = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ["LISTEN_PID"] = os.environ["WATCHDOG_PID"] = str(os.getpid())
os.execv(sys.executable, [sys.executable, "-m", "rlmd", "serve", "--systemd", *sys.argv[2:]])
"""


@dataclass
class Manager:
    """Holds the daemon's socket and hears what it notifies."""

    places: Places
    process: subprocess.Popen[bytes]
    notifications: socket.socket
    heard: list[str] = field(default_factory=list)

    def hear(self, word: str) -> str:
        """Wait until a message has *word*; return that message."""
        while not self.heard or word not in self.heard[-1]:
            self.heard.append(self.notifications.recv(4096).decode())
        return self.heard[-1]


@contextmanager
def managed(places: Places, *options: str, **env: str) -> Iterator[Manager]:
    """Start a daemon as systemd does: by a socket that a client waits at, for the length of the block."""
    with (
        socket.socket(socket.AF_UNIX) as door,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifications,
    ):
        door.bind(str(places.socket))
        door.listen()
        notifications.bind(str(places.top / "notify"))
        notifications.settimeout(PATIENCE_S)
        process = subprocess.Popen(
            [sys.executable, "-c", STARTER, str(door.fileno()), *options],
            env=places.env(
                NOTIFY_SOCKET=str(places.top / "notify"), LISTEN_FDS="1", LISTEN_FDNAMES="mcp",
                WATCHDOG_USEC="400000", **env,
            ),
            stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, pass_fds=[door.fileno()],
        )  # fmt: skip
        try:
            yield Manager(places, process, notifications)
        finally:
            process.kill()
            process.wait()


def test_it_takes_the_socket_and_says_when_it_is_ready_alive_reloading_and_stopping(places: Places):
    with managed(places) as manager:
        client = Client(str(places.socket))  # waits in the queue until there is a daemon
        ready = manager.hear("READY=1")
        status = client.ask("rlm_status")
        client.ask("rlm_exec", {"code": "1"})
        told = told_to_the_children_of(manager.process.pid)
        for _ in range(3):
            manager.hear("WATCHDOG=1")
            manager.heard.append("")
        manager.process.send_signal(signal.SIGHUP)
        reloading, reloaded = manager.hear("RELOADING=1"), manager.hear("READY=1")
        client.socket.close()
        manager.process.send_signal(signal.SIGTERM)
        stopping = manager.hear("STOPPING=1")
        code = manager.process.wait(PATIENCE_S)

    assert ready == f"READY=1\nSTATUS=serving at {places.socket}"
    assert "MONOTONIC_USEC=" in reloading
    assert reloaded == "READY=1\nSTATUS=reloaded, nothing new"
    assert status["pid"] == manager.process.pid
    assert "STATUS=draining" in stopping
    assert code == 0
    assert places.socket.exists()  # it is the manager's
    assert told
    assert not any(b"LISTEN_" in each or b"NOTIFY_SOCKET" in each for each in told)


def told_to_the_children_of(pid: int) -> list[bytes]:
    """Return the environments of what the daemon has started, as far as they may be read."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    until(
        lambda: all(b"rlmd." in Path(f"/proc/{child}/cmdline").read_bytes() for child in children), "started"
    )
    environments = [Path(f"/proc/{child}/environ") for child in children]
    return [each.read_bytes() for each in environments if os.access(each, os.R_OK)]


@pytest.mark.parametrize("wrong", ["a setting", "a state that is taken"])
def test_who_waits_hears_why_nobody_will_serve(places: Places, wrong: str):
    """Left waiting, they would have systemd start the daemon again at once, until it gives up."""
    options = ["-odoors.no_such_key=1"] if wrong == "a setting" else []
    places.state.mkdir(mode=0o700)
    with (places.state / "daemon.lock").open("w") as lock, managed(places, *options) as manager:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with Client(str(places.socket)) as client:
            told, end = client.receive(), client.receive()
        code = manager.process.wait(PATIENCE_S)

    assert ("no_such_key" if options else "another daemon works on this state") in told["error"]["message"]
    assert end is None
    assert code == (78 if options else 75)
