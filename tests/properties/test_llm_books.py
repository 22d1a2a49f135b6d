"""Whatever models do and askers want, each ask ends once and every slot and reservation comes back."""

from collections import Counter

import structlog
import trio
import trio.testing
from hypothesis import event, given, settings
from hypothesis import strategies as st

from llm_world import chat, open_caller
from rlmd.errors import RequestError
from rlmd.llm.breaker import Breaker
from rlmd.llm.meter import Meter
from rlmd.llm.retry import Retry
from rlmd.llm.scripted import Scripted, Step
from rlmd.llm.values import Allowance, Ask, RateInfo
from rlmd.llm.windows import Windows
from rlmd.supervision import ActorError

TIMES = st.sampled_from([0.0, 0.5, 1.0, 2.0, 7.0])
RATES = st.sampled_from(
    [
        RateInfo(),
        RateInfo(Allowance(3, 0, 6.0)),
        RateInfo(tokens=Allowance(600, 100, 60.0), requests=Allowance(9, 9)),
    ]
)
STEPS = st.builds(
    Step,
    reply=st.sampled_from(["ok", ""]),
    after_s=TIMES,
    tokens_in=st.integers(0, 900),
    error=st.sampled_from([None, None, "server", "rate_limited", "connect", "auth", "timeout", "empty"]),
    status=st.sampled_from([None, 429, 503]),
    retry_after_s=st.sampled_from([None, 0.0, 3.0, 500.0]),
    rates=RATES,
)
ASKS = st.lists(
    st.tuples(
        TIMES,
        st.sampled_from("ab"),  # the text: equal ones may share a call
        st.sampled_from("xyz"),  # the job
        st.booleans(),  # interactive
        st.booleans(),  # use_cache
        st.one_of(st.none(), TIMES),  # the asker's patience
    ),
    max_size=14,
)


@settings(max_examples=150, deadline=None)
@given(
    steps=st.lists(STEPS, max_size=8),
    otherwise=STEPS,
    asks=ASKS,
    concurrency=st.integers(1, 3),
    queue=st.sampled_from([2, 100]),
    rpm=st.sampled_from([0, 0, 12]),
    luck=st.sampled_from([0.0, 1.0]),
)
def test_every_ask_ends_once_and_nothing_is_kept_back(steps, otherwise, asks, concurrency, queue, rpm, luck):
    model, meter, ended = Scripted(steps, otherwise=otherwise), Meter(), Counter()

    async def ask(box, number, delay_s, text, job, interactive, use_cache, patience_s):
        await trio.sleep(delay_s)
        request = Ask(chat=chat(text), job=job, interactive=interactive, project="p", use_cache=use_cache)
        with trio.move_on_after(float("inf") if patience_s is None else patience_s) as scope:
            try:
                event((await box.ask(request)).text)
            except RequestError as error:
                event(error.code)
            except ActorError as error:
                raise AssertionError("crashed") from error
        event(f"cancelled: {scope.cancelled_caught}")
        ended[number] += 1

    async def main():
        limits = {"concurrency": concurrency, "queue": queue, "rpm": rpm, "timeout_s": 5.0}
        with trio.fail_after(1e6):  # virtual: a deadlock fails at once instead of hanging
            async with open_caller(model, meter, luck=luck, **limits) as box:
                async with trio.open_nursery() as nursery:
                    for number, each in enumerate(asks):
                        nursery.start_soon(ask, box, number, *each)
                await trio.testing.wait_all_tasks_blocked()
                assert_at_rest(meter.gate)

    with structlog.testing.capture_logs():
        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))

    assert dict(ended) == dict.fromkeys(range(len(asks)), 1)
    assert model.in_flight == 0
    assert model.most_in_flight <= concurrency
    assert meter.calls == len(model.asked)
    assert model.closed


def assert_at_rest(gate):
    assert (gate.in_flight, gate.waiting) == (0, 0)
    assert all(lane.in_flight == lane.windows.unsettled == 0 for lane in gate.lanes)


@settings(max_examples=50, deadline=None)
@given(patience=st.lists(TIMES, min_size=1, max_size=30), after_s=st.sampled_from([8.0, 50.0]))
def test_cancelled_calls_never_open_the_breaker(patience, after_s):
    model, meter = Scripted(otherwise=Step(reply="late", after_s=after_s)), Meter()

    async def impatient(box, number, patience_s):
        with trio.move_on_after(patience_s):
            await box.ask(Ask(chat=chat(str(number)), job="j", interactive=False, project="p"))

    async def main():
        async with open_caller(model, meter, retry=Retry()) as box:
            async with trio.open_nursery() as nursery:
                for number, patience_s in enumerate(patience):
                    nursery.start_soon(impatient, box, number, patience_s)
            assert meter.facts().state == "ok"
            assert_at_rest(meter.gate)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


@given(st.lists(st.sampled_from(["answered", "refused", "fault", "cancelled"])))
def test_a_breaker_opens_by_five_faults_with_no_answer_between_and_by_nothing_else(endings):
    breaker, in_a_row = Breaker(limit=5, cooldown_s=1), 0

    for ending in endings:
        if breaker.is_open:
            break
        breaker.leave(0, breaker.enter(0), ending)
        in_a_row = {"fault": in_a_row + 1, "answered": 0}.get(ending, in_a_row)

        assert breaker.is_open is (in_a_row == 5)


@given(
    rpm=st.integers(1, 100),
    tpm=st.integers(1, 10_000),
    calls=st.lists(st.tuples(st.floats(0, 30), st.integers(0, 5_000)), max_size=60),
)
def test_no_minute_sees_more_requests_than_two_windows_hold(rpm, tpm, calls):
    """A bucket that was full gives all it has at once, and a minute's refill beside."""
    windows, now, sent = Windows(0, rpm, tpm), 0.0, []

    for pause_s, tokens in calls:
        now += pause_s
        now += windows.wait_s(now, tokens)
        assert windows.wait_s(now, tokens) == 0
        windows.settle(windows.reserve(now, tokens), sent=True, tokens=tokens)
        sent.append(now)

    assert all(sum(begin <= each < begin + 60 for each in sent) <= 2 * rpm for begin in sent)
    assert windows.unsettled == 0
