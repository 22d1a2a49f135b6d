"""What callers of a concurrent actor may rely on."""

import pytest
import trio
import trio.testing

from rlmd.supervision import ActorCrashed, Restart, open_supervisor
from unit.supervision.scripted import collect, scripted


async def test_requests_are_served_side_by_side(autojump_clock):
    ends = []
    async with open_supervisor(grace=99) as supervisor:
        box = await supervisor.start_concurrent("a", scripted())

        async with trio.open_nursery() as callers:
            for seconds in (3.0, 1.0, 2.0):
                callers.start_soon(collect, ends, box, seconds)
                await trio.testing.wait_all_tasks_blocked()

    assert ends == [2, 3, 1]
    assert trio.current_time() == 3


async def test_a_reached_limit_leaves_further_requests_with_their_callers(autojump_clock):
    ends = []
    async with open_supervisor(grace=99) as supervisor:
        box = await supervisor.start_concurrent("a", scripted(), limit=2)

        async with trio.open_nursery() as callers:
            for _ in range(5):
                callers.start_soon(collect, ends, box, 1.0)
            await trio.testing.wait_all_tasks_blocked()
            (stats,) = supervisor.stats()

    assert (stats.busy, stats.waiting) == (2, 3)
    assert trio.current_time() == 3


@pytest.mark.parametrize("how", ["crash", "panic", "panic in nursery"])
async def test_a_crash_costs_its_own_request_alone(autojump_clock, how):
    diary, ends = [], []
    async with open_supervisor(grace=99) as supervisor:
        box = await supervisor.start_concurrent("a", scripted(diary))

        async with trio.open_nursery() as callers:
            callers.start_soon(collect, ends, box, 5.0)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(ActorCrashed):
                await box.ask(how)
        (stats,) = supervisor.stats()

    assert ends == [1]
    assert diary == ["open", "close"]
    assert stats.degraded
    assert stats.restarts == 0


async def test_three_crashes_in_a_row_restart_it_and_answer_the_others(autojump_clock):
    diary, ends = [], []
    async with open_supervisor(grace=99) as supervisor, trio.open_nursery() as callers:
        box = await supervisor.start_concurrent("a", scripted(diary), restart=Restart(pause=2))
        callers.start_soon(collect, ends, box, 100.0)
        await trio.testing.wait_all_tasks_blocked()

        for _ in range(3):
            with pytest.raises(ActorCrashed):
                await box.ask("crash")
        answer = await box.ask("ok")

        assert answer == 1
        assert trio.current_time() == 2
        assert ends == ["ActorStopped"]
        assert diary == ["open", "cancelled at 0", "close", "open"]


async def test_an_answer_between_crashes_shows_that_the_state_is_sound(autojump_clock):
    diary = []
    async with open_supervisor(grace=99) as supervisor:
        box = await supervisor.start_concurrent("a", scripted(diary))

        for request in ("crash", "crash", "ok", "crash", "crash"):
            async with trio.open_nursery() as callers:
                callers.start_soon(collect, [], box, request)

        assert diary == ["open"]


async def test_cancelling_one_caller_cancels_its_request_only(autojump_clock):
    diary, ends = [], []
    async with open_supervisor(grace=99) as supervisor, trio.open_nursery() as callers:
        box = await supervisor.start_concurrent("a", scripted(diary))
        callers.start_soon(collect, ends, box, 9.0)
        await trio.testing.wait_all_tasks_blocked()

        with trio.move_on_after(3):
            await box.ask(1e9)

        assert diary == ["open", "cancelled at 3"]
    assert ends == [1]


async def test_drain_finishes_all_in_hand_and_refuses_who_waits(autojump_clock):
    diary, ends = [], []
    async with trio.open_nursery() as callers, open_supervisor(grace=60) as supervisor:
        box = await supervisor.start_concurrent("a", scripted(diary), limit=2)
        for request in (10.0, 5.0, 1.0):
            callers.start_soon(collect, ends, box, request)
            await trio.testing.wait_all_tasks_blocked()

    assert ends == ["ActorStopped", 2, 1]
    assert trio.current_time() == 10
    assert diary == ["open", "close"]


async def test_drain_cancels_what_outlasts_the_grace(autojump_clock):
    diary, ends = [], []
    async with trio.open_nursery() as callers, open_supervisor(grace=4) as supervisor:
        box = await supervisor.start_concurrent("a", scripted(diary))
        for request in (1e9, 3.0):
            callers.start_soon(collect, ends, box, request)
            await trio.testing.wait_all_tasks_blocked()

    assert ends == [2, "ActorStopped"]
    assert diary == ["open", "cancelled at 4", "close"]
