"""What is left of a daemon, and of its work, when something dies: an actor, the process, the whole of it."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from daemon_world import Client, Daemon, Places, is_alive, running_daemon, until
from door_world import call


def slow(*kinds: str) -> list[Any]:
    return [pytest.param(kind, marks=pytest.mark.slow) for kind in kinds]


def grow(root: Path, files: int, words: int = 3_000) -> Path:
    root.mkdir(exist_ok=True)
    text = " ".join(f"word{n}" for n in range(words))
    for number in range(files):
        (root / f"f{number}.txt").write_text(f"{number} {text}\n")
    return root


def worker_of(daemon: Daemon) -> int:
    """Wait for the worker process that counts and return its pid; the sandbox has processes, too."""
    until(lambda: workers_of(daemon), "there is a worker process", 20)
    return workers_of(daemon)[0]


def workers_of(daemon: Daemon) -> list[int]:
    lines = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in daemon.children()}
    return [pid for pid, line in lines.items() if b"offload_child" in line]


@pytest.mark.slow
def test_an_actor_that_crashes_costs_one_answer_and_is_told_of(places: Places, tmp_path: Path):
    """The counter crashes where its worker process is killed under a call."""
    ask = {"query": "word7", "paths": ["."], "kind": "any", "wait_s": 50}
    with running_daemon(places) as daemon:
        for attempt in range(6):
            with daemon.connect(grow(tmp_path / f"tree{attempt}", 200)) as client:
                client.send(call("rlm_analyze", ask, request_id=1))
                os.kill(worker_of(daemon), signal.SIGKILL)
                result = client.answer_to(1)["result"]
                again = client.ask("rlm_analyze", ask)
                status = client.ask("rlm_status")
            assert (again["state"], again["corpus"]["files"]) == ("done", 200)
            if result.get("isError"):
                break
        else:
            pytest.fail("the worker was never hit while it counted")

    error = result["_meta"]["rlmd/error"]
    assert error["code"] == "internal"
    assert error["retryable"]
    assert error["hint"]
    assert status["state"] == "degraded"
    assert any("token_counter" in problem["what"] for problem in status["problems"])


@pytest.mark.parametrize("kind", ["foreign", *slow("no database", "torn", "from the future")])
def test_a_memory_that_cannot_be_opened_ends_the_boot_with_a_sentence(places: Places, kind: str):
    places.state.mkdir(mode=0o700)
    memory = places.state / "memory.db"
    match kind:
        case "no database":
            memory.write_bytes(b"this is no database, and it is not empty either\n" * 200)
        case "foreign":
            with sqlite3.connect(memory) as db:
                db.execute("CREATE TABLE theirs (x)")
                db.execute("PRAGMA user_version = 3")
            db.close()
        case _:
            with running_daemon(places) as daemon, daemon.connect("/tmp") as client:
                for number in range(50):
                    client.ask(
                        "rlm_memory_store", {"key": f"k{number}", "value": "v" * 5_000, "project": "p"}
                    )
            if kind == "torn":
                with memory.open("r+b") as file:
                    file.seek(100)
                    file.write(b"\xa5" * 8_000)
            else:
                with sqlite3.connect(memory) as db:
                    db.execute("PRAGMA user_version = 9999")
                db.close()
    before = memory.read_bytes()

    done = places.run("serve")

    assert done.code == os.EX_DATAERR
    assert done.err.splitlines()[-1].startswith(f"rlmd: {memory}: ")
    assert "Traceback" not in done.err
    assert not places.socket.exists()
    assert memory.read_bytes() == before


def residue(places: Places) -> list[str]:
    """Return what a daemon should not leave: sockets, runs, journals, temporary files."""
    left = [
        str(path.relative_to(places.top))
        for path in places.top.rglob("*")
        if path.name.startswith("run-") or path.is_socket() or path.suffix in {".tmp", ".db-wal", ".db-shm"}
    ]
    return sorted(left)


def load_up(daemon: Daemon, root: Path) -> list[tuple[Client, str]]:
    """Have an ingest, analyses, greps and stores under way; return who waits for what."""
    waiting: list[tuple[Client, str]] = []
    for number in range(4):
        waiting.append((daemon.connect(root), "rlm_analyze"))
        given = {"query": f"word{number}", "paths": ["."], "kind": "any", "wait_s": 50}
        waiting[-1][0].send(call("rlm_analyze", given, request_id=1))
    for number in range(4):
        waiting.append((daemon.connect(root), "rlm_grep"))
        waiting[-1][0].send(call("rlm_grep", {"pattern": f"(word{number} )+[a-z]*nothing"}, request_id=1))
    for number in range(16):
        waiting.append((daemon.connect(root), "rlm_memory_store"))
        given = {"key": f"k{number}", "value": "v" * 2_000, "project": "p"}
        waiting[-1][0].send(call("rlm_memory_store", given, request_id=1))
    return waiting


@pytest.mark.slow
def test_sigterm_under_load_answers_or_refuses_and_leaves_nothing(places: Places, tmp_path: Path):
    root = grow(tmp_path / "tree", 600)
    with running_daemon(places, "-o", "daemon.grace_s=3") as daemon:
        waiting = load_up(daemon, root)
        worker = worker_of(daemon)
        began = time.perf_counter()
        daemon.process.send_signal(signal.SIGTERM)
        answers = [(tool, client.answer_to(1)["result"]) for client, tool in waiting]
        code = daemon.process.wait(30)
        took_s = time.perf_counter() - began
        for client, _ in waiting:
            client.socket.close()

    fates: dict[str, dict[str, int]] = {}
    for tool, result in answers:
        fate = result["_meta"].get("rlmd/error", {}).get("code", "answered")
        fates.setdefault(tool, {}).setdefault(fate, 0)
        fates[tool][fate] += 1
    print(f"\nSIGTERM under load: {took_s:.2f} s, code {code}, {fates}, left {residue(places)}")
    assert code == 0
    assert took_s < 3 + 3
    assert not is_alive(worker)
    assert residue(places) == []
    stored = {
        result["_meta"]["rlmd/result"]["key"]
        for tool, result in answers
        if tool == "rlm_memory_store" and not result.get("isError")
    }
    for fate in fates.values():
        assert set(fate) <= {"answered", "busy", "cancelled"}, fates
    with running_daemon(places) as daemon, daemon.connect(root) as client:
        items = client.ask("rlm_memory_recall", {"prefix": "k", "project": "p", "limit": 100})["items"]
    assert stored <= {item["key"] for item in items}


@pytest.mark.slow
def test_a_second_sigterm_ends_it_at_once(places: Places, tmp_path: Path):
    root = grow(tmp_path / "tree", 600)
    with running_daemon(places, "-o", "daemon.grace_s=60") as daemon:
        waiting = load_up(daemon, root)
        worker = worker_of(daemon)
        daemon.process.send_signal(signal.SIGTERM)
        until(lambda: "drain.begun" in daemon.logged(), "the drain has begun", 5)
        began = time.perf_counter()
        daemon.process.send_signal(signal.SIGTERM)
        code = daemon.process.wait(30)
        took_s = time.perf_counter() - began
        for client, _ in waiting:
            client.socket.close()

    print(f"\nsecond SIGTERM: {took_s:.2f} s, code {code}, left {residue(places)}")
    assert took_s < 2
    assert not is_alive(worker)
    logs = {f"state/{name}.db-{kind}" for name in ("memory", "jobs") for kind in ("wal", "shm")}
    assert set(residue(places)) <= logs  # what is in them is durable, too


def test_with_nothing_in_hand_sigterm_ends_it_without_waiting_for_its_grace(places: Places, tmp_path: Path):
    with running_daemon(places, "-o", "daemon.grace_s=600") as daemon:
        with daemon.connect(grow(tmp_path / "tree", 3)) as client:
            client.ask("rlm_analyze", {"query": "word7", "paths": ["."], "kind": "any"})

        code = daemon.end()

    assert code == 0


@pytest.mark.slow
def test_kill_9_leaves_no_child_and_the_next_daemon_cleans_up(places: Places, tmp_path: Path):
    root = grow(tmp_path / "tree", 600)
    with running_daemon(places) as daemon, daemon.connect(root) as keeper:
        for number in range(20):
            keeper.ask("rlm_memory_store", {"key": f"k{number}", "value": f"v{number}", "project": "p"})
        waiting = load_up(daemon, root)
        worker = worker_of(daemon)
        daemon.process.kill()
        daemon.process.wait()
        died = until(lambda: not is_alive(worker), "the worker is gone", 5)
        for client, _ in waiting:
            client.socket.close()
    left = residue(places)

    with running_daemon(places) as daemon, daemon.connect(root) as client:
        items = client.ask("rlm_memory_recall", {"prefix": "k", "project": "p", "limit": 100})["items"]
        runs = [name for name in residue(places) if "run-" in name]
        facts = client.ask("rlm_analyze", {"query": "word7", "paths": ["."], "kind": "any", "wait_s": 50})
        ready_s = daemon.ready_after_s

    print(f"\nkill -9: worker gone after {died * 1000:.0f} ms, left {left}, next ready after {ready_s:.1f} s")
    assert {f"k{number}" for number in range(20)} <= {item["key"] for item in items}
    assert len(runs) <= 1
    assert facts["state"] == "done"
    assert residue(places) == []


def test_idle_it_takes_no_time_and_little_memory(daemon: Daemon):
    def used() -> float:
        fields = Path(f"/proc/{daemon.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    with daemon.connect() as client:
        before = used()
        time.sleep(1)
        spent = used() - before
        rss_mib = client.ask("rlm_status")["process"]["rss_bytes"] / (1 << 20)

    print(f"\nidle: {spent * 1000:.0f} ms of CPU in 1 s, {rss_mib:.0f} MiB")
    assert spent < 0.1


@pytest.mark.slow
def test_a_daemon_started_on_demand_ends_when_it_is_idle(places: Places):
    done = subprocess.run(
        [sys.executable, "-m", "rlmd", "serve", "--on-demand", "-o", "daemon.idle_exit_s=0.3"],
        env=places.env(),
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )

    assert done.returncode == 0
    ready = next(json.loads(line) for line in done.stderr.splitlines() if "rlmd: ready" in line)
    assert ready["socket"] == str(places.socket)
    assert residue(places) == []
