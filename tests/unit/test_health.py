"""A status comes through whatever its parts are doing."""

from contextlib import asynccontextmanager

import trio

from rlmd.engine.jobs import Jobs
from rlmd.health import Health
from rlmd.llm.meter import Meter
from rlmd.memory.recall import Holdings
from rlmd.sandbox.requests import Description
from rlmd.status import SandboxFacts
from rlmd.supervision import open_supervisor


class Remembering:
    async def holdings(self):
        return Holdings(3, 4096, 0, 0)


@asynccontextmanager
async def health(keep, describe):
    @asynccontextmanager
    async def keeper():
        yield keep

    async with trio.open_nursery() as nursery, open_supervisor(grace=1) as supervisor:
        mailbox = await supervisor.start_concurrent("corpus_keeper", keeper)
        jobs = Jobs(nursery, most=1)
        yield Health(supervisor, mailbox, Remembering(), jobs, trio.Event(), 0.0, Meter(), describe)


async def crash(*_):
    raise OSError("disk on fire")


async def hang(*_):
    await trio.sleep_forever()


async def fine():
    return Description(SandboxFacts(available=True))


async def test_a_part_that_crashes_of_the_question_shows_as_unknown(autojump_clock):
    async with health(crash, fine) as ill:
        status = await ill.status(check=False)

    assert (status.corpora, status.memory.items) == ((), 3)
    assert status.state == "degraded"
    assert [problem.what for problem in status.problems] == ["corpus_keeper crashed: OSError: disk on fire"]


async def test_a_part_that_hangs_is_waited_for_a_moment_only(autojump_clock):
    async with health(hang, hang) as ill:
        status = await ill.status(check=False)

        assert trio.current_time() == 10
        assert "no code can run: its pool does not say how it is" in {each.what for each in status.problems}
