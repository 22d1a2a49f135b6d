"""A job whose patience runs out is cut short where it can be, and nowhere else."""

import trio

from rlmd.engine.jobs import Jobs
from rlmd.engine.patience import Patience, of_job, patience, while_patient
from rlmd.values import ignore_progress


async def test_what_can_be_cut_short_is_and_the_rest_goes_on(autojump_clock, nursery):
    jobs = Jobs(nursery, most=4)

    async def work(_):
        with while_patient() as first:
            await trio.sleep(60)
        await trio.sleep(1)  # to answer from what there is takes a moment
        with while_patient() as second:
            await trio.sleep(60)
        return first.cancelled_caught, second.cancelled_caught, patience().why

    job = jobs.start("key", work)
    await trio.sleep(5)
    ended = jobs.end_largest("no room")
    await jobs.wait(job, 100, ignore_progress)

    assert ended == job.id
    assert job.ended.unwrap() == (True, True, "no room")
    assert trio.current_time() == 6


async def test_the_largest_is_ended_first_and_nobody_twice(autojump_clock, nursery):
    jobs = Jobs(nursery, most=4)

    async def work(size, _):
        patience().bytes = size
        with while_patient():
            await trio.sleep_forever()
        await trio.sleep(10)

    names = {}
    for size in (5, 50, 20):
        names[size] = jobs.start(size, lambda report, size=size: work(size, report)).id
    await trio.sleep(1)

    assert [jobs.end_largest("no room") for _ in range(4)] == [names[50], names[20], names[5], None]


async def test_a_deadline_cuts_short_without_any_job(autojump_clock):
    with while_patient(deadline=3):
        await trio.sleep_forever()

    assert trio.current_time() == 3


async def test_tasks_of_a_job_share_its_patience(autojump_clock):
    its = Patience()
    with of_job(its):
        async with trio.open_nursery() as nursery:

            async def child():
                with while_patient():
                    await trio.sleep_forever()

            nursery.start_soon(child)
            await trio.sleep(1)
            its.run_out("no room")
            its.run_out("again")

    assert (trio.current_time(), its.why) == (1, "no room")
