from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import trio

from rlmd.look.steps import STEP_S, in_steps

pytestmark = pytest.mark.real_io


async def test_other_work_gets_its_turn_between_two_steps() -> None:
    order: list[str] = []
    limiter = trio.CapacityLimiter(1)

    def work(name: str) -> Iterator[None]:
        for _ in range(3):
            order.append(name)
            threading.Event().wait(STEP_S)
            yield

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: in_steps(work("a"), limiter=limiter))
            nursery.start_soon(lambda: in_steps(work("b"), limiter=limiter))

    assert sorted(order) == ["a"] * 3 + ["b"] * 3
    assert order[:3] not in (["a"] * 3, ["b"] * 3)


async def test_cancelling_does_not_wait_for_a_step_that_hangs() -> None:
    released = threading.Event()
    later: list[str] = []

    def work() -> Iterator[None]:
        released.wait(5)
        yield
        later.append("a step after the cancelled one")

    with trio.fail_after(2), trio.move_on_after(0.02) as scope:
        await in_steps(work(), limiter=trio.CapacityLimiter(1))

    assert scope.cancelled_caught
    assert not released.is_set()
    released.set()
    assert later == []


async def test_what_the_work_raises_is_raised_to_its_caller() -> None:
    def work() -> Iterator[None]:
        yield
        raise ValueError("from the thread")

    with pytest.raises(ValueError, match="from the thread"):
        await in_steps(work(), limiter=trio.CapacityLimiter(1))
