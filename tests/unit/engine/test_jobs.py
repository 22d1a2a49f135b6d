"""Who may end a job, and who merely stops waiting for it."""

import outcome
import pytest
import trio
import trio.testing

from rlmd.engine.jobs import Jobs
from rlmd.errors import Busy
from rlmd.values import Progress, ignore_progress


def work_of(seconds, ends=None):
    async def work(report):
        try:
            report(Progress("walk", 1))
            await trio.sleep(seconds)
            return seconds
        finally:
            if ends is not None:
                ends.append(trio.current_time())

    return work


async def test_a_waiter_gets_the_outcome_and_the_progress(autojump_clock, nursery):
    jobs, seen = Jobs(nursery, most=4), []

    job = jobs.start("q", work_of(3))

    assert await jobs.wait(job, 9, seen.append)
    assert job.ended == outcome.Value(3)
    assert seen == [Progress("walk", 1)]
    assert (jobs.running, jobs.finished) == (0, 1)


async def test_cancelling_the_only_waiter_ends_the_job(autojump_clock, nursery):
    jobs, ends = Jobs(nursery, most=4), []
    job = jobs.start("q", work_of(99, ends))

    with trio.move_on_after(2):
        await jobs.wait(job, 50, ignore_progress)
    await job.done.wait()

    assert ends == [2]
    assert job.ended is None


async def test_a_job_lives_while_anybody_still_waits_for_it(autojump_clock, nursery):
    jobs = Jobs(nursery, most=4)
    job = jobs.start("q", work_of(10))
    nursery.start_soon(jobs.wait, job, 50, ignore_progress)
    await trio.testing.wait_all_tasks_blocked()

    with trio.move_on_after(2):
        await jobs.wait(job, 50, lambda _: None)
    await job.done.wait()

    assert job.ended == outcome.Value(10)


async def test_a_wait_that_runs_out_leaves_the_job_running(autojump_clock, nursery):
    jobs = Jobs(nursery, most=4)
    job = jobs.start("q", work_of(10))

    assert not await jobs.wait(job, 1, ignore_progress)
    with trio.move_on_after(1):
        await jobs.wait(job, 50, ignore_progress)
    await job.done.wait()

    assert trio.current_time() == 10
    assert job.ended == outcome.Value(10)


async def test_equal_questions_share_a_running_job_and_not_a_finished_one(autojump_clock, nursery):
    jobs = Jobs(nursery, most=4)

    first, second = jobs.start("q", work_of(1)), jobs.start("q", work_of(1))
    await jobs.wait(first, 9, ignore_progress)
    third = jobs.start("q", work_of(1))
    await jobs.wait(third, 9, ignore_progress)

    assert first is second
    assert third is not first


async def test_a_failed_job_keeps_its_error_and_harms_nobody(autojump_clock, nursery):
    async def broken(_):
        raise OSError("disk on fire")

    jobs = Jobs(nursery, most=4)
    job = jobs.start("q", broken)

    assert await jobs.wait(job, 9, ignore_progress)
    with pytest.raises(OSError, match="disk on fire"):
        job.ended.unwrap()


async def test_one_job_too_many_is_refused(autojump_clock, nursery):
    jobs = Jobs(nursery, most=1)
    job = jobs.start("q", work_of(1))

    with pytest.raises(Busy):
        jobs.start("other", work_of(1))
    await jobs.wait(job, 9, ignore_progress)


async def test_only_jobs_that_somebody_waits_for_outlive_a_shutdown(autojump_clock, nursery):
    jobs = Jobs(nursery, most=4)
    heard, unheard = jobs.start("heard", work_of(10)), jobs.start("unheard", work_of(10))
    long = jobs.start("long", work_of(40))
    for job in (heard, long):
        nursery.start_soon(jobs.wait, job, 50, ignore_progress)
    await trio.testing.wait_all_tasks_blocked()

    jobs.wind_up(20)
    await unheard.done.wait()
    unheard_at = trio.current_time()
    await long.done.wait()

    assert heard.ended == outcome.Value(10)
    assert unheard.ended is long.ended is None
    assert (unheard_at, trio.current_time()) == (0, 20)


async def test_a_job_that_starts_while_the_others_wind_up_ends_with_them(autojump_clock, nursery):
    jobs = Jobs(nursery, most=4)
    jobs.wind_up(20)

    job = jobs.start("late", work_of(40))
    await jobs.wait(job, 50, ignore_progress)

    assert (job.ended, trio.current_time()) == (None, 20)
