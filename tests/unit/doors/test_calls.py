"""Tool calls over a real socket: failures, progress, cancellation."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
import trio

from door_world import CannedServices, RawClient, call, call_once, open_door, text_of
from rlmd.doors import progress
from rlmd.doors.progress import Course
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
