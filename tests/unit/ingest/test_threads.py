from __future__ import annotations

from threading import Event

import pytest
import trio

from rlmd.errors import Busy
from rlmd.ingest.threads import Threads

pytestmark = pytest.mark.real_io


async def test_a_given_up_call_keeps_its_place_until_it_returns():
    threads, hold, gone = Threads(1), Event(), Event()

    def hang() -> None:
        hold.wait(5)
        gone.set()

    with trio.fail_after(5):
        with trio.move_on_after(0.01):
            await threads.run(hang)
        hanging = threads.abandoned
        with pytest.raises(Busy):
            await threads.run(int)
        hold.set()
        while threads.abandoned:
            await trio.lowlevel.checkpoint()

        assert hanging == 1
        assert gone.is_set()
        assert await threads.run(int) == 0


async def test_an_error_in_the_thread_is_the_callers():
    with trio.fail_after(5), pytest.raises(ZeroDivisionError):
        await Threads(1).run(lambda: 1 // 0)
