"""What callers of a batch actor may rely on."""

from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from rlmd.errors import RequestError, VersionConflict
from rlmd.supervision import ActorCrashed, AskCycle, Restart, RestartsExhausted, open_supervisor
from unit.supervision.scripted import PanicError, collect


def committer(batches):
    """Take one second a batch and answer each request with its upper case, or as it asks."""

    @asynccontextmanager
    async def actor():
        async def handle(requests):
            batches.append(requests)
            await trio.sleep(1)
            if "crash" in requests:
                raise OSError("disk on fire")
            if "panic" in requests:
                raise PanicError
            if "refuse all" in requests:
                raise RequestError("disk full")
            if "short" in requests:
                return []
            return [VersionConflict("is 3") if r == "conflict" else r.upper() for r in requests]

        yield handle

    return actor


async def ask_together(box, requests):
    """Let the first be taken alone and the rest wait for it; return how each ended, in order."""
    ends = [[] for _ in requests]
    async with trio.open_nursery() as callers:
        for end, request in zip(ends, requests, strict=True):
            callers.start_soon(collect, end, box, request)
            await trio.testing.wait_all_tasks_blocked()
    return [end[0] for end in ends]


async def test_all_that_wait_are_taken_together_in_order(autojump_clock):
    batches = []
    async with open_supervisor(grace=9) as supervisor:
        box = await supervisor.start_batch("writer", committer(batches))

        ends = await ask_together(box, ["a", "b", "c", "d"])

    assert ends == ["A", "B", "C", "D"]
    assert batches == [["a"], ["b", "c", "d"]]
    assert trio.current_time() == 2


async def test_a_batch_never_exceeds_its_maximum(autojump_clock):
    batches = []
    async with open_supervisor(grace=9) as supervisor:
        box = await supervisor.start_batch("writer", committer(batches), max_batch=2)

        await ask_together(box, ["a", "b", "c", "d", "e", "f"])

    assert batches == [["a"], ["b", "c"], ["d", "e"], ["f"]]


async def test_a_returned_exception_reaches_its_own_asker_only(autojump_clock):
    batches = []
    async with open_supervisor(grace=9) as supervisor:
        box = await supervisor.start_batch("writer", committer(batches))

        ends = await ask_together(box, ["a", "b", "conflict", "c"])

    assert ends == ["A", "B", "VersionConflict", "C"]


@pytest.mark.parametrize("how", ["crash", "panic", "short"])
async def test_a_crash_answers_every_asker_of_the_batch_and_nobody_else(autojump_clock, how):
    batches = []
    async with open_supervisor(grace=9) as supervisor:
        box = await supervisor.start_batch("writer", committer(batches), max_batch=2)

        ends = await ask_together(box, ["a", "b", how, "c"])
        (stats,) = supervisor.stats()

    assert ends == ["A", "ActorCrashed", "ActorCrashed", "C"]
    assert stats.restarts == 1


async def test_a_raised_refusal_answers_the_whole_batch_without_a_crash(autojump_clock):
    batches = []
    async with open_supervisor(grace=9) as supervisor:
        box = await supervisor.start_batch("writer", committer(batches))

        ends = await ask_together(box, ["a", "b", "refuse all"])
        (stats,) = supervisor.stats()

    assert ends == ["A", "RequestError", "RequestError"]
    assert stats.restarts == 0


async def test_cancelling_an_asker_withdraws_a_request_not_yet_taken(autojump_clock):
    batches = []
    async with open_supervisor(grace=9) as supervisor, trio.open_nursery() as callers:
        box = await supervisor.start_batch("writer", committer(batches))
        callers.start_soon(box.ask, "a")
        await trio.testing.wait_all_tasks_blocked()

        with trio.move_on_after(0.5) as scope:
            await box.ask("b")

        assert scope.cancelled_caught
        assert trio.current_time() == 0.5
    assert batches == [["a"]]


async def test_cancelling_an_asker_lets_a_taken_request_commit_first(autojump_clock):
    batches = []
    async with open_supervisor(grace=9) as supervisor:
        box = await supervisor.start_batch("writer", committer(batches))

        with trio.move_on_after(0.5) as scope:
            await box.ask("a")

        assert scope.cancelled_caught
        assert trio.current_time() == 1
        assert supervisor.stats()[0].last_error is None


async def test_drain_commits_the_batch_in_hand_and_refuses_the_rest(autojump_clock):
    batches, ends = [], []
    async with trio.open_nursery() as callers, open_supervisor(grace=9) as supervisor:
        box = await supervisor.start_batch("writer", committer(batches))
        for request in ("a", "b"):
            callers.start_soon(collect, ends, box, request)
            await trio.testing.wait_all_tasks_blocked()

    assert ends == ["ActorStopped", "A"]
    assert batches == [["a"]]


async def test_too_many_crashes_of_a_batch_actor_take_the_tree_down(autojump_clock):
    ends = []
    async with trio.open_nursery() as callers:
        with pytest.raises(RestartsExhausted, match="writer"):  # noqa: PT012 - it leaves the whole tree
            async with open_supervisor(grace=9) as supervisor:
                box = await supervisor.start_batch("writer", committer([]), restart=Restart(limit=0))
                callers.start_soon(collect, ends, box, "crash")
                await trio.sleep_forever()

    assert ends == ["ActorCrashed"]


async def test_a_batch_may_not_ask_anyone_who_waits_for_a_member_of_it(autojump_clock):
    boxes = {}

    @asynccontextmanager
    async def asker():
        async def handle(request):
            return await boxes["batch"].ask(request)

        yield handle

    @asynccontextmanager
    async def batch():
        async def handle(requests):
            await trio.sleep(1)
            return [await boxes["asker"].ask("again") if "loop" in requests else None for _ in requests]

        yield handle

    async with open_supervisor(grace=1) as supervisor:
        boxes["asker"] = await supervisor.start("asker", asker)
        boxes["batch"] = await supervisor.start_batch("batch", batch)

        async with trio.open_nursery() as callers:
            for innocent in ("taken alone", "taken with the one below"):
                callers.start_soon(collect, [], boxes["batch"], innocent)
                await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(ActorCrashed) as caught:
                await boxes["asker"].ask("loop")

        assert isinstance(caught.value.__cause__.__cause__, AskCycle)


async def test_a_close_in_the_tick_of_an_ask_loses_nothing(autojump_clock):
    ends = []
    for _ in range(30):  # trio runs the two in either order
        async with open_supervisor(grace=9) as supervisor:
            box = await supervisor.start_batch("writer", committer([]))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(collect, ends, box, "a")
                nursery.start_soon(box.close)

    assert set(ends) == {"A", "ActorStopped"}
