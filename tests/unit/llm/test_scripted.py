"""The model that says what it was told to say."""

import pytest
import trio

from llm_world import chat
from rlmd.errors import BadArgument
from rlmd.llm.scripted import Scripted, Step, parse_script
from rlmd.llm.values import UpstreamError, Usage


async def said(model, text="hello"):
    reply, _ = await model.complete(chat(text))
    return reply.text


async def test_it_replays_its_steps_in_order_and_then_says_that_none_is_left(autojump_clock):
    model = Scripted(["one", "two"])

    assert [await said(model), await said(model)] == ["one", "two"]
    with pytest.raises(UpstreamError, match="2 steps, and none is left for: 'more'") as caught:
        await said(model, "more")
    assert caught.value.kind == "bad_request"


async def test_a_step_that_matches_goes_before_the_list_and_again(autojump_clock):
    model = Scripted(["listed", Step(reply="42", when="how many")])

    assert [await said(model, "how many?"), await said(model, "so how many?")] == ["42", "42"]
    assert await said(model) == "listed"


async def test_what_is_not_in_the_script_gets_the_other_answer(autojump_clock):
    model = Scripted(["once"], otherwise="ever")

    assert [await said(model) for _ in range(3)] == ["once", "ever", "ever"]


async def test_it_fails_on_demand_and_in_detail(autojump_clock):
    model = Scripted([Step(error="rate_limited", message="slow down", status=429, retry_after_s=2.0)])

    with pytest.raises(UpstreamError, match="slow down") as caught:
        await said(model)

    error = caught.value
    assert (error.kind, error.status, error.retry_after_s) == ("rate_limited", 429, 2.0)


async def test_it_takes_its_time_and_remembers_who_asked_and_who_left(autojump_clock):
    model = Scripted(otherwise=Step(reply="late", after_s=3))

    with trio.move_on_after(1):
        await said(model, "impatient")
    await said(model, "patient")

    assert trio.current_time() == 4
    assert model.asked == [chat("impatient"), chat("patient")]
    assert model.cancelled == [chat("impatient")]
    assert model.in_flight == 0


async def test_a_script_is_read_from_lines_of_json(autojump_clock):
    text = '{"reply": "first", "tokens_in": 7, "usd": 0.5}\n\n{"error": "server", "status": 503}\n'

    model = Scripted(parse_script(text))
    reply, _ = await model.complete(chat())

    assert (reply.text, reply.usage) == ("first", Usage(7, 0, usd=0.5))
    with pytest.raises(UpstreamError):
        await model.complete(chat())


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("not json", "line 2 of the script: Expecting value"),
        ("[]", "has neither `reply` nor `error`"),
        ('{"when": "x"}', "has neither `reply` nor `error`"),
        ('{"reply": "x", "afters": 1}', "unknown key 'afters'"),
        ('{"error": "boom"}', "`error` is one of rate_limited, quota"),
    ],
)
def test_a_line_that_is_no_step_is_named(line, complaint):
    with pytest.raises(BadArgument) as caught:
        parse_script('{"reply": "fine"}\n' + line)

    assert complaint in caught.value.message
    assert "line 2" in caught.value.message
