"""`rlm_analyze` and `rlm_query_text` on real input: what is cited, what it stands on, and how it ends."""

from __future__ import annotations

import hashlib
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from daemon_world import Client, Daemon, until
from door_world import call
from e2e.conftest import LIBRARY, NO_TESTS
from e2e.contract import mistakes_of

QUESTIONS = [
    "where does a thread pool shut down its worker threads?",
    "how are escapes in JSON strings decoded?",
    "retry logic when a socket connection is refused",
    "LRU cache eviction",
]


def asked(query: str, **more: Any) -> dict[str, Any]:
    return {"query": query, "paths": ["."], "exclude": NO_TESTS, "wait_s": 50, **more}


def answer(client: Client, given: dict[str, Any], tool: str = "rlm_analyze") -> dict[str, Any]:
    """Ask until the answer is there, as a client does that is told `running`."""
    while (facts := client.ask(tool, given))["state"] == "running":
        pass
    return facts


def require_exact(passage: dict[str, Any], root: Path) -> None:
    """Compare a quote and its hash with the file as it lies there."""
    data = (root / passage["path"]).read_bytes()
    lines = data.decode().split("\n")  # as grep counts: a form feed ends no line
    assert passage["verified"] is True
    assert hashlib.sha256(data).hexdigest() == passage["sha256"]
    assert passage["quote"] == "\n".join(lines[passage["start_line"] - 1 : passage["end_line"]])
    assert 1 <= passage["start_line"] <= passage["end_line"] <= len(lines)


@pytest.mark.parametrize("query", QUESTIONS)
def test_the_standard_library_is_cited_exactly_and_broadly(library: Client, query: str):
    facts = answer(library, asked(query))

    evidence = facts["evidence"]
    counts = Counter(passage["path"] for passage in evidence)
    assert mistakes_of("rlm_analyze", facts) == []
    assert (facts["state"], facts["mode"], facts["partial"], facts["fresh"]) == (
        "done",
        "evidence",
        False,
        True,
    )
    assert len(evidence) >= 20
    assert len(counts) >= 10
    assert max(counts.values()) <= 3
    assert [passage["score"] for passage in evidence] == sorted(
        (passage["score"] for passage in evidence), reverse=True
    )
    for passage in [*evidence, *facts["citations"]]:
        require_exact(passage, LIBRARY)
    assert facts["corpus"]["root"] == str(LIBRARY)
    assert facts["coverage"]["files_read"] == facts["corpus"]["files"]


def test_the_same_tree_is_the_same_snapshot_and_the_same_answer(library: Client):
    first, second = (answer(library, asked(QUESTIONS[0])) for _ in range(2))

    assert first["corpus"] == second["corpus"]
    assert first["evidence"] == second["evidence"]


def test_the_question_before_is_answered_where_it_was_asked(library: Client):
    paths = [passage["path"] for passage in answer(library, asked(QUESTIONS[0]))["evidence"]]

    assert "concurrent/futures/thread.py" in paths[:3]


def test_an_edit_right_before_the_call_is_seen(client: Client, tree: Path):
    ask = {"query": "quaternion slerp", "paths": ["."]}
    before = client.ask("rlm_analyze", ask)
    path = tree / "pkg/spline.py"

    for number in range(5):
        path.write_text(f"def quaternion_slerp_{number}(a, b):\n    return a\n")
        facts = client.ask("rlm_analyze", ask)

        (passage,) = [each for each in facts["evidence"] if each["path"] == "pkg/spline.py"]
        assert f"quaternion_slerp_{number}" in passage["quote"]
        require_exact(passage, tree)
        assert facts["fresh"] is True
        assert facts["corpus"]["snapshot"] != before["corpus"]["snapshot"]


def test_an_edit_that_keeps_size_and_time_is_seen(client: Client, tree: Path):
    path = tree / "pkg/knot.py"
    client.ask("rlm_analyze", {"query": "tie knot", "paths": ["."]})
    found = path.stat()
    path.write_text(path.read_text().replace("tie", "eat"))
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))

    facts = client.ask("rlm_analyze", {"query": "eat knot", "paths": ["."]})

    (passage,) = [each for each in facts["evidence"] if each["path"] == "pkg/knot.py"]
    require_exact(passage, tree)


def test_a_tree_put_back_is_the_snapshot_it_was(client: Client, tree: Path):
    ask = {"query": "knot", "paths": ["."]}
    first = client.ask("rlm_analyze", ask)["corpus"]["snapshot"]
    text = (tree / "pkg/knot.py").read_text()
    (tree / "pkg/knot.py").write_text("other")
    second = client.ask("rlm_analyze", ask)["corpus"]["snapshot"]
    (tree / "pkg/knot.py").write_text(text)

    assert first != second
    assert client.ask("rlm_analyze", ask)["corpus"]["snapshot"] == first


def test_include_and_exclude_choose_the_files(client: Client, tree: Path):
    def files(**given: Any) -> tuple[int, set[str]]:
        facts = client.ask("rlm_analyze", {"query": "splines knot", "paths": ["."], "kind": "any", **given})
        return facts["corpus"]["files"], {passage["path"] for passage in facts["evidence"]}

    assert files() == (3, {"README.md", "pkg/spline.py", "pkg/knot.py"})
    assert files(include=["*.md"]) == (1, {"README.md"})
    assert files(exclude=["pkg/k*"]) == (2, {"README.md", "pkg/spline.py"})
    assert files(include=["pkg/**"], exclude=["**/spline.py"]) == (1, {"pkg/knot.py"})
    assert files(include=["*.none"]) == (0, set())


def test_the_kind_says_what_comes_first(client: Client, tree: Path):
    (tree / "docs").mkdir()
    (tree / "docs/splines.md").write_text("# Splines\n\nHow splines are reticulated: by reticulate.\n")
    (tree / "tests").mkdir()
    (tree / "tests/test_spline.py").write_text("def test_reticulate():\n    reticulate('splines')\n")

    first = {
        kind: client.ask(
            "rlm_analyze", {"query": "how are splines reticulated", "paths": ["."], "kind": kind}
        )["evidence"][0]["path"]
        for kind in ("code", "docs")
    }

    assert first["code"] == "pkg/spline.py"
    assert first["docs"].endswith(".md")


def test_several_paths_have_one_root_and_nothing_beside_them(client: Client, tree: Path):
    for name in ("one", "two", "three"):
        (tree / name).mkdir()
        (tree / name / "f.py").write_text(f"def knot_{name}():\n    return 1\n")

    facts = client.ask("rlm_analyze", {"query": "knot", "paths": ["one", "three", "pkg/knot.py"]})

    assert facts["corpus"]["root"] == str(tree)
    assert {each["path"] for each in facts["evidence"]} == {"one/f.py", "three/f.py", "pkg/knot.py"}
    for passage in facts["evidence"]:
        require_exact(passage, tree)


def test_a_single_file_is_a_corpus_below_its_directory(client: Client, tree: Path):
    facts = client.ask("rlm_analyze", {"query": "knot", "paths": ["pkg/knot.py"]})

    assert facts["corpus"]["root"] == str(tree / "pkg")
    assert facts["corpus"]["files"] == 1
    require_exact(facts["evidence"][0], tree / "pkg")


def test_a_file_that_ignore_rules_exclude_is_read_when_asked_for(client: Client, tree: Path):
    (tree / ".ignore").write_text("pkg/\n")

    whole = client.ask("rlm_analyze", {"query": "knot", "paths": ["."]})
    asked_for = client.ask("rlm_analyze", {"query": "knot", "paths": ["pkg"]})

    assert whole["skipped"]["by_reason"] == {"ignored": 1}
    assert asked_for["evidence"][0]["path"] == "knot.py"
    assert asked_for["corpus"]["files"] == 2


def many(root: Path) -> Path:
    """Make a tree that takes more than a moment to collect."""
    root.mkdir()
    words = " ".join(f"word{n}" for n in range(3_000))
    for number in range(200):
        (root / f"f{number}.txt").write_text(f"{number} {words}\n" * 2)
    return root


def test_work_that_is_not_waited_for_goes_on_and_is_had_by_asking_again(daemon: Daemon, tmp_path: Path):
    ask = {"query": "word7", "paths": ["."], "kind": "any"}
    with daemon.connect(many(tmp_path / "many")) as client:
        began = time.perf_counter()
        running = client.ask("rlm_analyze", ask | {"wait_s": 0})
        took_s = time.perf_counter() - began
        again = client.ask("rlm_analyze", ask | {"wait_s": 0.01})
        done = client.ask("rlm_analyze", ask | {"wait_s": 50})

    assert took_s < 0.5
    assert running["state"] == again["state"] == "running"
    assert running["job_id"] == again["job_id"] == done["job_id"]
    assert mistakes_of("rlm_analyze", running) == mistakes_of("rlm_analyze", done) == []
    assert (done["state"], done["corpus"]["files"]) == ("done", 200)


@pytest.mark.slow
def test_a_detached_question_goes_on_though_its_client_leaves(daemon: Daemon, tmp_path: Path):
    root = many(tmp_path / "many")
    ask = {"query": "word8", "paths": ["."], "kind": "any"}
    with daemon.connect(root) as client:
        running = client.ask("rlm_analyze", ask | {"detach": True})
    with daemon.connect(root) as other:
        done = other.ask("rlm_analyze", ask | {"wait_s": 50})

    assert running["state"] == "running"
    assert (done["state"], done["job_id"]) == ("done", running["job_id"])


def test_a_budget_of_seconds_ends_in_a_partial_answer(daemon: Daemon, tmp_path: Path):
    words = "\n".join(f"word{n % 9_999}" for n in range(200_000))
    for number in range(12):
        (tmp_path / f"f{number}.txt").write_text(f"{number} {words}\n")
    with daemon.connect(tmp_path) as client:
        client.ask("rlm_exec", {"code": "len(files)", "paths": ["."]})  # collected by now, not yet indexed
        began = time.perf_counter()
        facts = client.ask(
            "rlm_analyze", {"query": "word7", "paths": ["."], "kind": "any", "budget": {"seconds": 0.2}}
        )
        took_s = time.perf_counter() - began

    print(f"\nbudget of 0.2 s: answered after {took_s:.2f} s, partial={facts['partial']}")
    assert (facts["state"], facts["partial"], facts["limit"]) == ("done", True, "seconds")


@pytest.mark.parametrize("mode", ["direct", "rlm"])
def test_without_a_model_its_modes_say_how_to_get_one(client: Client, mode: str):
    error = client.fail("rlm_analyze", {"query": "q", "paths": ["."], "mode": mode})

    assert error["code"] == "no_llm"
    assert "llm.base_url" in error["hint"]
    assert "evidence" in error["hint"]


def test_auto_says_why_it_is_evidence(client: Client):
    result = client.call("rlm_analyze", {"query": "splines", "paths": ["."]})

    note = result["_meta"]["rlmd/result"]["note"]
    assert "no model" in note.lower() or "without a model" in note.lower()
    assert "\n" not in note
    assert note in result["content"][0]["text"]


def test_a_text_is_asked_as_a_tree_is(client: Client):
    text = "".join(f"line {n}: nothing\n" for n in range(5_000)) + "line 5000: the pump caught fire\n"

    facts = client.ask("rlm_query_text", {"query": "did the pump catch fire?", "text": text})

    best = facts["evidence"][0]
    assert mistakes_of("rlm_query_text", facts) == []
    assert "pump caught fire" in best["quote"]
    assert best["path"] == "text"
    assert best["sha256"] == hashlib.sha256(text.encode()).hexdigest()
    assert text.splitlines()[best["start_line"] - 1 : best["end_line"]] == best["quote"].splitlines()


@pytest.mark.parametrize("megabytes", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_a_log_is_asked_by_its_path_however_big(client: Client, tree: Path, megabytes: int):
    log = tree / "big.log"
    line = "2026-01-01T00:00:{:02} worker-{} handled request {} in {} ms without trouble\n"
    lines = megabytes * 13_300
    with log.open("w") as out:
        for number in range(lines):
            out.write(line.format(number % 60, number % 9, number, number % 777))
            if number == lines * 3 // 4:
                out.write("2026-01-01T00:00:00 worker-3 deadlock detected on table invoices\n")
    assert log.stat().st_size > megabytes * 1_000_000

    began = time.perf_counter()
    given = {"query": "deadlock on invoices", "path": "big.log", "wait_s": 50}
    facts = answer(client, given, "rlm_query_text")
    took_s = time.perf_counter() - began

    print(f"\nlog of {megabytes} MB: {took_s:.1f} s")
    assert "deadlock detected on table invoices" in facts["evidence"][0]["quote"]
    assert facts["evidence"][0]["path"] == "big.log"
    require_exact(facts["evidence"][0], tree)


def test_an_empty_tree_and_an_empty_text_find_nothing_and_say_so(client: Client, tree: Path):
    (tree / "void").mkdir()
    (tree / "empty.log").touch()

    for tool, given in [
        ("rlm_analyze", {"query": "q", "paths": ["void"]}),
        ("rlm_query_text", {"query": "q", "path": "empty.log"}),
    ]:
        result = client.call(tool, given)
        assert not result.get("isError"), result
        assert result["_meta"]["rlmd/result"]["evidence"] == []
        assert "Nothing found" in result["content"][0]["text"]


@pytest.mark.parametrize(
    "query", ["?", "()", "\u0000", "the of and", "é" * 3_000, "a" * 100_000, "AND OR NOT ^2"]
)
def test_no_query_breaks_the_search(client: Client, query: str):
    assert client.ask("rlm_analyze", {"query": query, "paths": ["."]})["state"] == "done"


def test_many_ask_at_once_and_share_the_work(daemon: Daemon, tmp_path: Path):
    root = many(tmp_path / "many")
    clients = [daemon.connect(root) for _ in range(12)]
    for number, client in enumerate(clients):
        client.send(
            call("rlm_analyze", {"query": f"word{number % 3}", "paths": ["."], "kind": "any", "wait_s": 50})
        )
    answers = [client.answer_to(1)["result"]["_meta"]["rlmd/result"] for client in clients]
    for client in clients:
        client.socket.close()

    assert {each["state"] for each in answers} == {"done"}
    assert len({each["corpus"]["snapshot"] for each in answers}) == 1
    with daemon.connect() as watch:
        until(lambda: not watch.ask("rlm_status")["jobs"]["running"], "no job is left")
