"""The wire against a real server on loopback that fails in every way a model server does."""

from __future__ import annotations

import json
import os
import traceback

import pytest
import trio

from fake_provider import KEY, Asked, Talk, bounded, chat_of, failure_of, open_provider, open_wire, reply_body
from rlmd.llm.providers import BY_NAME, OTHER, Endpoint
from rlmd.llm.upstream import HttpUpstream
from rlmd.llm.values import Allowance, Usage


async def fine(_: Asked, talk: Talk) -> None:
    await talk.json(reply_body())


def lines_of(wire) -> tuple[int, bool]:
    """Return how many calls hold a connection, and whether every other connection may be used again."""
    return wire.lines.busy, all(line.is_idle() for line in wire.lines.idle)


@bounded
async def test_a_call_brings_reply_usage_and_limits():
    async def handler(_: Asked, talk: Talk) -> None:
        await talk.json(reply_body(), headers={"x-ratelimit-limit-requests": "9"})

    async with open_wire(handler) as (wire, fake):
        reply, rates = await wire.complete(chat_of("hi", max_tokens=3))

    assert (reply.text, reply.usage) == ("hello", Usage(10, 1, 0, None))
    assert rates.requests == Allowance(9)
    assert fake.asked[0].path == "/v1/chat/completions"
    assert fake.asked[0].body == {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 3,
    }


@bounded
async def test_what_the_provider_does_not_charge_for_is_priced_by_the_table():
    async with open_wire(fine, provider=BY_NAME["anthropic"]) as (wire, _):
        known, _ = await wire.complete(chat_of(model="claude-haiku-4-5-20251001"))
        unknown, _ = await wire.complete(chat_of(model="claude-0"))

    assert known.usage.usd == pytest.approx(10 * 1e-6 + 1 * 5e-6)
    assert unknown.usage.usd is None


ROWS = [
    (400, b'{"error": {"message": "maximum context length is 4096 tokens"}}', "overflow"),
    (400, b'{"error": {"message": "bad"}}', "bad_request"),
    (401, b'{"error": {"message": "bad key"}}', "auth"),
    (402, b"{}", "quota"),
    (403, b"{}", "auth"),
    (408, b"", "timeout"),
    (409, b"", "server"),
    (413, b"", "overflow"),
    (422, b'{"detail": "no"}', "bad_request"),
    (429, b"{}", "rate_limited"),
    (429, b'{"error": {"code": "insufficient_quota", "message": "x"}}', "quota"),
    (500, b"<html>oops</html>", "server"),
    (502, b"", "server"),
    (503, b"", "server"),
    (504, b"", "timeout"),
    (529, b"", "server"),
    (200, b'{"error": {"code": 502, "message": "provider died"}}', "server"),
    (200, b'[{"error": {"code": 429, "message": "x"}}]', "rate_limited"),
    (200, b'{"error": "context length of only 4096 tokens"}', "overflow"),
    (200, b'data: {"error": {"code": 502, "message": "x"}}\n\n', "server"),
    (200, b'data: {"choices": [{"delta": {"content": "half"}}]}\n\n', "connect"),
    (200, b'{"choices": []}', "empty"),
    (200, json.dumps(reply_body("x", reason="length")).encode(), "truncated"),
    (200, json.dumps(reply_body("", reason="content_filter")).encode(), "filtered"),
    (200, b'{"choices": [', "malformed"),
    (200, b"", "malformed"),
    (204, b"", "malformed"),
]


@bounded
async def test_every_failure_is_one_of_ours_on_one_connection_without_a_second_try():
    rows = iter(ROWS)

    async def handler(_: Asked, talk: Talk) -> None:
        status, body, _kind = next(rows)
        await talk.json(body, status)

    async with open_wire(handler) as (wire, fake):
        kinds = [(await failure_of(wire)).kind for _ in ROWS]

    assert kinds == [kind for _, _, kind in ROWS]
    assert len(fake.asked) == len(ROWS)
    assert fake.connections <= 2  # a 204 with a body ends its connection


@bounded
async def test_nobody_there_is_a_connection_error_that_says_so():
    async with open_wire(fine) as (wire, fake):
        pass
    async with open_provider(fine) as other:
        dead = other.base_url
    upstream = HttpUpstream(Endpoint(provider=OTHER, base_url=dead, model="m"))

    error = await failure_of(upstream)
    await upstream.aclose()

    assert (error.kind, error.retryable, error.is_fault) == ("connect", True, True)
    assert dead in error.message
    assert "llm.base_url" in error.hint
    assert wire.name == fake.base_url


async def tear_at_once(_: Asked, talk: Talk) -> None:
    await talk.tear()


async def tear_in_the_head(_: Asked, talk: Talk) -> None:
    await talk.stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-")
    await talk.tear()


async def tear_in_the_body(_: Asked, talk: Talk) -> None:
    await talk.head(headers={"content-length": "1000"})
    await talk.say(b'{"choices": [{"message": {"content": "ha')
    await talk.tear()


async def tear_in_a_chunk(_: Asked, talk: Talk) -> None:
    await talk.stream.send_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nff\r\n{")
    await talk.tear()


async def die_in_the_stream(_: Asked, talk: Talk) -> None:
    await talk.head(headers={"content-type": "text/event-stream", "transfer-encoding": "chunked"})
    for word in ("one", "two"):
        await talk.say(b"data: " + json.dumps({"choices": [{"delta": {"content": word}}]}).encode() + b"\n\n")
    await talk.tear()


async def end_the_stream_early(_: Asked, talk: Talk) -> None:
    await talk.head(headers={"content-type": "text/event-stream", "transfer-encoding": "chunked"})
    await talk.say(b'data: {"choices": [{"delta": {"content": "one"}}]}\n\n')
    await talk.end()


async def speak_no_http(_: Asked, talk: Talk) -> None:
    await talk.stream.send_all(b"220 mail.example ESMTP\r\n")
    await talk.tear()


@pytest.mark.parametrize(
    "handler",
    [
        tear_at_once,
        tear_in_the_head,
        tear_in_the_body,
        tear_in_a_chunk,
        die_in_the_stream,
        end_the_stream_early,
        speak_no_http,
    ],
)
@bounded
async def test_a_torn_connection_may_be_tried_again_and_leaves_no_half_answer(handler):
    async with open_wire(handler, stream=True) as (wire, fake):
        error = await failure_of(wire)
        left = lines_of(wire)

    assert (error.kind, error.retryable, error.is_fault) == ("connect", True, True)
    assert len(fake.asked) == 1
    assert left == (0, True)


@bounded
async def test_silence_is_a_timeout():
    async def handler(*_: object) -> None:
        await trio.sleep_forever()

    async with open_wire(handler, silence_s=0.1) as (wire, fake):
        error = await failure_of(wire)

    assert (error.kind, error.is_congestion) == ("timeout", True)
    assert len(fake.asked) == 1


@bounded
async def test_a_dripping_body_ends_with_the_caller_s_deadline():
    async def handler(_: Asked, talk: Talk) -> None:
        await talk.head(headers={"content-length": "100000"})
        while True:
            await talk.say(b" ")
            await trio.sleep(0.01)

    async with open_wire(handler, silence_s=5) as (wire, fake):
        with trio.move_on_after(0.2) as scope:
            await wire.complete(chat_of())
        late = trio.current_time() - scope.deadline
        await until(lambda: fake.working == 0)

    assert scope.cancelled_caught
    assert late < 0.1


@bounded
async def test_an_endless_body_is_cut_off():
    async def handler(_: Asked, talk: Talk) -> None:
        await talk.head(headers={"transfer-encoding": "chunked"})
        while True:
            await talk.say(b"x" * 65_536)

    async with open_wire(handler, most_reply_bytes=1 << 20) as (wire, fake):
        error = await failure_of(wire)
        await until(lambda: fake.working == 0)

    assert error.kind == "malformed"
    assert "more than a reply may have" in error.message


@bounded
async def test_a_hundred_calls_cancelled_in_flight_three_times_leave_the_pool_whole():
    may_answer = trio.Event()

    async def handler(_: Asked, talk: Talk) -> None:
        await may_answer.wait()
        await talk.json(reply_body())

    async with open_wire(handler) as (wire, fake):
        for _wave in range(3):
            async with trio.open_nursery() as nursery:
                for _call in range(100):
                    nursery.start_soon(wire.complete, chat_of())
                await until(lambda: fake.working == 100)
                nursery.cancel_scope.cancel()
            assert (lines_of(wire), len(wire.lines.idle)) == ((0, True), 0)
            await until(lambda: fake.working == 0)
        may_answer.set()
        replies = []

        async def ask() -> None:
            replies.append((await wire.complete(chat_of()))[0].text)

        async with trio.open_nursery() as nursery:
            for _call in range(100):
                nursery.start_soon(ask)
        left = lines_of(wire), len(wire.lines.idle)

    assert replies == ["hello"] * 100
    assert len(fake.hung_up_at) == 300
    assert left == ((0, True), 100)


@bounded
async def test_the_server_sees_a_cancelled_call_close_within_a_tenth_of_a_second():
    async def handler(*_: object) -> None:
        await trio.sleep_forever()

    delays = []
    async with open_wire(handler) as (wire, fake):
        for _call in range(100):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(wire.complete, chat_of())
                await until(lambda: fake.working == 1)
                cancelled_at = trio.current_time()
                nursery.cancel_scope.cancel()
            await until(lambda: fake.working == 0)
            delays.append(fake.hung_up_at[-1] - cancelled_at)

    p99 = sorted(delays)[98]
    assert len(fake.hung_up_at) == 100
    assert p99 < 0.1, f"p99 {p99 * 1000:.1f} ms"


@bounded
async def test_a_model_that_is_not_there_brings_the_list_of_those_that_are():
    async def handler(asked: Asked, talk: Talk) -> None:
        if asked.path == "/v1/models":
            await talk.json({"data": [{"id": name} for name in ("zeta", "gpt-6-luna", "gpt-6-sol")]})
        else:
            await talk.json({"error": {"message": "no such model", "code": "model_not_found"}}, 404)

    async with open_wire(handler) as (wire, _):
        error = await failure_of(wire, chat_of(model="gpt-6-lunar"))

    assert error.kind == "not_found"
    assert error.hint == "Set llm.model to one that it has: gpt-6-luna, gpt-6-sol, zeta."


@bounded
async def test_a_redirect_takes_no_prompt_elsewhere():
    async with open_provider(fine) as elsewhere:

        async def handler(_: Asked, talk: Talk) -> None:
            await talk.json({}, 307, {"location": f"{elsewhere.base_url}/chat/completions"})

        async with open_wire(handler) as (wire, _):
            error = await failure_of(wire)

    assert elsewhere.asked == []
    assert elsewhere.base_url in error.message
    assert "llm.base_url" in error.hint


@bounded
async def test_only_headers_meant_for_the_endpoint_are_sent(monkeypatch):
    for name in ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_ADMIN_KEY"):
        monkeypatch.setenv(name, f"secret-{name}")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "Authorization: Bearer secret\nX-Mine: secret")

    async with open_wire(fine) as (wire, fake):
        await wire.complete(chat_of())

    headers = fake.asked[0].headers
    assert headers["authorization"] == f"Bearer {KEY}"
    assert headers["user-agent"].startswith("rlmd/")
    assert "secret" not in str(headers)
    assert not [name for name in headers if name.startswith(("x-", "openai"))]


@bounded
async def test_without_a_key_none_is_sent():
    async with open_provider(fine) as fake:
        upstream = HttpUpstream(Endpoint(provider=OTHER, base_url=fake.base_url, model="m"))
        await upstream.complete(chat_of())
        await upstream.aclose()

    assert "authorization" not in fake.asked[0].headers


@pytest.mark.parametrize("status", [200, 401, 500])
@bounded
async def test_a_key_that_the_server_repeats_is_in_no_error_and_no_traceback(status, events):
    async def handler(_: Asked, talk: Talk) -> None:
        await talk.json({"error": {"message": f"Incorrect API key provided: {KEY}"}}, status)

    async with open_wire(handler) as (wire, _):
        error = await failure_of(wire)

    assert "Incorrect API key provided: ***" in error.message
    assert KEY not in "".join(traceback.format_exception(error))
    assert KEY not in f"{error!r} {error.hint} {wire.name} {wire._endpoint!r} {events}"


@bounded
async def test_a_lost_connection_shows_no_key_in_its_traceback():
    async with open_wire(tear_at_once) as (wire, _):
        error = await failure_of(wire)

    assert KEY not in "".join(traceback.format_exception(error))


@bounded
async def test_the_key_is_not_in_our_arguments_or_environment():
    async with open_wire(fine) as (wire, _):
        await wire.complete(chat_of())
        arguments = await trio.Path(f"/proc/{os.getpid()}/cmdline").read_bytes()

    assert KEY.encode() not in arguments
    assert KEY not in os.environ.values()


async def until(reached) -> None:
    """Let the loop turn until *reached*; `bounded` ends what never comes."""
    while not reached():  # noqa: ASYNC110  # a state of sockets has no event
        await trio.sleep(0.001)
