"""The rules of the house that no tool checks: file lengths, locks, and the tests' own fences."""

import os
import re
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import structlog
import trio
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from rlmd.paths import cache_dir, socket_path, state_dir

ROOT = Path(__file__).parents[2]
LINES_LIMIT = 400
LOCKS = ("requirements.lock", "requirements-dev.lock")


def test_no_file_is_longer_than_a_reader_can_hold():
    files = [path for folder in ("daemon", "tests", "benchmarks") for path in (ROOT / folder).rglob("*.py")]

    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in files}

    assert {path: lines for path, lines in lengths.items() if lines > LINES_LIMIT} == {}


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_holds_hashes_and_no_address(lock):
    text = (ROOT / lock).read_text()

    requirements = [line for line in text.splitlines() if line[:1].isalnum()]
    assert requirements
    assert all("==" in line for line in requirements)
    assert text.count("--hash=sha256:") >= len(requirements)
    assert not [word for word in ("://", "index-url", "find-links", "www.", ".org", ".com") if word in text]


def test_everything_that_runs_is_locked_for_development_too():
    runtime, development = (
        {line.split(" ")[0] for line in (ROOT / lock).read_text().splitlines() if "==" in line}
        for lock in LOCKS
    )

    assert runtime - development == set()


def test_what_the_project_asks_for_is_what_is_locked():
    """Whoever changes a dependency runs `make lock`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [Requirement(text) for text in project["dependencies"] + project["optional-dependencies"]["dev"]]
    locked = dict(re.findall(r"^([\w.-]+)==([^ ;]+)", (ROOT / LOCKS[1]).read_text(), re.MULTILINE))

    unmet = [
        str(want)
        for want in asked
        if not want.specifier.contains(locked.get(canonicalize_name(want.name), "0"))
    ]

    assert unmet == []


def test_commands_start_without_the_heavy_libraries():
    """A command that talks to a running daemon answers at once; what is slow to import comes later."""
    program = """
import pkgutil, sys, rlmd.cli
for module in pkgutil.walk_packages(rlmd.cli.__path__, "rlmd.cli."):
    __import__(module.name)
print(*{"mcp", "openai", "pydantic", "rich", "structlog", "tantivy", "tiktoken", "trio"} & sys.modules.keys())
"""

    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30
    )

    assert loaded.stdout.split() == []


def test_each_test_has_a_home_of_its_own(home):
    assert (socket_path(), state_dir(), cache_dir()) == (str(home.socket), str(home.state), str(home.cache))
    assert os.path.expanduser("~") == str(home.path)


def test_log_events_are_collected_with_their_context(events):
    with structlog.contextvars.bound_contextvars(request_id="r1"):
        structlog.get_logger().info("file.skipped", reason="binary")

    assert events == [{"event": "file.skipped", "reason": "binary", "request_id": "r1", "log_level": "info"}]


def test_the_network_is_out_of_reach():
    with socket.socket() as plain, pytest.raises(RuntimeError, match="reached for the network"):
        plain.connect(("192.0.2.1", 9))
    with pytest.raises(RuntimeError, match="reached for the network"):
        socket.getaddrinfo("example.invalid", 80)


@pytest.mark.real_io
async def test_unix_sockets_and_loopback_are_within_reach(home):
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(trio.serve_tcp, trio.aclose_forcefully, 0)
            stream = await trio.open_tcp_stream("localhost", listeners[0].socket.getsockname()[1])
            await stream.aclose()
            nursery.cancel_scope.cancel()
        with trio.socket.socket(trio.socket.AF_UNIX) as unix, pytest.raises(FileNotFoundError):
            await unix.connect(str(home.socket))


@pytest.mark.slow
def test_an_async_unit_test_on_the_real_clock_fails(tmp_path):
    unit = tmp_path / "unit"
    unit.mkdir()
    (tmp_path / "conftest.py").write_text((ROOT / "tests/conftest.py").read_text())
    (unit / "test_clocks.py").write_text(
        "import pytest\n"
        "async def test_careless(): pass\n"
        "async def test_virtual(autojump_clock): pass\n"
        "@pytest.mark.real_io\n"
        "async def test_owned_up(): pass\n"
        "def test_plain(): pass\n"
    )

    command = [sys.executable, "-m", "pytest", "-q", "-otrio_mode=true", "-omarkers=real_io", "unit"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)

    assert "ERROR unit/test_clocks.py::test_careless - " in ran.stdout
    assert "3 passed, 1 error" in ran.stdout
