"""Questions that are answered by code, and what can be asked of them afterwards."""

import json
from pathlib import Path

import pytest

from daemon_world import new_places, running_daemon

CELLS = [
    "kinds = llm_query_batched(['JUDGE ' + text for text in files.values()])\nprint(kinds)",
    "submit({'apples': len(kinds)}, ['note 2 is about apples', 'nobody wrote this down'])",
]


@pytest.fixture(scope="module")
def world():
    with new_places() as places:
        tree = places.top / "tree"
        tree.mkdir()
        for number in range(1, 4):
            (tree / f"n{number}.txt").write_text(f"note {number} is about apples\n")
        steps = [{"reply": "apple", "when": "JUDGE", "tokens_in": 5, "tokens_out": 1}]
        steps += [{"reply": f"```repl\n{cell}\n```", "tokens_in": 50, "tokens_out": 9} for cell in CELLS]
        script = places.top / "script.jsonl"
        script.write_text("\n".join(map(json.dumps, steps)))
        with running_daemon(places, f"-ollm.script={script}") as daemon:
            yield daemon, tree


@pytest.fixture(scope="module")
def answered(world: tuple[object, Path]):
    daemon, tree = world
    schema = {"type": "object", "properties": {"apples": {"type": "integer"}}}
    with daemon.connect() as client:
        given = {"query": "How many are about apples?", "paths": [str(tree)], "mode": "rlm"}
        return client.ask("rlm_analyze", {**given, "schema": schema, "budget": {"calls": 9}})


def test_code_answers_with_citations_that_hold(answered):
    assert (answered["state"], answered["mode"], answered["answer"]) == ("done", "rlm", {"apples": 3})
    (citation,) = answered["citations"]
    assert (citation["path"], citation["start_line"], citation["verified"]) == ("n2.txt", 1, True)
    assert "nobody wrote this down" in answered["note"]
    assert answered["coverage"]["files_read"] == 3
    assert (answered["usage"]["calls"], answered["partial"]) == (5, False)


def test_a_job_is_listed_and_its_answer_had_again(world, answered):
    daemon, _ = world
    with daemon.connect() as client:
        listed = client.ask("rlm_job", {"action": "list"})["jobs"]
        again = client.ask("rlm_job", {"action": "result", "job_id": answered["job_id"]})

    mine = [job for job in listed if job["job_id"] == answered["job_id"]]
    assert [(job["state"], job["calls"], job["turn"]) for job in mine] == [("done", 5, 2)]
    assert again["answer"] == {"apples": 3}
    assert again["next_cursor"] is None


def test_people_see_what_a_job_did(world, answered):
    daemon, _ = world
    job = answered["job_id"]

    listed, shown = daemon.places.run("jobs"), daemon.places.run("jobs", "show", job)
    lines, unknown = (
        daemon.places.run("jobs", "show", job, "--json"),
        daemon.places.run("jobs", "wait", "j-0"),
    )

    assert job in listed.out
    assert "sub-call 'JUDGE note 2 is about apples\\n' → 'apple'" in shown.out
    assert len([json.loads(line) for line in lines.out.splitlines()]) == 7
    assert (unknown.code, listed.code, shown.code) == (1, 0, 0)


def test_an_unknown_job_is_not_found(world):
    daemon, _ = world
    with daemon.connect() as client:
        assert client.fail("rlm_job", {"action": "cancel", "job_id": "j-0"})["code"] == "not_found"
        assert client.fail("rlm_job", {"action": "wait"})["code"] == "bad_argument"


def test_every_answer_says_what_it_cost_and_links_to_how_it_came_about(world):
    daemon, tree = world
    given = {"query": "what is note 2 about", "paths": [str(tree)], "mode": "evidence"}
    with daemon.connect() as client:
        result = client.call("rlm_analyze", given)
        facts = result["_meta"]["rlmd/result"]
    shown = daemon.places.run("jobs", "show", facts["job_id"])
    asked = daemon.places.run("ask", given["query"], str(tree), "--mode", "evidence")

    assert facts["trajectory"] == f"rlmd://jobs/{facts['job_id']}"
    assert "Cost: no model call, " in result["content"][0]["text"]
    assert f"How it came about: {facts['trajectory']}." in result["content"][0]["text"]
    assert (shown.code, "It asked no model." in shown.out) == (0, True)
    assert "cost: no model call" in asked.out
    assert "rlmd jobs show j-" in asked.out
