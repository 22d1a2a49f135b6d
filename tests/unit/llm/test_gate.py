"""Who passes the gate of an endpoint, and when."""

import pytest
import trio
import trio.testing

from llm_world import collect, gather, open_caller, question
from rlmd.llm.lanes import MOST_LANES
from rlmd.llm.meter import Meter
from rlmd.llm.retry import Retry
from rlmd.llm.scripted import Scripted, Step
from rlmd.llm.values import Allowance, RateInfo

SECOND = Step(reply="ok", after_s=1)


def questions(count, **more):
    return [question(f"{more} {number}", **more) for number in range(count)]


async def test_no_more_calls_are_in_flight_than_allowed(autojump_clock):
    model = Scripted(otherwise=SECOND)
    async with open_caller(model, concurrency=10) as box:
        ends = await gather(box, questions(100))

    assert model.most_in_flight == 10
    assert [time for time, _ in ends] == [second for second in range(1, 11) for _ in range(10)]


async def test_the_models_of_an_endpoint_share_its_connections(autojump_clock):
    model = Scripted(otherwise=SECOND)
    async with open_caller(model, concurrency=10) as box:
        await gather(box, questions(10, model="m") + questions(10, model="n"))

    assert model.most_in_flight == 10
    assert trio.current_time() == 2


async def test_interactive_calls_overtake_a_batch(autojump_clock):
    model, ends = Scripted(otherwise=SECOND), []
    async with open_caller(model, concurrency=1) as box, trio.open_nursery() as nursery:
        for ask in questions(5, job="batch"):
            nursery.start_soon(collect, [], box, ask)
            await trio.testing.wait_all_tasks_blocked()

        await collect(ends, box, question("urgent", job="person", interactive=True))

    assert ends == [(2, "ok")]


async def test_a_small_job_does_not_wait_for_a_large_one(autojump_clock):
    model, small = Scripted(otherwise=SECOND), []
    async with open_caller(model, concurrency=2) as box, trio.open_nursery() as nursery:
        for ask in questions(40, job="large"):
            nursery.start_soon(collect, [], box, ask)
            await trio.testing.wait_all_tasks_blocked()

        async with trio.open_nursery() as asking:
            for ask in questions(3, job="small"):
                asking.start_soon(collect, small, box, ask)

    assert [time for time, _ in small] == [2, 3, 4]  # one of the two slots, as soon as one is free


async def test_an_interactive_asker_who_joins_a_waiting_call_hurries_it(autojump_clock):
    model, ends = Scripted(otherwise=SECOND), []
    async with open_caller(model, concurrency=1) as box, trio.open_nursery() as nursery:
        for ask in [*questions(5), question("both")]:
            nursery.start_soon(collect, [], box, ask)
            await trio.testing.wait_all_tasks_blocked()

        await collect(ends, box, question("both", interactive=True))

    assert ends == [(2, "ok")]
    assert len(model.asked) == 6


async def test_requests_a_minute_are_kept(autojump_clock):
    model = Scripted(otherwise="ok")
    async with open_caller(model, rpm=6) as box:
        ends = await gather(box, questions(4, model="m") + questions(4, model="n"))

    assert [round(time, 3) for time, _ in ends] == [0, 0, 0, 0, 0, 0, 10, 20]


async def test_tokens_a_minute_are_reserved_before_and_settled_after(autojump_clock):
    model = Scripted(otherwise=Step(reply="ok", tokens_in=50, tokens_out=50, after_s=1))
    async with open_caller(model, tpm=600) as box:
        ends = await gather(box, [question(text, max_tokens=599) for text in ("aaaa", "bbbb")])

    # 600 are reserved and 100 used; the second needs 600 again, of which 10 come back each second.
    assert [round(time, 3) for time, _ in ends] == [1, 11]


async def test_a_refused_call_gives_its_tokens_back_and_one_without_a_word_does_not(autojump_clock):
    refused, silent = Step(error="bad_request", status=400), Step(error="connect")
    model = Scripted([refused, silent], otherwise="ok")
    async with open_caller(model, tpm=600, retry=Retry(limit=0)) as box:
        asks = [question(text, max_tokens=599) for text in ("aaaa", "bbbb", "cccc")]
        ends = await gather(box, asks)

    assert [(round(time, 3), end) for time, end in ends] == [(0, "bad_request"), (0, "connect"), (60, "ok")]


async def test_limits_in_headers_are_kept_by_model(autojump_clock):
    told = RateInfo(requests=Allowance(limit=60, remaining=0, reset_s=60.0))
    model = Scripted([Step(reply="ok", rates=told)], otherwise="ok")
    async with open_caller(model) as box:
        await box.ask(question("first"))

        ends = await gather(box, [question("a"), question("b"), question("c", model="n")])

    assert [(round(time, 3), text) for time, text in ends] == [(0, "ok"), (1, "ok"), (2, "ok")]


async def test_a_window_closed_for_hours_is_told_at_once(autojump_clock):
    told = RateInfo(requests=Allowance(limit=10, remaining=0, reset_s=36_000.0))
    model = Scripted([Step(reply="ok", rates=told)], otherwise="ok")
    async with open_caller(model) as box:
        await box.ask(question("first"))

        ends = await gather(box, [question("a")])

    assert ends == [(0, "rate_limited")]


async def test_who_is_cancelled_while_waiting_takes_no_turn(autojump_clock):
    model, meter = Scripted(otherwise=Step(reply="ok", after_s=10)), Meter()
    async with open_caller(model, meter, concurrency=1) as box, trio.open_nursery() as nursery:
        nursery.start_soon(collect, [], box, question("first"))
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(3):
            await box.ask(question("impatient"))
        waiting = meter.gate.waiting

        await box.ask(question("last"))

    assert waiting == 0
    assert len(model.asked) == 2
    assert trio.current_time() == 20


async def test_who_waits_when_the_breaker_opens_is_told_at_once(autojump_clock):
    model = Scripted([Step(error="server", status=500, after_s=1)] * 5, otherwise=SECOND)
    async with open_caller(model, concurrency=5) as box:
        ends = await gather(box, questions(12))

    # Four were sent in the places of the first four that failed, before the fifth opened it.
    assert ends == [(1, "open")] * 3 + [(1.5, "open")] * 5 + [(2, "ok")] * 4


async def test_a_storm_of_refusals_is_weathered_without_losing_a_call(autojump_clock):
    """A server that bears ten calls at once, and an adaptive limit that begins far above."""

    class Crowded(Scripted):
        async def complete(self, chat):
            if self.in_flight >= 10:
                return await Scripted([Step(error="rate_limited", status=429, after_s=0.005)]).complete(chat)
            return await super().complete(chat)

    model, meter = Crowded(otherwise=Step(reply="ok", after_s=0.1)), Meter()
    async with open_caller(model, meter, luck=0.5) as box:
        ends = await gather(box, questions(300))

    assert {text for _, text in ends} == {"ok"}
    assert model.most_in_flight == 10
    assert 5 <= meter.facts().concurrency <= 20


async def test_models_nobody_asks_any_more_are_forgotten(autojump_clock):
    meter = Meter()
    async with open_caller(Scripted(otherwise="ok"), meter) as box:
        for number in range(MOST_LANES + 10):
            await box.ask(question(model=f"m{number}"))

        assert len(list(meter.gate.lanes)) == MOST_LANES


@pytest.mark.parametrize("end", ["ok", "error", "cancel"])
async def test_every_way_out_gives_the_slot_and_the_reservation_back(autojump_clock, end):
    step = Step(error="bad_request", after_s=1) if end == "error" else SECOND
    meter = Meter()
    async with open_caller(Scripted(otherwise=step), meter) as box:
        with trio.move_on_after(0.5 if end == "cancel" else 9):
            await gather(box, questions(70))

        (lane,) = meter.gate.lanes
        assert (meter.gate.in_flight, lane.in_flight, meter.gate.waiting, lane.windows.unsettled) == (0,) * 4
