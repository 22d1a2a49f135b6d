"""How crashes are paused after, forgiven, shown and, where there is a limit, given up on."""

from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
import trio
import trio.testing

from rlmd.supervision import ActorCrashed, ActorStopped, Restart, RestartsExhausted, open_supervisor
from unit.supervision.scripted import collect, scripted


async def crash(box):
    with pytest.raises(ActorCrashed):
        await box.ask("crash")


async def test_too_many_crashes_take_the_tree_down_and_answer_waiting_callers(autojump_clock):
    outcomes = []

    async def insist(box):
        for request in ("crash", "crash", "crash", "late"):
            try:
                await box.ask(request)
            except (ActorCrashed, ActorStopped) as exc:
                outcomes.append(type(exc).__name__)

    async with trio.open_nursery() as callers:
        with pytest.raises(RestartsExhausted, match="a") as caught:  # noqa: PT012 - it leaves the tree
            async with open_supervisor(grace=1) as supervisor:
                box = await supervisor.start("a", scripted(), restart=Restart(limit=2, pause=0.5))
                callers.start_soon(insist, box)
                await trio.sleep_forever()

    assert isinstance(caught.value.__cause__, OSError)
    assert outcomes == ["ActorCrashed"] * 3 + ["ActorStopped"]
    assert trio.current_time() == 0.5 + 1.0  # two pauses, doubling; none after the last crash


async def test_spread_out_crashes_are_forgiven(autojump_clock):
    async with open_supervisor(grace=1) as supervisor:
        box = await supervisor.start("a", scripted(), restart=Restart(limit=1, window=10))

        for _ in range(20):
            await crash(box)
            await trio.sleep(11)

        assert supervisor.stats()[0].restarts == 20


async def test_without_a_limit_pauses_double_up_to_the_longest_for_ever(autojump_clock):
    async with open_supervisor(grace=1) as supervisor:
        box = await supervisor.start("a", scripted(), restart=Restart(pause=1, longest_pause=8))

        times = []
        for _ in range(40):
            await crash(box)
            times.append(trio.current_time())

    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert gaps[:5] == [1, 2, 4, 8, 8]
    assert set(gaps[3:]) == {8}


async def test_a_quiet_window_lets_the_pauses_begin_anew(autojump_clock):
    async with open_supervisor(grace=1) as supervisor:
        box = await supervisor.start("a", scripted(), restart=Restart(pause=1, window=10))
        for _ in range(3):
            await crash(box)
        await trio.sleep(4 + 10)

        await crash(box)
        begun = trio.current_time()
        await box.ask("ok")

        assert trio.current_time() - begun == 1


async def test_a_failing_restart_is_one_more_crash(autojump_clock):
    opened = 0

    @asynccontextmanager
    async def flaky():
        nonlocal opened
        opened += 1
        if opened in {2, 3}:
            raise OSError("not yet")

        async def handle(request):
            if request == "crash":
                raise OSError("boom")
            return opened

        yield handle

    async with open_supervisor(grace=1) as supervisor:
        box = await supervisor.start("a", flaky, restart=Restart(pause=1))
        await crash(box)

        assert await box.ask("ok") == 4
        assert trio.current_time() == 1 + 2 + 4


async def test_stats_show_a_crash_until_the_window_has_passed_quietly(autojump_clock):
    async with open_supervisor(grace=1) as supervisor:
        box = await supervisor.start("a", scripted(), workers=2, restart=Restart(pause=1, window=10))
        await crash(box)
        await trio.sleep(10.5)

        (stats,) = supervisor.stats()

        assert (stats.name, stats.workers, stats.restarts) == ("a", 2, 1)
        assert stats.last_error == "OSError: disk on fire"
        assert stats.degraded
        await trio.sleep(1)
        assert not supervisor.stats()[0].degraded


async def test_stats_count_what_is_in_hand_and_what_waits(autojump_clock):
    async with open_supervisor(grace=99) as supervisor, trio.open_nursery() as callers:
        box = await supervisor.start("a", scripted())
        for _ in range(3):
            callers.start_soon(box.ask, 10.0)
        await trio.sleep(4)

        (stats,) = supervisor.stats()

        assert (stats.busy, stats.waiting, stats.oldest_s) == (1, 2, 4)
        assert not stats.degraded


async def test_a_crash_is_logged_once_with_its_actor_and_pause(autojump_clock, events):
    async with open_supervisor(grace=1) as supervisor:
        box = await supervisor.start("a", scripted())

        await crash(box)

    (event,) = events
    assert isinstance(event.pop("exc_info"), OSError)
    assert event == {
        "event": "actor.crashed", "log_level": "error", "actor": "a", "crashes": 1, "pause_s": 0.1,
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["serial", "batch", "concurrent"])
async def test_breaking_while_being_cancelled_does_not_escape_the_drain(autojump_clock, events, kind):
    @asynccontextmanager
    async def clumsy():
        async def stumble():
            try:
                await trio.sleep_forever()
            finally:
                raise OSError("while unwinding")

        async def handle(_):
            async with trio.open_nursery() as nursery:  # wraps a Cancelled and an OSError together
                nursery.start_soon(stumble)
                nursery.start_soon(trio.sleep_forever)

        yield handle

    ends = []
    async with trio.open_nursery() as callers, open_supervisor(grace=4) as supervisor:
        start = {
            "serial": supervisor.start,
            "batch": supervisor.start_batch,
            "concurrent": supervisor.start_concurrent,
        }[kind]
        box = await start("a", clumsy)
        callers.start_soon(collect, ends, box, "go")
        await trio.testing.wait_all_tasks_blocked()

    assert ends == ["ActorCrashed"]
    assert trio.current_time() == 4
    assert [event["log_level"] for event in events] == ["error"]


async def test_a_failing_clean_up_ends_the_drain_and_is_logged(autojump_clock, events):
    @asynccontextmanager
    async def clumsy():
        async def handle(request):
            return request

        yield handle
        raise OSError("checkpoint failed")

    async with open_supervisor(grace=4) as supervisor:
        await supervisor.start("a", clumsy)

    assert trio.current_time() == 0
    assert [event["event"] for event in events] == ["actor.crashed"]


@pytest.mark.parametrize("kind", ["serial", "concurrent"])
async def test_an_interrupt_beside_a_crash_is_not_lost(autojump_clock, kind):
    async def stumble():
        try:
            await trio.sleep_forever()
        finally:
            raise OSError("while unwinding")

    async def interrupt():
        raise KeyboardInterrupt

    @asynccontextmanager
    async def interrupted():
        async def handle(_):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stumble)
                nursery.start_soon(interrupt)

        yield handle

    with pytest.raises(KeyboardInterrupt), trio.fail_after(1e6):  # noqa: PT012 - it leaves the tree
        async with open_supervisor(grace=4) as supervisor:
            start = supervisor.start if kind == "serial" else supervisor.start_concurrent
            await (await start("a", interrupted)).tell("go")
            await trio.sleep_forever()
