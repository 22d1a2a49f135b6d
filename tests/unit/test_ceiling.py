"""What is given up as memory runs short, in which order, and when it is taken back: in virtual time."""

from contextlib import asynccontextmanager

import trio

from rlmd.ceiling import Ceiling
from rlmd.errors import Busy
from rlmd.process import MemoryUse


class Machine:
    """Memory that a test sets, and a diary of what was done about it."""

    def __init__(self):
        self.used = 0
        self.stalled = 0.0
        self.diary = []
        self.jobs = ["j-1"]
        self.ceiling = Ceiling(self.look, self.shed, self.end_largest)

    def look(self):
        return MemoryUse(self.used << 20, 100 << 20, "cgroup memory.high", self.stalled)

    async def shed(self):
        self.diary.append((trio.current_time(), "shed"))

    def end_largest(self, why):
        self.diary.append((trio.current_time(), "end"))
        return self.jobs.pop() if self.jobs else None


@asynccontextmanager
async def watched():
    """Yield a machine that has been looked at once, half a second before the next time."""
    machine = Machine()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(machine.ceiling.watch)
        await trio.sleep(0.5)
        yield machine
        nursery.cancel_scope.cancel()


async def test_with_room_nothing_is_given_up(autojump_clock):
    async with watched() as machine:
        machine.used = 79
        await trio.sleep(100)

        machine.ceiling.admit()

        assert machine.diary == []
        assert machine.ceiling.problems() == ()


async def test_caches_go_first_and_again_while_it_lasts(autojump_clock):
    async with watched() as machine:
        machine.used = 85
        await trio.sleep(25)

        machine.ceiling.admit()

        assert machine.diary == [(1, "shed"), (11, "shed"), (21, "shed")]
        (problem,) = machine.ceiling.problems()
        assert problem.what == "85 of 100 MiB of memory are used (cgroup memory.high): caches are given up"


async def test_then_new_work_is_refused_until_there_is_room_to_spare(autojump_clock):
    async with watched() as machine:
        refused = []
        for machine.used in (91, 86, 84):
            await trio.sleep(2)
            try:
                machine.ceiling.admit()
            except Busy as busy:
                refused.append((machine.used, busy.message))

        assert [used for used, _ in refused] == [91, 86]
        assert refused[0][1].startswith("91 of 100 MiB of memory are used (cgroup memory.high)")


async def test_last_the_largest_job_is_ended_one_at_a_time(autojump_clock):
    async with watched() as machine:
        machine.used = 97
        await trio.sleep(22)

        assert machine.diary == [
            (1, "shed"),
            (2, "end"),
            (11, "shed"),
            (12, "end"),
            (21, "shed"),
            (22, "end"),
        ]


async def test_pressure_sheds_and_refuses_nobody(autojump_clock):
    async with watched() as machine:
        machine.stalled = 30.0
        await trio.sleep(2)

        machine.ceiling.admit()

        assert machine.diary == [(1, "shed")]


async def test_what_was_done_is_logged(autojump_clock, events):
    async with watched() as machine:
        machine.used = 97
        await trio.sleep(3)
        machine.used = 10
        await trio.sleep(3)

        told = [(event["event"], event.get("job_id")) for event in events]
        assert told == [
            ("memory.refusing", None),
            ("memory.shed", None),
            ("memory.job_ended", "j-1"),
            ("memory.relieved", None),
        ]
