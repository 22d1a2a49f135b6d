"""What every test stands on: a home of its own, its log events, no network, virtual time.

The network is what lies beyond Unix sockets and loopback.  Async tests in tests/unit take
`autojump_clock` (or `mock_clock`), so that they state times exactly and never wait; one whose
subject is real I/O says so with `@pytest.mark.real_io` and bounds itself with `trio.fail_after`.
"""

from __future__ import annotations

import inspect
import ipaddress
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

VIRTUAL_CLOCKS = {"autojump_clock", "mock_clock"}


@dataclass(frozen=True)
class Home:
    """The directories of one test's daemon; none of them exists yet except `path`."""

    path: Path
    socket: Path
    state: Path
    cache: Path
    config: Path


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """Point the environment at directories of the test's own, with a path short enough for a socket."""
    path = Path(tempfile.mkdtemp(prefix="rlmd-"))
    home = Home(path, path / "mcp.sock", path / "state", path / "cache", path / ".config/rlmd/config.toml")
    for name in [name for name in os.environ if name.startswith(("RLMD_", "XDG_"))]:
        monkeypatch.delenv(name)
    for name, place in [
        ("HOME", home.path),
        ("RLMD_SOCKET", home.socket),
        ("RLMD_STATE_DIR", home.state),
        ("RLMD_CACHE_DIR", home.cache),
    ]:
        monkeypatch.setenv(name, str(place))
    yield home
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(autouse=True)
def events() -> Iterator[list[MutableMapping[str, Any]]]:
    """Collect what the test logs, context included, instead of printing it."""
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as captured:
        yield captured


def pytest_configure() -> None:
    sys.addaudithook(forbid_network)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fail an async unit test that neither takes a virtual clock nor owns up to real I/O."""
    if "unit" not in item.path.relative_to(Path(__file__).parent).parts or not isinstance(
        item, pytest.Function
    ):
        return
    if item.get_closest_marker("real_io") or VIRTUAL_CLOCKS & set(item.fixturenames):
        return
    inner = getattr(getattr(item.obj, "hypothesis", item.obj), "inner_test", item.obj)
    if inspect.iscoroutinefunction(inner):
        pytest.fail("an async unit test takes autojump_clock, or is marked real_io", pytrace=False)


def forbid_network(event: str, arguments: tuple[Any, ...]) -> None:
    """Raise where anything of this process is about to reach beyond the machine (an audit hook)."""
    match event, arguments:
        case (("socket.connect" | "socket.sendto" | "socket.sendmsg"), (_, (str(host), *_))):
            allowed = is_loopback(host)
        case "socket.getaddrinfo", (host, *_):
            allowed = host is None or is_loopback(os.fsdecode(host))
        case _:
            return
    if not allowed:
        raise RuntimeError(f"a test reached for the network: {event} {host}")


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in {"", "localhost"}
