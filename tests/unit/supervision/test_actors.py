"""What callers of an actor may rely on, shown on the serial kind."""

from contextlib import asynccontextmanager

import pytest
import structlog
import trio
import trio.testing

from rlmd.errors import RequestError
from rlmd.supervision import ActorCrashed, ActorStopped, AskCycle, Restart, open_supervisor
from unit.supervision.scripted import PanicError, collect, scripted


@pytest.mark.parametrize("request_", ["refuse", "refuse in nursery"])
async def test_state_survives_a_refused_request(autojump_clock, request_):
    diary = []
    async with open_supervisor(grace=1) as supervisor:
        box = await supervisor.start("a", scripted(diary))

        with pytest.raises(RequestError, match="no such path"):
            await box.ask(request_)

        assert await box.ask("ok") > 1
        assert diary == ["open"]


async def test_a_crash_answers_its_caller_and_restarts_with_fresh_state(autojump_clock):
    diary = []
    async with open_supervisor(grace=1) as supervisor:
        box = await supervisor.start("a", scripted(diary), restart=Restart(pause=2.0))

        with pytest.raises(ActorCrashed) as caught:
            await box.ask("crash")
        answer = await box.ask("ok")

        assert isinstance(caught.value.__cause__, OSError)
        assert answer == 1
        assert trio.current_time() == 2.0
    assert diary == ["open", "close", "open", "close"]


@pytest.mark.parametrize("request_", ["panic", "panic in nursery"])
async def test_a_panic_is_a_crash_like_any_other(autojump_clock, request_):
    async with open_supervisor(grace=1) as supervisor:
        box = await supervisor.start("a", scripted())

        with pytest.raises(ActorCrashed) as caught:
            await box.ask(request_)

        assert isinstance(caught.value.__cause__, PanicError)
        assert await box.ask("ok") == 1


async def test_a_keyboard_interrupt_in_a_handler_ends_the_tree(autojump_clock):
    @asynccontextmanager
    async def interrupted():
        async def handle(_):
            raise KeyboardInterrupt

        yield handle

    with pytest.raises(KeyboardInterrupt):  # noqa: PT012 - the tree is what it passes through
        async with open_supervisor(grace=1) as supervisor:
            box = await supervisor.start("a", interrupted)
            await box.tell(None)
            await trio.sleep_forever()


async def test_cancelling_the_caller_cancels_the_work_before_ask_returns(autojump_clock):
    diary = []
    async with open_supervisor(grace=1) as supervisor:
        box = await supervisor.start("a", scripted(diary))

        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(box.ask, 1e9)
                await trio.sleep(3)
                scope.cancel()

        assert diary == ["open", "cancelled at 3"]
        assert await box.ask("ok") == 2  # same incarnation: a cancelled request is not a crash


async def test_cancelling_a_waiting_caller_leaves_nothing_behind(autojump_clock):
    diary = []
    async with open_supervisor(grace=99) as supervisor, trio.open_nursery() as nursery:
        box = await supervisor.start("a", scripted(diary))
        nursery.start_soon(box.ask, 10.0)
        await trio.testing.wait_all_tasks_blocked()

        with trio.move_on_after(1):
            await box.ask("crash")  # never accepted, so it never runs

        assert await box.ask("ok") == 2
        assert diary == ["open"]


async def test_one_crash_in_a_pool_does_not_touch_its_siblings(autojump_clock):
    ends = []
    async with open_supervisor(grace=99) as supervisor, trio.open_nursery() as nursery:
        box = await supervisor.start("pool", scripted(), workers=2)
        nursery.start_soon(collect, ends, box, 5.0)
        await trio.testing.wait_all_tasks_blocked()

        with pytest.raises(ActorCrashed):
            await box.ask("crash")

    assert ends == [1]


async def test_tell_returns_on_acceptance_and_outlives_its_caller(autojump_clock):
    diary = []
    async with open_supervisor(grace=99) as supervisor:
        box = await supervisor.start("a", scripted(diary))

        with trio.move_on_after(1):
            await box.tell(10.0)

        assert trio.current_time() == 0
        assert await box.ask("ok") == 2
        assert trio.current_time() == 10
        assert diary == ["open"]


async def test_drain_finishes_work_in_hand_refuses_the_rest_and_closes_in_reverse(autojump_clock):
    diary, ends = [], []
    async with trio.open_nursery() as callers, open_supervisor(grace=60) as supervisor:
        await supervisor.start("first", scripted(diary, "first"))
        box = await supervisor.start("second", scripted(diary, "second"))
        for request in (10.0, 10.0):
            callers.start_soon(collect, ends, box, request)
            await trio.testing.wait_all_tasks_blocked()

    assert ends == ["ActorStopped", 1]
    assert trio.current_time() == 10
    assert diary == ["open first", "open second", "close second", "close first"]


async def test_drain_cancels_what_outlasts_its_grace(autojump_clock):
    diary, ends = [], []
    async with trio.open_nursery() as callers, open_supervisor(grace=4) as supervisor:
        box = await supervisor.start("a", scripted(diary))
        callers.start_soon(collect, ends, box, 1e9)
        await trio.testing.wait_all_tasks_blocked()

    assert ends == ["ActorStopped"]
    assert diary == ["open", "cancelled at 4", "close"]


async def test_an_actor_that_uses_up_the_grace_leaves_a_second_to_the_ones_below(autojump_clock):
    diary, ends = [], []
    async with trio.open_nursery() as callers, open_supervisor(grace=4) as supervisor:
        writer = await supervisor.start("writer", scripted(diary, "writer"))
        hung = await supervisor.start("hung", scripted(diary, "hung"))
        callers.start_soon(collect, ends, hung, 1e9)
        callers.start_soon(collect, ends, writer, 4.5)
        await trio.testing.wait_all_tasks_blocked()

    assert ends == ["ActorStopped", 1]
    assert diary == ["open writer", "open hung", "cancelled at 4", "close hung", "close writer"]


async def test_a_restarting_actor_does_not_hold_up_the_drain(autojump_clock):
    diary = []
    async with open_supervisor(grace=60) as supervisor:
        box = await supervisor.start("a", scripted(diary), restart=Restart(pause=30))
        with pytest.raises(ActorCrashed):
            await box.ask("crash")

    assert trio.current_time() == 0
    assert diary == ["open", "close"]


async def test_asking_a_drained_actor_is_refused(autojump_clock):
    async with open_supervisor(grace=1) as supervisor:
        box = await supervisor.start("a", scripted())

    with pytest.raises(ActorStopped):
        await box.ask("ok")


async def test_an_ask_cycle_is_an_error_not_a_deadlock(autojump_clock):
    boxes = {}

    @asynccontextmanager
    async def relay():
        async def handle(name):
            return await boxes[name].ask("a")

        yield handle

    async with open_supervisor(grace=1) as supervisor:
        boxes["a"] = await supervisor.start("a", relay)
        boxes["b"] = await supervisor.start("b", relay)

        with pytest.raises(ActorCrashed) as caught:
            await boxes["a"].ask("b")

        cycle = caught.value.__cause__.__cause__
        assert isinstance(cycle, AskCycle)
        assert str(cycle) == "a -> b -> a"


async def test_failure_to_start_is_raised_at_once_and_alone(autojump_clock):
    @asynccontextmanager
    async def broken():
        raise FileNotFoundError("config.toml")
        yield

    with pytest.raises(FileNotFoundError):
        async with open_supervisor(grace=1) as supervisor:
            await supervisor.start("a", broken)
    assert trio.current_time() == 0


async def test_the_callers_log_context_follows_the_request(autojump_clock):
    @asynccontextmanager
    async def actor():
        async def handle(_):
            return structlog.contextvars.get_contextvars()

        yield handle

    async with open_supervisor(grace=1) as supervisor:
        box = await supervisor.start("a", actor)

        with structlog.contextvars.bound_contextvars(request_id="r-1"):
            assert await box.ask(None) == {"request_id": "r-1"}
        assert await box.ask(None) == {}


@asynccontextmanager
async def deadline_teller():
    async def handle(seconds):
        await trio.sleep(seconds)
        return trio.current_effective_deadline()

    yield handle


async def test_the_handler_sees_its_callers_deadline(autojump_clock):
    async with open_supervisor(grace=1) as supervisor:
        box = await supervisor.start("a", deadline_teller)

        with trio.move_on_after(7):
            assert await box.ask(0) == 7
        assert await box.ask(0) == float("inf")


async def test_a_deadline_put_off_after_asking_does_not_reach_the_work(autojump_clock):
    async with open_supervisor(grace=1) as supervisor, trio.open_nursery() as nursery:
        box = await supervisor.start("a", deadline_teller)

        async def put_off(scope):
            await trio.sleep(1)
            scope.deadline += 100

        with trio.move_on_after(2) as scope:
            nursery.start_soon(put_off, scope)
            with pytest.raises(trio.TooSlowError):
                await box.ask(50)

        assert trio.current_time() == 2
