"""Real agents, installed by `make test-clients` into a cache outside the repository."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from daemon_world import Daemon, Places, new_places, running_daemon

INSTALLED = os.environ.get("RLMD_CLIENTS", "")
CLOSED = "http://127.0.0.1:9"
"""Where whatever an agent wants of the world is sent to: nobody listens there."""


@pytest.fixture(autouse=True)
def _installed() -> None:
    if not INSTALLED:
        pytest.skip("`make test-clients` installs the agents (npm) and runs these")


@dataclass(frozen=True)
class Clients:
    """The programs, and what they run in: a home of their own, no telemetry, no way out."""

    places: Places
    programs: Path

    def env(self, **extra: str) -> dict[str, str]:
        node = self.programs / "node_modules/node/bin"
        return self.places.env(
            PATH=f"{node}:/usr/local/bin:/usr/bin:/bin",
            HTTP_PROXY=CLOSED,
            HTTPS_PROXY=CLOSED,
            NO_PROXY="127.0.0.1,localhost",
            DISABLE_TELEMETRY="1",
            DISABLE_ERROR_REPORTING="1",
            DISABLE_AUTOUPDATER="1",
            CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC="1",
            **extra,
        )

    def start(self, program: str, *words: str, cwd: Path, **env: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(self.programs / "node_modules/.bin" / program), *words],
            env=self.env(**env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, program: str, *words: str, cwd: Path, within_s: float = 120, **env: str) -> tuple[int, str]:
        """Run *program* to its end; return its exit code and all that it said."""
        with self.start(program, *words, cwd=cwd, **env) as process:
            try:
                out, err = process.communicate(timeout=within_s)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        return process.returncode, out + err


@pytest.fixture
def places() -> Iterator[Places]:
    with new_places() as places:
        yield places


@pytest.fixture
def daemon(places: Places) -> Iterator[Daemon]:
    with running_daemon(places) as daemon:
        yield daemon


@pytest.fixture
def clients(places: Places) -> Clients:
    assert shutil.which("node"), "make test-clients looks for it"
    return Clients(places, Path(INSTALLED))


@pytest.fixture
def tree(places: Places) -> Path:
    """A small project in which every tool has something to find."""
    root = places.top / "project"
    root.mkdir()
    lines = "# a line of some length, one of many\n" * 20_000
    (root / "spline.py").write_text(f"def reticulate(spline):\n    return spline[::-1]\n\n\n{lines}")
    return root


@pytest.fixture
def free_tcp_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
