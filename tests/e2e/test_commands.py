"""The command line against a real daemon: exit codes, streams, terminals, and who starts what."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon_world import Daemon, Places, is_alive, until
from door_world import call
from e2e.contract import mistakes_of

ASK = ("ask", "where are splines reticulated?", ".")


@pytest.fixture
def alone(places: Places) -> Iterator[Places]:
    """Places where no daemon runs; one that a command starts is stopped after."""
    yield places
    if places.socket.exists():
        places.run("stop")


def test_an_answer_is_data_on_stdout_and_its_citations_are_places(daemon: Daemon, tree: Path):
    done = daemon.places.run(*ASK, cwd=tree)

    cited = re.findall(r"^(\S+):(\d+)-(\d+)$", done.out, re.MULTILINE)
    assert done.code == 0
    assert ("pkg/spline.py", "4", "6") in cited
    assert "\033" not in done.out
    assert done.err == ""


def test_json_is_the_facts_of_the_contract(daemon: Daemon, tree: Path):
    asked = daemon.places.run(*ASK, "--json", cwd=tree)
    status = daemon.places.run("status", "--json")
    stored = daemon.places.run("memory", "store", "key", "value", "--tag", "t", "--json", cwd=tree)
    recalled = daemon.places.run("memory", "recall", "--tag", "t", "--json", cwd=tree)

    assert mistakes_of("rlm_analyze", json.loads(asked.out)) == []
    assert mistakes_of("rlm_status", json.loads(status.out)) == []
    assert mistakes_of("rlm_memory_store", json.loads(stored.out)) == []
    assert mistakes_of("rlm_memory_recall", json.loads(recalled.out)) == []


def test_each_failure_has_its_exit_code(daemon: Daemon, tree: Path):
    (tree / "void").mkdir()
    run = daemon.places.run
    codes = {
        "found nothing": run("ask", "q", "void", cwd=tree).code,
        "no such path": run("ask", "q", "gone", cwd=tree).code,
        "recalled nothing": run("memory", "recall", "--key", "none", cwd=tree).code,
        "usage": run("ask", cwd=tree).code,
        "unknown command": run("aks").code,
        "bad budget": run(*ASK, "--budget", "euros=3", cwd=tree).code,
        "bad glob": run(*ASK, "--include", "[", cwd=tree).code,
        "no model": run(*ASK, "--mode", "rlm", cwd=tree).code,
        "denied": run("ask", "q", str(Path("~/.ssh").expanduser()), cwd=tree, HOME=str(tree)).code,
    }

    assert codes == {
        "found nothing": 1,
        "no such path": 1,
        "recalled nothing": 1,
        "usage": 2,
        "unknown command": 2,
        "bad budget": 2,
        "bad glob": 2,
        "no model": 78,
        "denied": 1,  # there is no such path; nothing lies below that home
    }


def test_a_denied_path_is_77_and_names_the_setting(daemon: Daemon, tree: Path):
    (daemon.places.top / ".ssh").mkdir(exist_ok=True)

    done = daemon.places.run("ask", "q", str(daemon.places.top / ".ssh"), cwd=tree)

    assert done.code == 77
    assert "roots.deny" in done.err
    assert done.out == ""


def test_a_path_that_the_person_typed_may_be_read_though_no_root_has_it(daemon: Daemon, tree: Path):
    done = daemon.places.run("ask", "splines", str(tree), cwd=Path("/"))

    assert done.code == 0


def test_without_a_daemon_those_that_start_none_say_69(alone: Places):
    assert [alone.run(*words).code for words in (["status"], ["stop"], ["status", "--json"])] == [69] * 3
    assert not alone.socket.exists()


def test_status_of_a_running_daemon_is_there_within_200_ms(daemon: Daemon):
    """On a machine that is busy otherwise, beside an interpreter that does nothing (some 20 ms)."""
    took: list[float] = []
    bare: list[float] = []
    for _ in range(7):
        took.append(daemon.places.run("status").took_s)
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", "pass"], check=True)
        bare.append(time.perf_counter() - began)

    print(f"\nrlmd status: best {min(took) * 1000:.0f} ms, a bare interpreter {min(bare) * 1000:.0f} ms")
    assert min(took) < max(0.2, 8 * min(bare))


def test_what_talks_to_a_daemon_imports_nothing_heavy(daemon: Daemon, tree: Path):
    code = (
        "import sys; from rlmd.cli.main import main; code = main(sys.argv[1:]);"
        "print([n for n in ('mcp', 'openai', 'pydantic', 'trio', 'structlog') if n in sys.modules],"
        "file=sys.stderr); sys.exit(code)"
    )
    for words in (["status"], list(ASK), ["memory", "recall", "x"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *words],
            env=daemon.places.env(),
            cwd=tree,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.stderr.splitlines()[-1] == "[]", words


def in_terminal(places: Places, cwd: Path, *words: str, **extra: str) -> tuple[int, str]:
    """Run `rlmd` with a terminal for stdout and stderr; return its exit code and what it drew."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "rlmd", *words],
        env=places.env(TERM="xterm", **extra),
        cwd=cwd,
        stdin=follower,
        stdout=follower,
        stderr=follower,
    )
    os.close(follower)
    drawn = b""
    deadline = time.monotonic() + 30
    try:
        while time.monotonic() < deadline:
            if select.select([leader], [], [], 0.5)[0]:
                try:
                    data = os.read(leader, 65_536)
                except OSError:
                    break  # the last one who held the other end is gone
                drawn += data
    finally:
        os.close(leader)
        code = process.wait(10)
    return code, drawn.decode()


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    root = tmp_path / "wide"
    root.mkdir()
    for number in range(3_000):
        (root / f"f{number}.py").write_text(f"def reticulate_{number}(spline):\n    return {number}\n")
    return root


def test_a_terminal_gets_a_bar_while_it_waits_and_bold_places(daemon: Daemon, wide: Path):
    code, drawn = in_terminal(daemon.places, wide, *ASK)

    bars = re.findall(r"\r\033\[K\[([#-]{24})\] (\w+): ", drawn)
    filled = [bar.count("#") for bar, _ in bars]
    assert code == 0
    assert bars
    assert filled == sorted(filled)
    assert {stage for _, stage in bars} <= {"walk", "read", "count", "index", "search"}
    assert re.search(r"\r\033\[K[^\[]*Evidence", drawn)  # the bar is gone before the answer
    assert "\033[1mf" in drawn


def test_no_color_is_respected_and_a_dumb_terminal_too(daemon: Daemon, tree: Path):
    _, plain = in_terminal(daemon.places, tree, *ASK, NO_COLOR="1")

    assert "\033[1m" not in plain


@pytest.mark.slow
def test_the_first_question_starts_a_daemon_that_outlives_it(alone: Places, tree: Path):
    done = alone.run(*ASK, cwd=tree)

    pid = json.loads(alone.run("status", "--json").out)["pid"]
    assert done.code == 0
    assert is_alive(pid)
    assert os.getsid(pid) == pid
    assert stat.S_IMODE(alone.socket.stat().st_mode) == 0o600
    assert stat.S_IMODE(alone.state.stat().st_mode) == 0o700

    stop = alone.run("stop")

    assert stop.code == 0
    assert not is_alive(pid)
    assert not alone.socket.exists()
    assert alone.run("stop").code == 69


@pytest.mark.slow
def test_clients_of_every_kind_that_start_at_once_get_one_daemon(alone: Places, tree: Path):
    asks = [
        subprocess.Popen(
            [sys.executable, "-m", "rlmd", *ASK, "--json"],
            env=alone.env(),
            cwd=tree,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    bridges = [
        subprocess.Popen(
            [sys.executable, "-m", "rlmd", "connect"],
            env=alone.env(),
            cwd=tree,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    asked = [process.communicate(timeout=50) for process in asks]
    line = json.dumps(call("rlm_status")) + "\n"
    answers = [json.loads(process.communicate(line, timeout=50)[0]) for process in bridges]

    assert [process.returncode for process in [*asks, *bridges]] == [0] * 6, asked
    assert len({answer["result"]["_meta"]["rlmd/result"]["pid"] for answer in answers}) == 1
    assert all(json.loads(out)["evidence"] for out, _ in asked)
    log = (alone.state / "daemon.log").read_text()
    assert log.count("rlmd: ready") == 1, log


def test_an_interrupt_ends_the_question_and_its_work(daemon: Daemon, wide: Path):
    process = subprocess.Popen(
        [sys.executable, "-m", "rlmd", *ASK],
        env=daemon.places.env(),
        cwd=wide,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with daemon.connect() as watch:
        until(lambda: watch.ask("rlm_status")["jobs"]["running"], "the analysis runs")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        until(lambda: not watch.ask("rlm_status")["jobs"]["running"], "the analysis ended", 1)

    assert process.returncode == 130
    assert out == err == b""


def test_an_answer_cut_off_by_its_reader_is_no_error(daemon: Daemon, tree: Path):
    process = subprocess.Popen(
        [sys.executable, "-m", "rlmd", *ASK],
        env=daemon.places.env(),
        cwd=tree,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    err = process.stderr.read()
    process.stderr.close()

    assert process.wait(20) == 0
    assert err == b""


@pytest.mark.slow
def test_a_daemon_that_goes_away_during_a_question_is_69(places: Places, tree: Path):
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(places.socket))
        listening.listen()
        process = subprocess.Popen(
            [sys.executable, "-m", "rlmd", *ASK],
            env=places.env(),
            cwd=tree,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        listening.settimeout(20)
        listening.accept()[0].close()
        out, err = process.communicate(timeout=20)

    assert process.returncode == 69
    assert b"rlmd: " in err
    assert b"Traceback" not in err
    assert out == b""
