"""What those who ask a model through the caller may rely on."""

import pytest
import trio
import trio.testing

from llm_world import gather, open_caller, question
from rlmd.llm.meter import Meter
from rlmd.llm.retry import Retry
from rlmd.llm.scripted import Scripted, Step
from rlmd.llm.values import UpstreamError, Usage
from rlmd.status import CacheFacts
from rlmd.supervision import ActorCrashed

OVERLOADED = Step(error="server", status=503, message="overloaded")


async def fails(box, ask):
    with pytest.raises(UpstreamError) as caught:
        await box.ask(ask)
    return caught.value


async def test_an_answer_comes_back_with_what_it_cost(autojump_clock):
    model = Scripted([Step(reply="hi", tokens_in=7, tokens_out=2, usd=0.5, after_s=1)])
    async with open_caller(model) as box:
        reply = await box.ask(question())

    assert (reply.text, reply.usage, reply.cached) == ("hi", Usage(7, 2, usd=0.5), False)
    assert trio.current_time() == 1
    assert model.closed


async def test_a_failure_that_may_pass_is_tried_again_three_times(autojump_clock):
    model, meter = Scripted([OVERLOADED, OVERLOADED, OVERLOADED, "at last"]), Meter()
    async with open_caller(model, meter) as box:
        reply = await box.ask(question())

    assert reply.text == "at last"
    assert trio.current_time() == 0.5 + 1 + 2
    assert (meter.calls, meter.errors) == (4, 3)


async def test_the_fourth_failure_is_told_in_the_providers_words(autojump_clock):
    model = Scripted(otherwise=OVERLOADED)
    async with open_caller(model) as box:
        error = await fails(box, question())

    assert (error.kind, error.message, error.retryable) == ("server", "overloaded", True)
    assert len(model.asked) == 4


@pytest.mark.parametrize("kind", ["auth", "quota", "bad_request", "not_found", "overflow", "truncated"])
async def test_a_failure_that_cannot_pass_is_told_at_once(autojump_clock, kind):
    model = Scripted(otherwise=Step(error=kind))
    async with open_caller(model) as box:
        error = await fails(box, question())

    assert error.kind == kind
    assert len(model.asked) == 1
    assert trio.current_time() == 0


async def test_retry_after_holds_everybody_back_whatever_the_model(autojump_clock):
    slow_down = Step(error="rate_limited", status=429, retry_after_s=7.0, when="first")
    model = Scripted([slow_down], otherwise="ok")
    async with open_caller(model, luck=0.0, retry=Retry(limit=0)) as box:
        first = await fails(box, question("first"))

        ends = await gather(box, [question("b"), question("c", model="n")])

    assert first.kind == "rate_limited"
    assert ends == [(7, "ok"), (7, "ok")]


async def test_a_wait_that_nobody_has_patience_for_is_told_to_everybody_at_once(autojump_clock):
    model = Scripted([Step(error="rate_limited", status=429, retry_after_s=600.0, after_s=1)], otherwise="ok")
    async with open_caller(model, concurrency=1) as box:
        ends = await gather(box, [question("a"), question("b"), question("c")])
        later = await fails(box, question("d"))
        await trio.sleep(600)
        reply = await box.ask(question("e"))

    assert ends == [(1, "rate_limited")] * 3
    assert "no more calls for 600 s" in later.message
    assert reply.text == "ok"


async def test_five_faults_open_the_breaker_and_one_probe_closes_it(autojump_clock):
    model, meter = Scripted([OVERLOADED] * 5, otherwise=Step(reply="back", after_s=1)), Meter()
    async with open_caller(model, meter, luck=0.0) as box:
        await fails(box, question("a"))
        opened = await fails(box, question("b"))
        refused = await fails(box, question("c"))
        state = meter.facts().state
        await trio.sleep(30)
        ends = await gather(box, [question("d"), question("e"), question("f")])
        await box.ask(question("g"))

    assert (opened.kind, refused.kind, state) == ("open", "open", "open")
    assert refused.message.endswith("the last failure was: overloaded")
    assert refused.hint == "It is tried again in 30 s."
    assert ends == [(30, "open"), (30, "open"), (31, "back")]
    assert meter.facts().state == "ok"


async def test_an_open_breaker_is_of_one_model(autojump_clock):
    model = Scripted([Step(reply="fine", when="other")], otherwise=OVERLOADED)
    async with open_caller(model, luck=0.0) as box:
        await fails(box, question("a"))
        await fails(box, question("b"))

        reply = await box.ask(question("other", model="n"))

    assert reply.text == "fine"


async def test_a_hundred_cancelled_calls_open_nothing(autojump_clock):
    model, meter = Scripted(otherwise=Step(reply="ok", after_s=9)), Meter()
    async with open_caller(model, meter, grace=0) as box:
        with trio.move_on_after(3):
            await gather(box, [question(str(number)) for number in range(100)])
        cancelled = len(model.cancelled)
        facts = meter.facts()

        await box.ask(question("after"))

    assert (cancelled, facts.state, facts.errors) == (64, "ok", 0)
    assert trio.current_time() == 12


async def test_the_deadline_is_for_the_whole_answer(autojump_clock):
    model = Scripted(otherwise=Step(reply="late", after_s=121))
    async with open_caller(model, retry=Retry(limit=1), luck=0.0) as box:
        error = await fails(box, question())

    assert (error.kind, trio.current_time()) == ("timeout", 240)
    assert error.message == "scripted gave no whole answer within 120 s"
    assert len(model.cancelled) == 2


async def test_fifty_identical_calls_are_one(autojump_clock):
    model, meter = Scripted([Step(reply="ok", after_s=1, tokens_in=5, usd=0.5)]), Meter()
    async with open_caller(model, meter) as box, trio.open_nursery() as nursery:
        replies = []

        async def ask():
            replies.append(await box.ask(question()))

        for _ in range(50):
            nursery.start_soon(ask)

    assert len(model.asked) == 1
    assert [reply.text for reply in replies] == ["ok"] * 50
    assert [reply.usage.usd for reply in replies if not reply.cached] == [0.5]
    assert sum(reply.usage.tokens_in for reply in replies) == 5
    assert meter.facts().cache == CacheFacts(hits=0, misses=1, joined=49)


async def test_a_kept_reply_costs_no_call_and_no_money(autojump_clock):
    model, meter = Scripted([Step(reply="ok", tokens_in=5, usd=0.5)]), Meter()
    async with open_caller(model, meter) as box:
        first, second = await box.ask(question()), await box.ask(question())

    assert (first.usage.usd, second.usage.usd, second.text) == (0.5, 0.0, "ok")
    assert (first.cached, second.cached, len(model.asked)) == (False, True, 1)
    assert meter.facts().cache == CacheFacts(hits=1, misses=1, joined=0)
    assert (meter.tokens_in, meter.usd) == (5, 0.5)


@pytest.mark.parametrize("other", [{"project": "q"}, {"model": "n"}, {"seed": 1}, {"use_cache": False}])
async def test_a_reply_is_not_shared_with_another_project_or_request(autojump_clock, other):
    model = Scripted(["mine", "another"])
    async with open_caller(model) as box:
        await box.ask(question())

        reply = await box.ask(question(**other))

    assert reply.text == "another"


async def test_calls_without_the_cache_are_not_joined_either(autojump_clock):
    model = Scripted(otherwise=Step(reply="ok", after_s=1))
    async with open_caller(model) as box:
        await gather(box, [question(use_cache=False)] * 3)

    assert len(model.asked) == 3


async def test_a_failure_is_not_kept(autojump_clock):
    model = Scripted([Step(error="empty"), "ok"])
    async with open_caller(model) as box:
        await fails(box, question())

        assert (await box.ask(question())).text == "ok"


async def test_a_cancelled_first_asker_leaves_the_call_to_the_others(autojump_clock):
    model = Scripted([Step(reply="ok", after_s=5, usd=0.5)])
    replies, first = [], trio.CancelScope()

    async def ask(scope):
        with scope:
            replies.append(await box.ask(question()))

    async with open_caller(model) as box, trio.open_nursery() as nursery:
        nursery.start_soon(ask, first)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(ask, trio.CancelScope())
        await trio.sleep(1)
        first.cancel()

    assert (len(model.asked), model.cancelled) == (1, [])
    assert [(reply.text, reply.cached, reply.usage.usd) for reply in replies] == [("ok", False, 0.5)]
    assert trio.current_time() == 5


async def test_the_last_asker_to_leave_cancels_the_call(autojump_clock):
    model = Scripted([Step(reply="never", after_s=50)], otherwise="again")
    async with open_caller(model) as box:
        with trio.move_on_after(2):
            await gather(box, [question(), question(), question()])
        cancelled = len(model.cancelled)

        reply = await box.ask(question())

    assert (cancelled, reply.text, trio.current_time()) == (1, "again", 2)


async def test_a_call_that_is_slow_to_end_does_not_disturb_the_one_that_took_its_place(
    autojump_clock, events
):
    class Clinging(Scripted):
        async def complete(self, chat):
            try:
                return await super().complete(chat)
            except trio.Cancelled:
                with trio.move_on_after(1, shield=True):
                    await trio.sleep_forever()
                raise

    model, replies, left_at = Clinging([Step(reply="never", after_s=50)], otherwise="again"), [], []
    async with open_caller(model) as box, trio.open_nursery() as nursery:

        async def leave_after_a_second():
            with trio.move_on_after(1):
                await box.ask(question())
            left_at.append(trio.current_time())

        nursery.start_soon(leave_after_a_second)
        await trio.sleep(1.5)
        replies.append((await box.ask(question())).text)

    assert replies == ["again"]
    assert left_at == [2]  # when the call has unwound
    assert [event for event in events if event["log_level"] == "error"] == []


async def test_calls_beyond_the_bound_are_refused_as_busy(autojump_clock):
    model = Scripted(otherwise=Step(reply="ok", after_s=1))
    async with open_caller(model, queue=4) as box:
        ends = await gather(box, [question(str(number), job=str(number)) for number in range(5)])

    assert ends == [(0, "Busy")] + [(1, "ok")] * 4


async def test_one_job_has_at_most_half_of_what_is_accepted(autojump_clock):
    model = Scripted(otherwise=Step(reply="ok", after_s=1))
    async with open_caller(model, queue=4) as box:
        ends = await gather(box, [question(str(number)) for number in range(3)])

        assert ends == [(0, "Busy")] + [(1, "ok")] * 2
        assert (await box.ask(question("again"))).text == "ok"


async def test_a_bug_in_the_endpoint_is_the_callers_crash_and_costs_no_slot(autojump_clock):
    class Buggy(Scripted):
        async def complete(self, chat):
            if chat.messages[0].content == "bug":
                raise ZeroDivisionError
            return await super().complete(chat)

    async with open_caller(Buggy(otherwise="ok"), concurrency=1) as box:
        with pytest.raises(ActorCrashed):
            await box.ask(question("bug"))

        assert (await box.ask(question())).text == "ok"


async def test_status_tells_what_was_spent(autojump_clock):
    model, meter = Scripted([Step(reply="a", tokens_in=5, tokens_out=1, usd=0.25)]), Meter()
    before = meter.facts()
    async with open_caller(model, meter) as box:
        await box.ask(question(model="large"))
        facts = meter.facts()

    assert before.state == "none"
    assert (facts.endpoint, facts.model, facts.state, facts.concurrency) == ("scripted", "large", "ok", 64)
    assert (facts.calls, facts.errors, facts.tokens_in, facts.tokens_out) == (1, 0, 5, 1)
    assert facts.usd == 0.25


async def test_an_answer_that_is_of_no_use_is_counted_where_it_was_paid_for(autojump_clock):
    model, meter = Scripted([Step(error="truncated", tokens_in=5, tokens_out=9, usd=0.5)]), Meter()
    async with open_caller(model, meter) as box:
        await fails(box, question())

    assert (meter.tokens_in, meter.tokens_out, meter.usd, meter.errors) == (5, 9, 0.5, 1)


async def test_one_call_of_unknown_price_makes_the_sum_unknown(autojump_clock):
    model, meter = Scripted([Step(reply="a", usd=None), Step(reply="b", usd=1.0)]), Meter()
    async with open_caller(model, meter) as box:
        await box.ask(question("a"))
        await box.ask(question("b"))

    assert meter.facts().usd is None
