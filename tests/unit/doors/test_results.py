"""What a result holds: its text within a length, its facts whole, its pages in order."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio

from door_world import MODERN_META, CannedServices, call, call_once, open_door, text_of
from rlmd.doors import arguments
from rlmd.doors.schemas import schema_of

pytestmark = pytest.mark.real_io


@pytest.mark.parametrize("max_chars", [100, 400, 1_000, 3_000, 9_000, 100_000])
@pytest.mark.parametrize("lines", [1, 40, 3_000])
@pytest.mark.parametrize("tool", ["rlm_analyze", "rlm_grep", "rlm_glob"])
async def test_no_text_is_longer_than_asked_for(home: Any, tool: str, lines: int, max_chars: int):
    given: dict[str, Any] = {"query": "q", "paths": ["."]} if tool == "rlm_analyze" else {"pattern": "x"}

    result = await call_once(home, CannedServices(lines=lines), tool, given | {"max_chars": max_chars})

    assert len(text_of(result)) <= max_chars


async def test_evidence_is_whole_in_the_facts_whatever_the_text_holds(home: Any):
    given = {"query": "q", "paths": ["."], "max_chars": 500}

    result = await call_once(home, CannedServices(lines=40), "rlm_analyze", given)

    facts = result["_meta"]["rlmd/result"]
    assert len(facts["evidence"]) == 20
    assert all(len(passage["quote"].splitlines()) == 40 for passage in facts["evidence"])
    assert "max_chars" in text_of(result)


async def test_passages_read_as_path_and_lines_with_what_they_were_found_in(home: Any):
    result = await call_once(home, CannedServices(), "rlm_analyze", {"query": "q", "paths": ["."]})

    text = text_of(result)
    assert "src/file0.py:10-12\n> line 10\n> line 11\n> line 12" in text
    assert text.index("src/file0.py") < text.index("src/file1.py")
    assert "Corpus /tree: 30 of 30 files read, 700 tokens" in text


@pytest.mark.parametrize("tool", ["rlm_grep", "rlm_glob"])
async def test_a_page_cut_to_fit_continues_where_its_text_ends(home: Any, tool: str):
    services = CannedServices(lines=300)

    result = await call_once(home, services, tool, {"pattern": "x", "max_chars": 2_000})

    shown = services.asked[-1][1].limit
    assert 0 < shown < 300
    assert text_of(result).endswith(f"cursor=after-{shown}")


@pytest.mark.parametrize("items", [1, 10, 200])
@pytest.mark.parametrize("length", [10, 2_000, 50_000])
async def test_structured_results_are_their_text_and_keep_the_cap(home: Any, items: int, length: int):
    services = CannedServices(items=items, value="v" * length)

    result = await call_once(home, services, "rlm_memory_recall", {"query": "q", "limit": 200})

    assert json.loads(text_of(result)) == result["structuredContent"]
    assert len(text_of(result)) <= 9_000
    shown = len(result["structuredContent"]["items"])
    assert result["structuredContent"]["next_cursor"] == (f"after-{shown}" if shown < items else None)


async def test_a_value_asked_for_at_length_comes_whole(home: Any):
    services = CannedServices(value="v" * 30_000)

    result = await call_once(home, services, "rlm_memory_recall", {"key": "k", "value_chars": 30_000})

    assert result["structuredContent"]["items"][0]["value"] == "v" * 30_000


async def test_both_names_of_the_tags_to_recall_are_understood(home: Any):
    services = CannedServices()

    await call_once(home, services, "rlm_memory_recall", {"tags": ["a"], "search_tags": ["b", "a"]})

    assert services.asked[0][1].tags == ("a", "b")


def test_what_may_be_spent_is_listed_whole():
    assert arguments_of(arguments.Analyze) >= {"schema", "usd", "tokens", "calls", "seconds", "depth"}


async def test_the_budget_and_the_form_of_the_answer_reach_the_question(home: Any):
    services = CannedServices()
    budget = {"usd": 0.5, "tokens": 9_000, "calls": 7, "seconds": 4, "depth": 1}
    given = {"query": "q", "paths": ["."], "budget": budget, "schema": {"type": "integer"}}
    with trio.fail_after(10):
        async with open_door(home.socket, services) as world:
            client = await world.connect()
            await client.send(call("rlm_analyze", given, request_id=2))
            await client.receive()

    question = services.asked[0][1]
    assert (question.budget_usd, question.budget_tokens, question.budget_calls) == (0.5, 9_000, 7)
    assert (question.budget_s, question.budget_depth, question.schema) == (4, 1, '{"type":"integer"}')


async def test_a_job_that_is_too_long_for_the_text_keeps_its_answer_and_loses_passages(home: Any):
    services = CannedServices(value="v" * 900, items=60)
    with trio.fail_after(10):
        async with open_door(home.socket, services) as world:
            client = await world.connect()
            await client.send(
                call("rlm_job", {"action": "wait", "job_id": "j-1", "max_chars": 3_000}, request_id=2)
            )
            reply = await client.receive()

    assert reply is not None
    result = reply["result"]
    assert len(result["content"][0]["text"]) <= 3_000
    assert json.loads(result["content"][0]["text"]) == result["structuredContent"]
    assert result["structuredContent"]["answer"] == "v" * 900
    assert len(result["_meta"]["rlmd/result"]["evidence"]) == 60
    assert services.asked[0][1].page_chars == 1_500


def arguments_of(model: Any) -> set[str]:
    schema = schema_of(model)["properties"]
    return set(schema) | set(schema.get("budget", {}).get("properties", {}))


async def test_what_a_job_did_can_be_read_by_its_address(home: Any):
    with trio.fail_after(10):
        async with open_door(home.socket, CannedServices()) as world:
            client = await world.connect()
            answers = []
            for number, uri in enumerate(
                ["rlmd://jobs/j-1", "rlmd://jobs/j-1.jsonl", "rlmd://jobs/x", "a:b"]
            ):
                await client.send(
                    {"jsonrpc": "2.0", "id": number, "method": "resources/read"}
                    | {"params": {"uri": uri, "_meta": MODERN_META}}
                )
                answers.append(await client.receive())

    assert [each["result"]["contents"][0]["text"] for each in answers[:2]] == ["run 0\n", "{}\n"]
    assert [each["error"]["code"] for each in answers[2:]] == [-32602, -32602]
