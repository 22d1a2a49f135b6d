"""Work that many wait for: who hears of it, who pays for it, and when it is cancelled."""

import pytest
import trio
import trio.testing

from rlmd.supervision import Flight
from rlmd.values import Progress


async def joined(flight, ends, name, report=lambda _: None):
    ends[name] = await flight.wait(report)


async def test_everybody_hears_and_has_it_and_the_first_who_is_left_is_told_so(autojump_clock):
    ends, heard = {}, []

    async def work(report):
        await trio.sleep(1)
        report(Progress("read", 1))
        return "value"

    flight = Flight(work)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(flight.run)
        with trio.CancelScope() as leaving:
            async with trio.open_nursery() as first:
                first.start_soon(joined, flight, ends, "gone")
                await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(joined, flight, ends, "second", heard.append)
                await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(joined, flight, ends, "third", heard.append)
                await trio.testing.wait_all_tasks_blocked()
                leaving.cancel()

    assert ends == {"second": ("value", True), "third": ("value", False)}
    assert heard == [Progress("read", 1)] * 2


async def test_the_last_to_leave_cancels_it_and_leaves_when_it_has_unwound(autojump_clock):
    steps = []

    async def work(_):
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
            steps.append("unwound")

    flight = Flight(work)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(flight.run)
        with trio.move_on_after(5):
            await flight.wait()
        steps.append("left")

    assert steps == ["unwound", "left"]
    assert flight.abandoned
    assert trio.current_time() == 6


async def test_its_failure_belongs_to_those_who_wait(autojump_clock):
    async def work(_):
        await trio.sleep(1)
        raise ExceptionGroup("", [OSError("full")])

    flight = Flight(work)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(flight.run)
        with pytest.raises(OSError, match="full"):
            await flight.wait()


async def test_one_that_was_left_before_it_began_is_not_waited_for(autojump_clock):
    async def work(_):
        await trio.sleep_forever()

    flight = Flight(work)

    with trio.move_on_after(1):
        await flight.wait()

    assert flight.abandoned
    assert trio.current_time() == 1
