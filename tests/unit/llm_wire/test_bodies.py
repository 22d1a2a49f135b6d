"""A reply counts when it is whole; whatever else came under a 200 is the error that it is."""

import json

import pytest

from fake_provider import chat_of, reply_body
from rlmd.llm.bodies import ServedModel, lost_tokens, read_models, read_reply, read_window, request_body
from rlmd.llm.providers import BY_NAME, OTHER
from rlmd.llm.values import Chat, Message, UpstreamError, Usage

NOW = 1_800_000_000.0


def read(payload, chat=None):
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return read_reply(body, chat or chat_of(), {}, now=NOW)


def events(*payloads):
    lines = [payload if isinstance(payload, str) else f"data: {json.dumps(payload)}" for payload in payloads]
    return "\n\n".join([*lines, ""]).encode()


def piece(text, reason=None):
    return {"model": "m", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": reason}]}


def test_a_whole_reply_is_read_with_what_it_cost():
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 2,
        "prompt_tokens_details": {"cached_tokens": 8},
        "cost": 0.25,
    }

    reply = read(reply_body("hi", model="served", usage=usage))

    assert (reply.text, reply.finish_reason, reply.model) == ("hi", "stop", "served")
    assert reply.usage == Usage(10, 2, 8, 0.25)


def test_a_reply_without_usage_has_unknown_cost():
    assert read(reply_body(usage=None)).usage == Usage(0, 0, 0, None)


def test_a_reply_in_parts_is_one_text():
    parts = [
        {"type": "text", "text": "a"},
        {"type": "thinking", "thinking": []},
        {"type": "text", "text": "b"},
    ]

    assert read(reply_body(parts)).text == "ab"


HIDDEN = [
    ({"error": {"code": 502, "message": "Provider returned error"}}, "server", 502),
    ({"error": {"code": 429, "message": "Rate limit exceeded"}}, "rate_limited", 429),
    ({"error": {"code": "429", "message": "slow down"}}, "rate_limited", 429),
    ({"error": {"code": 402, "message": "no credit"}}, "quota", 402),
    (
        {"error": "tokens to keep from the initial prompt is greater than the context length"},
        "overflow",
        None,
    ),
    ([{"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}], "server", 503),
    ({"error": {"message": "Overloaded", "type": "overloaded_error"}}, "server", 529),
    (
        reply_body("", choices=[{"error": {"code": 502, "message": "died"}, "finish_reason": "error"}]),
        "server",
        502,
    ),
    (reply_body("half", reason="error"), "server", None),
    (reply_body("", choices=[]), "empty", None),
    (reply_body(None), "empty", None),
    (reply_body(" \n"), "empty", None),
    (reply_body("cut", reason="length"), "truncated", None),
    (reply_body("", reason="content_filter"), "filtered", None),
    (reply_body("", reason="SAFETY"), "filtered", None),
    ({"choices": [{"message": {"refusal": "I cannot"}, "finish_reason": "stop"}]}, "filtered", None),
    ({"choices": "none"}, "malformed", None),
    ({"hello": "world"}, "malformed", None),
    (b"", "malformed", None),
    (b"<html>sign in</html>", "malformed", None),
    (b'{"choices": [{"message": {"content": "ha', "malformed", None),
    (b"[]", "malformed", None),
    (b"null", "malformed", None),
]


@pytest.mark.parametrize(("payload", "kind", "status"), HIDDEN)
def test_an_error_under_a_200_is_no_answer(payload, kind, status):
    with pytest.raises(UpstreamError) as caught:
        read(payload)

    assert (caught.value.kind, caught.value.status) == (kind, status)


def test_a_useless_reply_tells_what_it_was_counted_for():
    with pytest.raises(UpstreamError) as caught:
        read(reply_body("cut", reason="length"))

    assert caught.value.usage == Usage(10, 1, 0, None)


def test_events_become_one_reply():
    usage = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2, "cost": 0.1}}
    body = events(": keep-alive", piece("hel"), piece("lo"), piece(None, "stop"), usage, "data: [DONE]")

    reply = read(body)

    assert (reply.text, reply.finish_reason, reply.usage) == ("hello", "stop", Usage(3, 2, 0, 0.1))


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (events(piece("hel"), {"error": {"code": 502, "message": "died"}, "choices": []}), "server"),
        (
            events(piece("hel"), 'event: error\ndata: {"message": "context length of only 4096 tokens"}'),
            "overflow",
        ),
        (events(piece("hel"), "event: error\ndata: gone wrong"), "malformed"),
        (events(piece("hel"), piece("lo")), "connect"),
        (events(piece("hel"), "data: {trunc"), "malformed"),
        (events(piece("hel"), piece("", "length"), "data: [DONE]"), "truncated"),
        (events("data: [DONE]"), "empty"),
    ],
)
def test_a_stream_that_does_not_end_well_is_no_answer(body, kind):
    with pytest.raises(UpstreamError) as caught:
        read(body)

    assert caught.value.kind == kind


def test_a_prompt_that_the_server_cut_in_silence_is_an_overflow():
    chat = chat_of("def f(x): return x\n" * 3_000)

    with pytest.raises(UpstreamError) as caught:
        read(reply_body(usage={"prompt_tokens": 4_096, "completion_tokens": 5}), chat)

    assert (caught.value.kind, caught.value.window_tokens) == ("overflow", 4_096)
    assert "4,096" in caught.value.message


@pytest.mark.parametrize(
    ("text", "tokens_in"),
    [
        ("word " * 20_000, 20_002),  # all of it
        ("word " * 20_000, 0),  # a server that does not count
        ("word " * 1_500, 700),  # half is lost, but not a thousand
        (" " * 400_000 + "end", 5_000),  # white space is nearly free
    ],
)
def test_a_prompt_that_may_have_been_read_whole_is_believed(text, tokens_in):
    assert lost_tokens(chat_of(text), Usage(tokens_in=tokens_in)) == 0


def test_a_request_says_what_was_asked_for_and_nothing_else():
    chat = chat_of(max_tokens=5, temperature=0.0, seed=7, stop=("x",), json_schema='{"type": "object"}')

    assert request_body(chat_of(), OTHER) == {
        "model": "m",
        "messages": [{"role": "user", "content": "hello"}],
    }
    assert request_body(chat, OTHER) == {
        "model": "m",
        "messages": [{"role": "user", "content": "hello"}],
        "max_tokens": 5,
        "temperature": 0.0,
        "seed": 7,
        "stop": ["x"],
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": {"type": "object"}},
        },
    }
    assert "max_completion_tokens" in request_body(chat, BY_NAME["openai"])


def test_the_end_of_the_constant_prefix_is_marked_where_the_provider_passes_it_on():
    messages = (Message("system", "rules"), Message("user", "content"), Message("user", "question"))
    chat = Chat(messages=messages, model="m", cache_prefix=2)

    marked = request_body(chat, BY_NAME["openrouter"])["messages"]

    assert [type(each["content"]) for each in marked] == [str, list, str]
    assert marked[1]["content"][0]["cache_control"] == {"type": "ephemeral"}
    assert request_body(chat, BY_NAME["anthropic"])["messages"][1]["content"] == "content"


def test_models_are_read_in_every_listing():
    assert read_models(b'{"data": [{"id": "a", "context_length": 9000}, {"id": "models/b"}]}') == (
        ServedModel("a", 9_000),
        ServedModel("b", None),
    )
    assert read_models(b'{"models": [{"name": "q:7b", "context_length": 4096}]}') == (
        ServedModel("q:7b", 4_096),
    )
    assert read_models(b"<html>") == ()
    assert read_models(b'{"data": 5}') == ()


def test_the_window_that_a_local_server_runs_with():
    assert read_window(b'{"default_generation_settings": {"n_ctx": 8192}}', "any") == 8_192
    assert (
        read_window(b'{"data": [{"id": "a", "max_context_length": 9, "loaded_context_length": 4}]}', "a") == 4
    )
    assert read_window(b'{"models": []}', "a") is None
