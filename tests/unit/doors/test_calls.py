"""Tool calls over a real socket: failures, progress, cancellation, lengths."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
import trio

from door_world import MODERN_META, CannedServices, RawClient, call, open_door
from rlmd.doors import arguments, progress
from rlmd.doors.progress import Course
from rlmd.doors.schemas import schema_of
from rlmd.errors import NotFound, RequestError, VersionConflict
from rlmd.supervision import ActorCrashed, ActorStopped
from rlmd.values import Progress

pytestmark = pytest.mark.real_io


def raising(exc: Exception) -> Any:
    async def fail(_: Any) -> None:
        raise exc

    return fail


class Sleeper:
    """A fate that lasts until it is cancelled, and knows when that was."""

    def __init__(self) -> None:
        self.begun = trio.Event()
        self.cancelled = trio.Event()

    async def __call__(self, _: Any) -> None:
        self.begun.set()
        try:
            await trio.sleep_forever()
        finally:
            self.cancelled.set()


async def call_once(
    home: Any, services: Any, name: str, given: dict[str, Any], **limits: Any
) -> dict[str, Any]:
    with trio.fail_after(10):
        async with open_door(home.socket, services, **limits) as world:
            client = await world.connect()
            answer = await client.call(name, given)
    return answer["result"]


def text_of(result: dict[str, Any]) -> str:
    (block,) = result["content"]
    return str(block["text"])


async def test_what_a_caller_can_act_on_is_a_result_with_code_and_hint(home: Any):
    services = CannedServices(raising(NotFound("no such path: src/foo", "Nearest: src/foo.py")))

    result = await call_once(home, services, "rlm_read", {"path": "src/foo"})

    assert result["isError"] is True
    assert text_of(result) == "not_found: no such path: src/foo. Nearest: src/foo.py."
    assert result["_meta"]["rlmd/error"] == {
        "code": "not_found",
        "message": "no such path: src/foo",
        "retryable": False,
        "hint": "Nearest: src/foo.py",
    }


@pytest.mark.parametrize("tool", ["rlm_memory_store", "rlm_memory_recall"])
async def test_a_structured_tool_fails_without_structured_content(home: Any, tool: str):
    services = CannedServices(raising(VersionConflict("version 3 stands")))
    given = {"key": "k", "value": "v"} if tool == "rlm_memory_store" else {"key": "k"}

    result = await call_once(home, services, tool, given)

    assert result["_meta"]["rlmd/error"]["code"] == "version_conflict"
    assert "structuredContent" not in result


@pytest.mark.parametrize(
    ("exc", "code", "retryable"),
    [
        (ValueError("secret detail"), "internal", False),
        (ActorCrashed("walker", ValueError("secret detail")), "internal", True),
        (ActorStopped("walker"), "busy", True),
        (RequestError("odd"), "internal", False),
    ],
)
async def test_other_failures_have_an_id_and_leak_nothing(
    home: Any,
    events: list[Any],
    exc: Exception,
    code: str,
    retryable: bool,  # noqa: FBT001  # a table of cases
):
    result = await call_once(home, CannedServices(raising(exc)), "rlm_read", {"path": "a"})

    error = result["_meta"]["rlmd/error"]
    assert (error["code"], error["retryable"]) == (code, retryable)
    assert "secret detail" not in json.dumps(result)
    if code == "internal" and not isinstance(exc, RequestError):
        (logged,) = [event for event in events if event["event"] == "request.crashed"]
        assert logged["error_id"] in text_of(result)


async def test_a_crash_in_the_handshake_era_leaks_nothing_either(home: Any):
    with trio.fail_after(10):
        async with open_door(home.socket, CannedServices(raising(ValueError("secret detail")))) as world:
            client = await world.connect()
            await shake(client)

            await client.send(old_call("rlm_read", {"path": "a"}))
            answer = await client.receive()

    assert answer is not None
    assert answer["result"]["isError"] is True
    assert "secret detail" not in json.dumps(answer)


async def shake(client: RawClient) -> None:
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    await client.send({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello})
    assert await client.receive() is not None
    await client.send({"jsonrpc": "2.0", "method": "notifications/initialized"})


def old_call(name: str, given: dict[str, Any], **meta: Any) -> dict[str, Any]:
    params = {"name": name, "arguments": given, "_meta": meta}
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}


@pytest.mark.parametrize(
    ("tool", "given", "told"),
    [
        ("rlm_grep", {"patern": "x"}, "unknown argument patern; did you mean pattern?"),
        ("rlm_grep", {"pattern": 5}, "pattern must be a valid string, not 5"),
        ("rlm_grep", {"pattern": "x", "limit": "ten"}, "limit must be a valid integer, not 'ten'"),
        ("rlm_analyze", {"query": "q"}, "paths is required"),
        ("rlm_analyze", {"query": "q", "paths": "src"}, "paths must be a valid list, not 'src'"),
        ("rlm_analyze", {"query": "q", "paths": ["."], "mode": "fast"}, "mode must be 'auto'"),
        ("rlm_analyze", {"query": "q", "paths": ["."], "budget": {"second": 1}}, "did you mean seconds?"),
        (
            "rlm_analyze",
            {"query": "q", "paths": ["."], "wait_s": 51},
            "wait_s must be less than or equal to 50",
        ),
        ("rlm_query_text", {"query": "q"}, "give either text or path"),
        ("rlm_query_text", {"query": "q", "text": "a", "path": "b"}, "give either text or path"),
        ("rlm_memory_store", {"key": "k", "value": 1}, "value must be a valid string"),
        ("rlm_read", {"path": "a", "max_chars": 100_001}, "max_chars must be less than or equal to 100000"),
    ],
)
async def test_a_bad_argument_is_named(home: Any, tool: str, given: dict[str, Any], told: str):
    services = CannedServices()

    result = await call_once(home, services, tool, given)

    assert result["_meta"]["rlmd/error"]["code"] == "bad_argument"
    assert told in text_of(result)
    assert services.asked == []


async def test_null_and_whole_floats_are_taken_as_they_are_meant(home: Any):
    services = CannedServices()

    await call_once(home, services, "rlm_read", {"path": "a", "offset": 2.0, "limit": None})

    assert (services.asked[0][1].offset, services.asked[0][1].limit) == (2, None)


async def test_limits_on_the_model_are_understood_while_none_is_asked(home: Any):
    services = CannedServices()
    budget = {"usd": 1, "calls": 3, "tokens": 100, "seconds": 4.5}

    await call_once(home, services, "rlm_analyze", {"query": "q", "paths": ["."], "budget": budget})

    assert services.asked[0][1].budget_s == 4.5
    assert services.asked[0][1].wait_s == 25.0


async def test_cancelling_a_call_stops_its_work_at_once_and_answers_nothing(home: Any):
    fate = Sleeper()
    with trio.fail_after(10):
        async with open_door(home.socket, CannedServices(fate)) as world:
            client = await world.connect()
            await client.send(call("rlm_grep", {"pattern": "x"}, request_id=5))
            await fate.begun.wait()

            cancelled_at = trio.current_time()
            await client.send(
                {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 5}}
            )
            await fate.cancelled.wait()
            took_s = trio.current_time() - cancelled_at
            await client.send(call("rlm_status", request_id=6))
            answer = await client.receive()

    assert took_s < 0.1
    assert answer is not None
    assert answer["id"] == 6


async def test_closing_the_connection_stops_its_work_at_once(home: Any):
    fate = Sleeper()
    with trio.fail_after(10):
        async with open_door(home.socket, CannedServices(fate)) as world:
            client = await world.connect()
            await client.send(call("rlm_grep", {"pattern": "x"}))
            await fate.begun.wait()

            closed_at = trio.current_time()
            await client.stream.aclose()
            await fate.cancelled.wait()

    assert trio.current_time() - closed_at < 0.1


async def test_closing_after_half_closing_stops_the_work_too(home: Any):
    fate = Sleeper()
    with trio.fail_after(10):
        async with open_door(home.socket, CannedServices(fate)) as world:
            client = await world.connect()
            await client.send(call("rlm_grep", {"pattern": "x"}))
            await fate.begun.wait()
            await client.stream.send_eof()
            await trio.sleep(0.1)  # several looks at the connection
            half_closed = fate.cancelled.is_set()

            closed_at = trio.current_time()
            await client.stream.aclose()
            await fate.cancelled.wait()

    assert not half_closed
    assert trio.current_time() - closed_at < 0.1


@pytest.mark.parametrize("era", ["handshake", "stateless"])
async def test_progress_reaches_whoever_asked_for_it_and_only_grows(home: Any, era: str):
    async def work(report: Any) -> None:
        for done in (10, 500, 1_000):
            report(Progress("walk", done))
            await trio.sleep(0.25)
        report(Progress("read", 1, 2))
        await trio.sleep(0.25)

    given = {"query": "q", "paths": ["."]}
    with trio.fail_after(10):
        async with open_door(home.socket, CannedServices(work)) as world:
            client = await world.connect()
            if era == "handshake":
                await shake(client)
                await client.send(old_call("rlm_analyze", given, progressToken="p"))
            else:
                await client.send(call("rlm_analyze", given, progressToken="p"))
            frames = []
            while (frame := await client.receive()) is not None and "id" not in frame:
                frames.append(frame["params"])

    values = [frame["progress"] for frame in frames]
    assert len(frames) >= 3
    assert values == sorted(set(values))
    assert {frame["progressToken"] for frame in frames} == {"p"}
    assert frames[0]["message"] == "walk: 10 files"


async def test_a_call_that_reports_nothing_still_shows_that_it_lives(autojump_clock: Any):
    told: list[tuple[float, float]] = []

    async def notify(value: float, _total: float | None, _message: str | None) -> None:
        told.append((trio.current_time(), value))

    async with progress.notifying(notify):
        await trio.sleep(30)

    times = [0.0, *(time for time, _ in told)]
    assert max(later - earlier for earlier, later in pairwise(times)) <= 10
    assert [value for _, value in told] == sorted({value for _, value in told})


def test_overlapping_stages_never_turn_progress_back():
    course = Course()
    values = []
    for step in (Progress("walk", 100), Progress("read", 5, 10), Progress("walk", 200), Progress("count", 1)):
        course.report(step)
        values.append(course.next_value())

    assert values == sorted(set(values))


async def test_calls_beyond_the_bound_are_told_busy_and_the_others_live(home: Any):
    fate = Sleeper()
    with trio.fail_after(10):
        async with open_door(home.socket, CannedServices(fate), max_requests=2) as world:
            client = await world.connect()
            await client.send(*(call("rlm_read", {"path": "a"}, request_id=number) for number in range(3)))

            answer = await client.receive()

    assert answer is not None
    assert answer["result"]["_meta"]["rlmd/error"]["code"] == "busy"
    assert answer["result"]["_meta"]["rlmd/error"]["retryable"] is True


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
