"""Cancel a scenario at its n-th task step, for every n it has: nothing may be left behind."""

from contextlib import asynccontextmanager, suppress
from functools import partial

import pytest
import structlog
import trio
import trio.testing

from rlmd.errors import RequestError
from rlmd.supervision import ActorError, Restart, open_supervisor

CLEAN = {"running": 0, "open": 0, "asking": 0}
BOOM, NO = 2, 3


class CancelAt(trio.abc.Instrument):
    """Cancels its scope before the n-th step that any task takes."""

    def __init__(self, step):
        self.left, self.scope = step, trio.CancelScope()

    def before_task_step(self, task):
        self.left -= 1
        if self.left == 0:
            self.scope.cancel()


def sweep(scenario):
    """Run *scenario* whole and cut at every step; return how many cuts there were."""
    step = 0
    while True:
        step += 1
        knife, books = CancelAt(step), dict(CLEAN)
        clock = trio.testing.MockClock(autojump_threshold=0)
        with structlog.testing.capture_logs():
            trio.run(scenario, knife, books, instruments=[knife], clock=clock)
        assert books == CLEAN, f"cut at step {step}"
        if not knife.scope.cancelled_caught and knife.left > 0:
            return step


@asynccontextmanager
async def kept(books, what):
    books[what] += 1
    try:
        yield
    finally:
        books[what] -= 1


async def serve_one(books, request):
    async with kept(books, "running"):
        await trio.sleep(1)
        if request == BOOM:
            raise OSError
        if request == NO:
            raise RequestError("no")
        return request


async def serve_all(books, requests):
    async with kept(books, "running"):
        await trio.sleep(1)
        if BOOM in requests:
            raise OSError
        return [RequestError("no") if request == NO else request for request in requests]


@asynccontextmanager
async def actor(books, serve):
    async with kept(books, "open"):
        yield partial(serve, books)


async def start_serial(supervisor, books, restart):
    return await supervisor.start("a", lambda: actor(books, serve_one), workers=2, restart=restart)


async def start_batch(supervisor, books, restart):
    return await supervisor.start_batch("a", lambda: actor(books, serve_all), max_batch=3, restart=restart)


async def start_concurrent(supervisor, books, restart):
    return await supervisor.start_concurrent("a", lambda: actor(books, serve_one), limit=3, restart=restart)


@pytest.mark.parametrize("start", [start_serial, start_batch, start_concurrent])
@pytest.mark.parametrize("patience", [1e9, 0.5])
def test_a_cancel_at_any_step_leaves_nothing_running_or_open(start, patience):
    async def call(box, books, request):
        async with kept(books, "asking"):
            with suppress(ActorError, RequestError), trio.move_on_after(patience):
                await box.ask(request)
                assert request not in {BOOM, NO}

    async def scenario(knife, books):
        with trio.fail_after(1e6), knife.scope:
            async with open_supervisor(grace=5) as supervisor:
                box = await start(supervisor, books, Restart(pause=0.1))
                async with trio.open_nursery() as callers:
                    for request in range(7):
                        callers.start_soon(call, box, books, request)

    assert sweep(scenario) > 40  # the scenario really was cut everywhere
