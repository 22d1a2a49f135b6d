"""The protocol's own programs: Inspector, TypeScript client, and the conformance suite over HTTP."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from daemon_world import Daemon, Places, running_daemon, until
from rlmd.cli import bridge

HERE = Path(__file__).parent
BRIDGE = [sys.executable, "-I", "-S", bridge.__file__, "connect"]


def test_the_inspector_lists_and_calls_through_the_bridge(clients: Any, daemon: Daemon, tree: Path):
    listing = clients.run("mcp-inspector", "--cli", *BRIDGE, "--method", "tools/list", cwd=tree)
    words = ("--method", "tools/call", "--tool-name", "rlm_grep", "--tool-arg", "pattern=reticulate")
    called = clients.run("mcp-inspector", "--cli", *BRIDGE, *words, cwd=tree)

    assert listing[0] == 0, listing
    listed, _ = json.JSONDecoder().raw_decode(listing[1], listing[1].index("{"))  # advice follows on stderr
    assert len(listed["tools"]) == 11
    assert "def reticulate" in called[1]


def test_the_typescript_client_calls_cancels_times_out_and_waits_on_progress(
    clients: Any, daemon: Daemon, tree: Path
):
    program = clients.programs / "session.mjs"
    program.write_text((HERE / "session.mjs").read_text())  # it finds the client beside itself

    code, said = clients.run("node", str(program), json.dumps(BRIDGE), cwd=tree)

    assert code == 0, said
    seen = json.loads(said.splitlines()[0])
    assert len(seen["tools"]) == 11
    assert "def reticulate" in seen["grep"]
    assert seen["error"][0] is True
    assert seen["error"][1].startswith("not_found: ")
    assert "AbortError" in seen["cancelled"]
    assert "timed out" in seen["timeout"].lower()
    assert seen["progress"][0] >= 1
    assert seen["status"] == "ready"
    with daemon.connect() as watch:
        until(lambda: watch.ask("rlm_status")["doors"]["requests"] == 1, "all work has ended")


@pytest.mark.parametrize("revision", ["2025-11-25", "2026-07-28"])
def test_the_conformance_suite_passes_but_for_what_needs_its_own_tools(
    clients: Any, places: Places, tree: Path, revision: str, free_tcp_port: int
):
    """What fails is listed: scenarios about tools, prompts and resources of a server made for the suite."""
    with running_daemon(places, "-o", f"http.port={free_tcp_port}"):
        token = (places.state / "http-token").read_text().strip()
        code, said = clients.run(
            "conformance",
            "server",
            "--url",
            f"http://127.0.0.1:{free_tcp_port}/mcp",
            *("--suite", "all", "--spec-version", revision),
            *("--expected-failures", str(HERE / f"conformance-{revision}.yml")),
            cwd=tree,
            within_s=300,
            RLMD_TOKEN=token,
            NODE_OPTIONS=f"--import {HERE / 'auth.mjs'}",
        )

    print(re.findall(r"Total: .*", said))
    assert code == 0, said[-6_000:]
