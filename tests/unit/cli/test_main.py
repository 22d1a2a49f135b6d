"""The command line: which command was meant, what it may import, and how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

import rlmd
from rlmd.cli import bridge, exits
from rlmd.cli.ask import Bar, as_text, parse_budget
from rlmd.cli.main import main

HEAVY = ("mcp", "openai", "pydantic", "trio", "structlog")
PROBE = """
import sys
from rlmd.cli.main import main
code = main({argv!r})
loaded = [name for name in {heavy!r} if name in sys.modules]
print(code, loaded, file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("argv", "code"), [(["version"], 0), (["status"], 69), (["stop"], 69), (["config", "init", "--print"], 0)]
)
def test_quick_commands_import_nothing_heavy(home: Any, argv: list[str], code: int):
    heavy = HEAVY if argv[0] != "config" else ("mcp", "openai", "trio")

    done = run("-c", PROBE.format(argv=argv, heavy=heavy))

    assert done.stderr.splitlines()[-1] == f"{code} []"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=env, timeout=30, check=False
    )


def test_an_unknown_command_names_the_nearest(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as exit_info:
        main(["stats"])

    assert exit_info.value.code == 2
    assert "did you mean status?" in capsys.readouterr().err


@pytest.mark.parametrize(
    "argv", [["ask"], ["ask", "q", "--mode", "fast"], ["memory"], ["memory", "recal"], ["config"], []]
)
def test_wrong_usage_is_two(argv: list[str]):
    with pytest.raises(SystemExit) as exit_info:
        main(argv)

    assert exit_info.value.code == 2


@pytest.mark.parametrize("budget", ["euros=1", "usd=much", "seconds"])
def test_a_wrong_budget_is_two_before_anything_is_started(home: Any, budget: str):
    assert main(["ask", "q", "--budget", budget]) == 2
    assert not home.state.exists()


def test_a_budget_is_read_part_by_part():
    assert parse_budget("usd=0.5,calls=3,seconds=10") == {"usd": 0.5, "calls": 3, "seconds": 10.0}


def test_a_socket_path_that_is_too_long_is_a_mistake_of_the_set_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("RLMD_SOCKET", f"/tmp/{'x' * 120}")

    code = main(["status"])

    assert code == 78
    assert "107" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ("bad_argument", 2),
        ("outside_roots", 77),
        ("too_large", 65),
        ("busy", 75),
        ("internal", 70),
        ("not_found", 1),
    ],
)
def test_each_error_has_its_exit_code(error: str, code: int):
    assert exits.of_error(error) == code


def test_an_interrupt_ends_quietly_with_130(home: Any):
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    code = (
        "import sys, time; import rlmd.cli.version as verb; from rlmd.cli.main import main\n"
        "verb.version = lambda **_: (print(flush=True), time.sleep(30))\n"
        "sys.exit(main(['version']))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()

        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=10)

    assert (process.returncode, errors) == (130, "")


def test_a_reader_that_has_seen_enough_is_no_error(home: Any):
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-m", "rlmd", "config", "init", "--print"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=env,
    ) as process:
        assert process.stdout is not None
        process.stdout.close()

        assert process.stderr is not None
        errors = process.stderr.read()

    assert (process.returncode, errors) == (0, b"")


def test_an_answer_reads_as_passages_under_their_place():
    found = {
        "note": "why",
        "answer": None,
        "citations": [{"path": "a.py", "start_line": 3, "end_line": 4, "quote": "x\ny"}],
        "corpus": {"root": "/tree", "tokens": 7_000},
        "coverage": {"files_read": 2, "files": 3},
        "skipped": {"files": 1, "dirs": 0},
        "usage": {"calls": 2, "tokens_in": 900, "tokens_out": 100, "usd": 0.25, "wall_s": 1.5, "model": "m"},
        "trajectory": "rlmd://jobs/j-1",
        "job_id": "j-1",
    }

    assert as_text(found) == (
        "why\n\na.py:3-4\n    x\n    y\n\n"
        "/tree: 2 of 3 files, 7,000 tokens; skipped 1 files and 0 directories\n"
        "cost: 2 calls of m, 1,000 tokens, $0.2500, 1.5 s; rlmd jobs show j-1"
    )


def test_the_bridge_greets_with_the_version_of_the_package():
    assert rlmd.__version__ == bridge.VERSION


def test_status_of_nobody_takes_no_time(home: Any):
    began = time.monotonic()

    main(["status"])

    assert time.monotonic() - began < 0.2


def test_where_nobody_watches_progress_is_a_line_now_and_then(capsys):
    with Bar() as bar:
        bar.show(0.1, 6.0, "walk: 3 files")
        bar.show(5.0, 6.0, "before anything is spent: One call (≤ 9 tokens).")
        bar.show(5.1, 6.0, "turn 1 of 40: the model writes")

    assert capsys.readouterr().err == "rlmd: before anything is spent: One call (≤ 9 tokens).\n"
