"""What bad input gets: trees, paths, patterns, frames."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon_world import Client, Daemon, until
from door_world import call
from e2e.contract import mistakes_of

MIB = 1 << 20
AS_ROOT = os.geteuid() == 0


def test_a_path_that_is_not_there_is_answered_with_the_nearest(client: Client):
    for tool, given in [
        ("rlm_analyze", {"query": "q", "paths": ["pkg/splin.py"]}),
        ("rlm_query_text", {"query": "q", "path": "pkg/splin.py"}),
        ("rlm_read", {"path": "pkg/splin.py"}),
        ("rlm_grep", {"pattern": "x", "path": "pkg/splin.py"}),
        ("rlm_glob", {"pattern": "x", "path": "pgk"}),
    ]:
        error = client.fail(tool, given)

        assert error["code"] == "not_found", tool
        assert ("pkg/spline.py" if "pgk" not in given.values() else "pkg") in error["hint"], tool


OUTSIDE = ["/etc/passwd", "/", "../..", "~root/.ssh", "/proc/self/environ", "/nonexistent"]


@pytest.mark.parametrize("path", OUTSIDE)
def test_a_path_outside_the_roots_is_refused_with_the_setting(client: Client, path: str):
    for tool, given in [
        ("rlm_analyze", {"query": "q", "paths": [path]}),
        ("rlm_query_text", {"query": "q", "path": path}),
        ("rlm_read", {"path": path}),
        ("rlm_grep", {"pattern": "x", "path": path}),
        ("rlm_glob", {"pattern": "x", "path": path}),
    ]:
        error = client.fail(tool, given)

        assert error["code"] == "outside_roots", tool
        assert "roots." in error["message"] + error["hint"], tool


def test_a_link_out_of_the_roots_leads_nowhere(client: Client, tree: Path):
    (tree / "passwd").symlink_to("/etc/passwd")
    (tree / "etc").symlink_to("/etc")

    assert client.fail("rlm_read", {"path": "passwd"})["code"] == "outside_roots"
    assert client.fail("rlm_grep", {"pattern": "root", "path": "etc"})["code"] == "outside_roots"
    facts = client.ask("rlm_analyze", {"query": "root", "paths": ["."], "kind": "any"})
    assert facts["skipped"]["by_reason"] == {"symlink_outside": 2}
    assert client.ask("rlm_grep", {"pattern": "root:"})["total"] == 0


def test_secrets_are_never_shown(client: Client, tree: Path):
    (tree / ".env").write_text("TOKEN=hunter2\n")
    (tree / "id_rsa").write_text("hunter2\n")

    assert client.ask("rlm_grep", {"pattern": "hunter2"})["total"] == 0
    assert client.fail("rlm_read", {"path": ".env"})["code"] == "outside_roots"
    facts = client.ask("rlm_analyze", {"query": "hunter2 TOKEN", "paths": ["."], "kind": "any"})
    assert facts["skipped"]["by_reason"] == {"secret": 2}
    assert "hunter2" not in json.dumps(facts)


@pytest.fixture
def hostile(tree: Path) -> Iterator[Path]:
    """The small tree among everything that is no readable text."""
    os.mkfifo(tree / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.relpath(tree / "sock"))
        with (tree / "huge.txt").open("wb") as huge:
            huge.truncate(5 << 30)
        (tree / "loop").symlink_to(".")
        (tree / "to_itself").symlink_to("to_itself")
        Path(os.fsdecode(os.fsencode(tree) + b"/\xff\xfe.py")).write_text("def reticulate(): pass\n")
        (tree / "bin.dat").write_bytes(b"\0" * 100)
        (tree / "latin.txt").write_bytes(b"reticul\xe9 splines\n")
        (tree / "one_line.txt").write_text("reticulate " * 300_000)
        deep = tree
        for _ in range(120):
            deep = deep / ("d" * 20)
        with contextlib.suppress(OSError):
            deep.mkdir(parents=True)
        if AS_ROOT:
            os.mknod(tree / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
            os.mknod(tree / "block", stat.S_IFBLK | 0o666, os.makedev(7, 200))
        else:
            (tree / "closed.txt").write_text("x")
            (tree / "closed.txt").chmod(0)
        yield tree


def test_whatever_lies_in_a_tree_the_answer_comes_and_counts_it(daemon: Daemon, hostile: Path):
    with daemon.connect(hostile) as client:
        began = time.perf_counter()
        facts = client.ask("rlm_analyze", {"query": "reticulate splines", "paths": ["."], "kind": "any"})
        took_s = time.perf_counter() - began
        grep = client.ask("rlm_grep", {"pattern": "reticul"})
        status = client.ask("rlm_status")

    reasons = facts["skipped"]["by_reason"]
    print(f"\nhostile tree: {took_s:.2f} s, {reasons}")
    assert mistakes_of("rlm_analyze", facts) == []
    assert {each["path"] for each in facts["evidence"]} >= {"pkg/spline.py", "README.md"}
    assert reasons["special"] == (4 if AS_ROOT else 2)
    assert reasons["too_large"] == 1
    assert reasons["loop"] == 2
    assert reasons["binary"] == 1
    assert reasons["unreadable"] == (1 if AS_ROOT else 2)  # the name that is not UTF-8
    assert facts["skipped"]["files"] + facts["skipped"]["dirs"] == sum(reasons.values())
    assert took_s < 10
    assert "pkg/spline.py" in {match["path"] for match in grep["matches"]}
    assert status["state"] == "ready"
    assert status["process"]["rss_bytes"] < 600 * MIB


@pytest.mark.parametrize("name", ["pipe", "sock", "loop/loop/pipe", "to_itself", "bin.dat", "null"])
def test_what_is_no_text_is_refused_when_asked_for_by_name(daemon: Daemon, hostile: Path, name: str):
    if name == "null" and not AS_ROOT:
        pytest.skip("needs root to make a device")
    with daemon.connect(hostile) as client:
        read = client.fail("rlm_read", {"path": name})
        asked = client.call("rlm_query_text", {"query": "q", "path": name})
        grep = client.call("rlm_grep", {"pattern": "x", "path": name})

    assert read["code"] in {"bad_argument", "not_found"}
    for result in (asked, grep):
        if result.get("isError"):
            assert result["_meta"]["rlmd/error"]["code"] in {"bad_argument", "not_found"}
        else:
            skipped = result["_meta"]["rlmd/result"]["skipped"]
            assert skipped["files"] == 1


@pytest.mark.slow
def test_a_tree_that_changes_all_the_while_is_answered_all_the_while(daemon: Daemon, tree: Path):
    over = threading.Event()

    def churn() -> None:
        number = 0
        while not over.is_set():
            number += 1
            place = tree / f"dir{number % 7}"
            place.mkdir(exist_ok=True)
            for each in range(30):
                (place / f"f{each}.py").write_text(
                    f"def spline_{number}():\n    return {'x' * (number % 500)}\n"
                )
            shutil.rmtree(tree / f"dir{(number + 3) % 7}", ignore_errors=True)
            (tree / "moving.py").write_text(f"spline = {number}\n")
            (tree / "moving.py").rename(tree / "moved.py")

    churning = threading.Thread(target=churn)
    churning.start()
    try:
        with daemon.connect(tree) as client:
            for _ in range(8):
                facts = client.ask("rlm_analyze", {"query": "spline", "paths": ["."]})
                assert facts["state"] == "done"
                assert set(facts["skipped"]["by_reason"]) <= {"vanished"}
                assert "pkg/spline.py" in {each["path"] for each in facts["evidence"]}
                client.ask("rlm_grep", {"pattern": "spline"})
                client.ask("rlm_glob", {"pattern": "*.py"})
    finally:
        over.set()
        churning.join()


BAD_PATTERNS = ["(", "a{2", "[z-a]", "*", "\\", r"\p{Nonsense}", "(?P<n", "a{99999999}", "(?<=a)b", r"(a)\1"]


@pytest.mark.parametrize("pattern", BAD_PATTERNS)
def test_a_wrong_pattern_is_told_where_and_why(client: Client, pattern: str):
    result = client.call("rlm_grep", {"pattern": pattern})

    if pattern == "a{2" and not result.get("isError"):
        return  # ripgrep's engine says so; ours may take it as a literal only if ripgrep does
    error = result["_meta"]["rlmd/error"]
    assert error["code"] == "bad_argument"
    assert any(char.isdigit() for char in error["message"]) or pattern in error["message"], error
    assert error["hint"], error


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|a)*b", "(.*)(.*)(.*)(.*)x", "((a{0,30}){0,30}){0,30}b"])
def test_no_pattern_takes_more_than_linear_time(client: Client, tree: Path, pattern: str):
    (tree / "as.txt").write_text("a" * 200_000 + "!\n")
    began = time.perf_counter()

    client.call("rlm_grep", {"pattern": pattern})

    assert time.perf_counter() - began < 10


BAD_GLOBS = ["[", "{a", "[z-a]"]


@pytest.mark.parametrize("glob", BAD_GLOBS)
def test_a_wrong_glob_is_refused_wherever_one_is_taken(client: Client, glob: str):
    for tool, given in [
        ("rlm_glob", {"pattern": glob}),
        ("rlm_grep", {"pattern": "x", "glob": glob}),
        ("rlm_analyze", {"query": "q", "paths": ["."], "include": [glob]}),
        ("rlm_analyze", {"query": "q", "paths": ["."], "exclude": [glob]}),
    ]:
        assert client.fail(tool, given)["code"] == "bad_argument", (tool, given)


BAD_FRAMES = {
    b"nonsense\n": -32700,
    b'{"jsonrpc":"2.0","id":1,"method":\n': -32700,
    b"\xff\xfe\x00\n": -32700,
    b'"text"\n': -32600,
    b"42\n": -32600,
    b"[]\n": -32600,
    b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]\n': -32600,
    b'{"id":1,"method":"ping"}\n': -32600,
    b'{"jsonrpc":"1.0","id":1,"method":"ping"}\n': -32600,
    b'{"jsonrpc":"2.0","id":{},"method":"ping"}\n': -32600,
    b'{"jsonrpc":"2.0","id":null,"method":"ping"}\n': -32600,
    b'{"rlmd/hello":{"cwd":"relative"}}\n': -32600,
    b'{"rlmd/hello":7}\n': -32600,
    b"[" * 100_000 + b"\n": -32700,
    b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"\n": -32700,
}


@pytest.mark.parametrize("frame", BAD_FRAMES, ids=range(len(BAD_FRAMES)))
def test_a_bad_frame_is_answered_and_hurts_nobody(daemon: Daemon, tree: Path, frame: bytes):
    with daemon.connect(tree) as other, daemon.connect(tree) as client:
        client.send_bytes(frame)
        answer = client.receive()
        after = client.call("rlm_status")
        others = other.call("rlm_status")

    assert answer is not None
    assert answer["error"]["code"] == BAD_FRAMES[frame]
    assert not after.get("isError")
    assert not others.get("isError")


@pytest.mark.slow
def test_a_frame_beyond_the_limit_is_answered_and_the_connection_closed(daemon: Daemon, tree: Path):
    with daemon.connect(tree) as other, daemon.connect(tree) as client:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            client.send_bytes(b'{"jsonrpc":"2.0","id":1,"method":"' + b"x" * (9 * MIB) + b'"}\n')
        answer, end = client.receive(), client.receive()
        other.call("rlm_status")

    assert answer is not None
    assert answer["error"]["code"] == -32600
    assert end is None


@pytest.mark.slow
def test_a_frame_within_the_limit_is_served_however_it_is_cut(client: Client):
    text = "all is well\n" * 500_000 + "the pump caught fire\n"
    frame = (
        json.dumps(call("rlm_query_text", {"query": "pump fire", "text": text}, request_id=1)).encode()
        + b"\n"
    )
    assert MIB < len(frame) < 8 * MIB

    for start in range(0, len(frame), 77_777):
        client.send_bytes(frame[start : start + 77_777])

    found = client.answer_to(1)["result"]["_meta"]["rlmd/result"]["evidence"]
    assert "pump caught fire" in found[0]["quote"]


def test_a_frame_that_is_torn_by_the_end_hurts_nobody(daemon: Daemon, tree: Path):
    with daemon.connect(tree) as other:
        for _ in range(20):
            with daemon.connect(tree) as client:
                client.send_bytes(b'{"jsonrpc":"2.0","id":1,"meth')

        assert not other.call("rlm_status").get("isError")


@pytest.mark.slow
def test_one_who_never_reads_keeps_nobody_waiting(daemon: Daemon, tree: Path):
    (tree / "long.txt").write_text("needle in the hay\n" * 5_000)
    given = {"pattern": "needle", "limit": 5_000, "max_chars": 100_000}
    frame = json.dumps(call("rlm_grep", given, request_id="x")).encode() + b"\n"
    with daemon.connect(tree) as deaf, daemon.connect(tree) as other:
        deaf.socket.settimeout(0.5)
        with contextlib.suppress(TimeoutError):
            for _ in range(300):
                deaf.send_bytes(frame)
        began = time.perf_counter()
        status = other.ask("rlm_status")
        took_s = time.perf_counter() - began

    assert took_s < 2
    assert status["process"]["rss_bytes"] < 800 * MIB
    with daemon.connect() as watch:
        until(lambda: watch.ask("rlm_status")["jobs"]["running"] == 0, "nothing is left", 5)
