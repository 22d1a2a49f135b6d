"""The worker process dying, hanging and being given up: who learns of it, and what is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
import trio.testing

import rlmd
from rlmd.offload import OffloadDied, OffloadError, OffloadTimedOut, open_offload

PYTHON = "builtins:exec"
DAEMON = """
import sys
import trio
from rlmd.offload import open_offload

async def main():
    async with open_offload() as offload:
        print(await offload.call("os:getpid"), flush=True)
        await offload.call("builtins:exec", sys.argv[1])
        await trio.sleep_forever()

trio.run(main)
"""


@pytest.mark.parametrize(
    ("code", "fate"),
    [
        ("import os; os._exit(3)", "exit status 3"),
        ("import os; os.kill(os.getpid(), 9)", "SIGKILL"),
        ("import ctypes; ctypes.string_at(0)", "SIGSEGV"),
    ],
)
async def test_only_the_call_that_killed_the_process_learns_of_it(code, fate):
    async with open_offload() as offload:
        with trio.fail_after(10):
            first = await offload.call("os:getpid")
            with pytest.raises(OffloadDied, match=fate):
                await offload.call(PYTHON, code)
            second = await offload.call("os:getpid")

    assert second != first


async def test_a_waiting_call_survives_the_death_before_it():
    answers = []

    async def ask(offload):
        await trio.testing.wait_all_tasks_blocked()
        answers.append(await offload.call("operator:index", 7))

    async with open_offload() as offload, trio.open_nursery() as nursery:
        nursery.start_soon(ask, offload)
        with trio.fail_after(10), pytest.raises(OffloadDied):
            await offload.call(PYTHON, "import os; os._exit(1)")

    assert answers == [7]


async def test_a_process_killed_while_idle_costs_no_call():
    async with open_offload() as offload:
        with trio.fail_after(10):
            for _ in range(5):  # who notices first, the call or the keeper, is up to the scheduler
                pid = await offload.call("os:getpid")
                os.kill(pid, signal.SIGKILL)
                os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222  # killed a line above

                assert await offload.call("os:getpid") != pid


async def test_a_panic_is_reported_and_the_process_is_not_used_again():
    code = "class PanicException(BaseException): pass\nraise PanicException('out of bounds')"

    async with open_offload() as offload:
        with trio.fail_after(10):
            first = await offload.call("os:getpid")
            with pytest.raises(OffloadError, match="PanicException: out of bounds") as raised:
                await offload.call(PYTHON, code)
            second = await offload.call("os:getpid")

    assert not isinstance(raised.value, OffloadDied)
    assert second != first


async def test_cancelling_a_long_call_returns_at_once_and_leaves_no_process():
    async with open_offload() as offload:
        with trio.fail_after(10):
            pid = await offload.call("os:getpid")
            with trio.move_on_after(0.05) as scope:
                await offload.call("time:sleep", 60)
            late_s = trio.current_time() - scope.deadline
            await wait_until_gone(pid)

            assert await offload.call("os:getpid") != pid

    assert late_s < 0.2  # 80 ms of grace, and the scheduling of a busy machine


async def test_cancelling_a_call_that_is_about_to_end_keeps_the_process():
    async with open_offload() as offload:
        with trio.fail_after(10):
            pid = await offload.call("os:getpid")
            with trio.move_on_after(0.02) as scope:
                await offload.call("time:sleep", 0.04)

            assert scope.cancelled_caught
            assert await offload.call("os:getpid") == pid


async def test_a_call_cancelled_while_it_waits_its_turn_never_runs(tmp_path):
    async with open_offload() as offload, trio.open_nursery() as nursery:
        with trio.fail_after(10):
            nursery.start_soon(offload.call, "time:sleep", 0.1)
            await trio.testing.wait_all_tasks_blocked()
            with trio.move_on_after(0.01):
                await offload.call("os:mkdir", str(tmp_path / "made"))
            await offload.call("os:getpid")

    assert not (tmp_path / "made").exists()


async def test_a_call_over_its_time_is_ended_and_named():
    async with open_offload() as offload:
        with trio.fail_after(10):
            with pytest.raises(OffloadTimedOut, match=r"time:sleep ran for more than 0\.05 s"):
                await offload.call("time:sleep", 60, timeout_s=0.05)

            assert await offload.call("operator:index", 1) == 1


async def test_leaving_the_context_ends_a_call_in_hand():
    fates = []

    async def hang(offload):
        with pytest.raises(OffloadDied):
            await offload.call("time:sleep", 60)
        fates.append("died")

    async with trio.open_nursery() as nursery:
        with trio.fail_after(10):
            async with open_offload() as offload:
                pid = await offload.call("os:getpid")
                nursery.start_soon(hang, offload)
                await trio.testing.wait_all_tasks_blocked()

    assert fates == ["died"]
    assert not exists(pid)


@pytest.mark.parametrize("then_s", [0, 60], ids=["idle", "busy"])
def test_the_process_dies_with_a_daemon_that_was_killed(then_s, tmp_path):
    called = tmp_path / "called"
    call = f"import pathlib, time; pathlib.Path({str(called)!r}).touch(); time.sleep({then_s})"
    with subprocess.Popen(
        [sys.executable, "-c", DAEMON, call],
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": str(Path(rlmd.__file__).parents[1])},
    ) as daemon:
        child = int(daemon.stdout.readline())
        wait_until(called.exists)

        daemon.kill()

    wait_until(lambda: not is_running(child))


@pytest.mark.slow
async def test_the_process_outlives_the_threads_of_the_pool():
    """The kernel's death signal follows the thread that forked; pool threads end after 10 s idle."""
    async with open_offload() as offload:
        with trio.fail_after(30):
            pid = await offload.call("os:getpid")
            await trio.sleep(12)

            assert await offload.call("os:getpid") == pid


class CancelAt(trio.abc.Instrument):
    """Cancels its scope before the n-th step that any task takes."""

    def __init__(self, step):
        self.left, self.scope = step, trio.CancelScope()

    def before_task_step(self, task):
        self.left -= 1
        if self.left == 0:
            self.scope.cancel()


@pytest.mark.slow
def test_a_cut_at_any_step_leaves_no_process_and_the_next_call_its_own_answer():
    async def scenario(knife):
        async with open_offload() as offload:
            with trio.fail_after(10), knife.scope:
                await offload.call("builtins:bytes", bytes(1 << 20))
                await offload.call("operator:index", 2)
            with trio.fail_after(10):
                assert await offload.call("operator:index", 3) == 3

    before = children()  # other tests' programs may be ours by inheritance
    step, knife = 0, CancelAt(1)
    while knife.left <= 0 or step == 0:
        step += 1
        knife = CancelAt(step)
        trio.run(scenario, knife, instruments=[knife])
        assert children() <= before, f"cut at step {step}"

    assert step > 20  # the scenario was cut, not skipped


def children() -> set[str]:
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def is_running(pid: int) -> bool:
    """Whether *pid* runs; an orphan nobody has reaped yet counts as dead."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def wait_until_gone(pid: object) -> None:
    while exists(pid):  # noqa: ASYNC110  # nobody is told when a process is reaped
        await trio.sleep(0.01)


def exists(pid: object) -> bool:
    return Path(f"/proc/{pid}").exists()


def wait_until(is_so: Callable[[], bool], limit_s: float = 10) -> None:
    deadline = time.monotonic() + limit_s
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)
