"""What a person or a collector sees of a running daemon: metrics, top, logs."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

from daemon_world import Client, Daemon, Places, running_daemon, until


def test_metrics_are_fetched_from_the_socket_by_command_and_by_curl(daemon: Daemon, client: Client):
    client.ask("rlm_grep", {"pattern": "spline"})

    told = daemon.places.run("metrics")

    assert (told.code, told.err) == (0, "")
    assert re.search(r'^rlmd_tool_duration_seconds_count\{tool="rlm_grep"\} [1-9]', told.out, re.MULTILINE)
    assert "rlmd_connections " in told.out


def test_metrics_without_a_daemon_end_with_69(places: Places):
    assert places.run("metrics").code == os.EX_UNAVAILABLE


def test_top_off_a_terminal_is_one_screen(daemon: Daemon):
    told = daemon.places.run("top")

    assert told.code == 0
    assert "\033" not in told.out
    for word in ("memory_writer", "connections", "RESTARTS", "CORPUS", "running"):
        assert word in told.out


def test_top_on_a_terminal_goes_on_until_interrupted_and_leaves_the_screen_as_it_was(daemon: Daemon):
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "rlmd", "top", "--interval", "0.1"]
    watching = subprocess.Popen(command, env=daemon.places.env(TERM="xterm"), stdout=theirs, stderr=theirs)
    os.close(theirs)
    seen = b""

    deadline = time.monotonic() + 20
    while seen.count(b"ACTOR") < 3 and time.monotonic() < deadline:
        seen += os.read(ours, 65_536)
    watching.send_signal(signal.SIGINT)
    while select.select([ours], [], [], 5)[0]:
        try:
            data = os.read(ours, 65_536)
        except OSError:  # the other end is closed
            break
        seen += data
    code = watching.wait(10)
    os.close(ours)

    assert code == 130
    assert seen.count(b"ACTOR") >= 3
    assert seen.endswith(b"\033[?25h\033[?1049l")


def test_logs_are_the_last_lines_and_then_what_comes(places: Places):
    places.state.mkdir()
    log = places.state / "daemon.log"
    log.write_text("".join(f"line {number}\n" for number in range(10)))

    told = places.run("logs", "-n", "2")
    following = subprocess.Popen(
        [sys.executable, "-m", "rlmd", "logs", "-f", "-n", "1"], env=places.env(), stdout=subprocess.PIPE
    )
    assert following.stdout is not None
    os.set_blocking(following.stdout.fileno(), False)
    seen = bytearray()

    def has(text: bytes) -> bool:
        seen.extend(following.stdout.read() or b"")  # type: ignore[union-attr]
        return text in seen

    until(lambda: has(b"line 9\n"), "the last line")
    with log.open("a") as more:
        more.write("line 10\n")
    until(lambda: has(b"line 10\n"), "what was appended")
    Path(f"{log}.new").write_text("another file\n")
    Path(f"{log}.new").rename(log)
    until(lambda: has(b"another file\n"), "the file in its place")
    following.send_signal(signal.SIGINT)
    following.wait(10)
    following.stdout.close()

    assert told.out == "line 8\nline 9\n"


def test_logs_that_are_nowhere_say_where_they_would_be(places: Places):
    told = places.run("logs")

    assert told.code == 1
    assert "daemon.log" in told.err


def test_a_bug_report_tells_of_the_daemon_and_nothing_of_its_user(places: Places, tree: Path):
    key = "sk-proj-" + "Ab3dEf6h" * 6
    with running_daemon(places, env={"RLMD_LLM__BASE_URL": f"http://joe:{key}@localhost:9/v1"}) as daemon:
        with daemon.connect(tree) as client:
            client.ask("rlm_analyze", {"query": "whoever reticulates", "paths": ["."], "mode": "evidence"})
            client.ask("rlm_memory_store", {"key": "private-name", "value": "a value of mine"})
            (places.state / "daemon.log").write_text(
                daemon.logged()
                + json.dumps(
                    {"event": "x.y", "level": "info", "error": f"{places.top}/secret {key}", "query": "q!"}
                )
            )
        told = places.run("bugreport", "report.tar.gz", RLMD_LLM__BASE_URL=f"http://joe:{key}@localhost:9/v1")
    with tarfile.open(places.top / "report.tar.gz") as bundle:
        parts = {Path(name).name: bundle.extractfile(name).read().decode() for name in bundle.getnames()}  # type: ignore[union-attr]

    whole = "".join(parts.values())
    assert (told.code, told.out) == (0, "report.tar.gz\n")
    assert json.loads(parts["status.json"])["corpora"][0]["root"] == "corpus 1"
    assert "request.ended" in parts["events.jsonl"]
    assert "[doors]" in parts["settings.toml"]
    for mine in (key, str(places.top), str(tree), "reticulates", "private-name", "a value of mine", "q!"):
        assert mine not in whole
