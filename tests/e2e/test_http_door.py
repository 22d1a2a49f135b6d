"""HTTP beside the socket of a real daemon: the same tools, a port with its token, a clean end."""

from __future__ import annotations

import json
import signal
import socket
import stat
from contextlib import ExitStack, closing
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

from daemon_world import Places, running_daemon, until
from door_world import call

HEADERS = {
    "accept": "application/json, text/event-stream",
    "content-type": "application/json",
    "mcp-protocol-version": "2026-07-28",
    "mcp-method": "tools/call",
}


class UnixConnection(HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=20)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(self._path)


def ask(connection: HTTPConnection, tool: str, given: dict[str, Any], **headers: str) -> HTTPResponse:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("POST", "/mcp", json.dumps(call(tool, given)), HEADERS | {"mcp-name": tool} | named)
    return connection.getresponse()


def facts(response: HTTPResponse) -> dict[str, Any]:
    body = response.read().decode()
    assert response.status == 200, body
    line = body if body.startswith("{") else next(x[5:] for x in body.splitlines() if x.startswith("data:"))
    found: dict[str, Any] = json.loads(line)["result"]["_meta"]["rlmd/result"]
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def test_the_same_tools_answer_on_a_socket_and_on_a_port_with_a_token(places: Places, tree: Path):
    port = free_port()
    options = ("-o", "http.unix=true", "-o", f"http.port={port}")
    with running_daemon(places, *options) as daemon, ExitStack() as opened:
        unix = opened.enter_context(closing(UnixConnection(places.top / "http.sock")))
        tcp = opened.enter_context(closing(HTTPConnection("127.0.0.1", port, timeout=20)))
        token = (places.state / "http-token").read_text().strip()
        found = facts(ask(unix, "rlm_grep", {"pattern": "reticulate"}, rlmd_cwd=str(tree)))
        same = facts(
            ask(
                tcp,
                "rlm_grep",
                {"pattern": "reticulate"},
                rlmd_cwd=str(tree),
                authorization=f"Bearer {token}",
            )
        )
        answer = facts(ask(unix, "rlm_analyze", {"query": "reticulate", "paths": ["."]}, rlmd_cwd=str(tree)))
        tcp.close()
        refused = ask(tcp, "rlm_status", {}).status
        modes = [stat.S_IMODE((places.top / "http.sock").stat().st_mode)]
        modes.append(stat.S_IMODE((places.state / "http-token").stat().st_mode))

        code = daemon.end(signal.SIGTERM)

    assert found["matches"] == same["matches"] != []
    assert answer["evidence"]
    assert refused == 401
    assert modes == [0o600, 0o600]
    assert code == 0
    assert not (places.top / "http.sock").exists()
    assert token not in daemon.logged()


def test_a_client_that_goes_away_ends_its_work(places: Places):
    with running_daemon(places, "-o", "http.unix=true") as daemon, daemon.connect() as watch:

        def executing() -> bool:
            actors = {actor["name"]: actor for actor in watch.ask("rlm_status")["actors"]}
            return bool(actors["sandbox_pool"]["busy"])

        asking = UnixConnection(places.top / "http.sock")
        body = json.dumps(call("rlm_exec", {"code": "while True: pass", "timeout_s": 60}))
        asking.request("POST", "/mcp", body, HEADERS | {"mcp-name": "rlm_exec"})
        until(executing, "the cell runs")
        asking.close()
        took_s = until(lambda: not executing(), "the cell has ended")

    assert took_s < 5
