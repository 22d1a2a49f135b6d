"""rlm_exec and `rlmd exec` against a real daemon: what a calling agent's code sees, keeps and cannot do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from daemon_world import Client, Daemon


@pytest.fixture
def cells(client: Client) -> Client:
    status = client.ask("rlm_status")
    if not status["sandbox"]["available"]:
        pytest.skip("no sandbox on this machine")
    return client


def test_state_lasts_and_files_are_those_of_the_corpus(cells: Client):
    first = cells.ask("rlm_exec", {"code": "seen = list(files); seen", "paths": ["."]})
    second = cells.ask("rlm_exec", {"code": "len(seen)", "session": first["session"], "close": True})

    assert first["stdout"] == "['README.md', 'pkg/knot.py', 'pkg/spline.py']\n"
    assert (second["stdout"], second["session"]) == ("3\n", first["session"])
    assert {"name": "seen", "type": "list", "size": 3} in first["variables"]


def test_a_result_has_the_fields_of_the_contract_and_no_others(cells: Client):
    found = cells.ask("rlm_exec", {"code": "submit({'n': 1})", "text": "one line", "close": True})

    assert set(found) == {
        "session",
        "stdout",
        "error",
        "answer",
        "truncated",
        "variables",
        "killed",
        "sub_calls",
        "wall_s",
    }
    assert found["answer"] == {"n": 1}


def test_search_ranks_the_files_of_the_session(cells: Client):
    code = "search('reticulate a spline', k=1)[0].path"

    found = cells.ask("rlm_exec", {"code": code, "paths": ["."], "close": True})

    assert found["stdout"] == "'pkg/spline.py'\n"


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        ("open('/etc/passwd')", "PermissionError"),
        ("import socket", "ModuleNotFoundError"),
        ("llm_query('hello')", "no model is configured"),
        ("1/0", "ZeroDivisionError"),
    ],
)
def test_what_a_cell_may_not_do_is_an_error_in_the_cell(cells: Client, code: str, complaint: str):
    found = cells.ask("rlm_exec", {"code": code, "close": True})

    assert complaint in found["error"]
    assert found["killed"] is None


def test_a_cell_that_overruns_its_time_is_interrupted_and_keeps_its_state(cells: Client):
    first = cells.ask("rlm_exec", {"code": "kept = 7"})

    late = cells.ask("rlm_exec", {"code": "while True: pass", "session": first["session"], "timeout_s": 0.3})
    after = cells.ask("rlm_exec", {"code": "kept", "session": first["session"], "close": True})

    assert late["error"]
    assert after["stdout"] == "7\n"


def test_an_unknown_session_and_two_sources_are_refused(cells: Client):
    unknown = cells.call("rlm_exec", {"code": "1", "session": "s-nobody"})
    both = cells.call("rlm_exec", {"code": "1", "text": "a", "path": "README.md"})

    assert unknown["_meta"]["rlmd/error"]["code"] == "not_found"
    assert both["_meta"]["rlmd/error"]["code"] == "bad_argument"


def test_long_output_keeps_its_head_and_tail_in_the_text(cells: Client):
    result = cells.call("rlm_exec", {"code": "print('head', 'x' * 30_000, 'tail')", "close": True})
    text = result["content"][0]["text"]

    assert len(text) <= 9_000
    assert text.startswith("head")
    assert "characters left out" in text
    assert "tail" in text


def test_the_command_runs_a_cell_from_stdin(daemon: Daemon, tree: Path):
    run = daemon.places.run

    good = run("exec", "pkg", cwd=tree, stdin="print(len(files))")
    kept = run("exec", "--keep", "--json", cwd=tree, stdin="n = 1")
    bad = run("exec", cwd=tree, stdin="1/0")

    assert (good.code, good.out) == (0, "2\n")
    assert json.loads(kept.out)["variables"] == [{"name": "n", "type": "int", "size": 0}]
    assert (bad.code, bad.out) == (1, "")
    assert "ZeroDivisionError" in bad.err
