"""What callers of the worker process may rely on while it lives."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import trio
import trio.testing

from rlmd import values
from rlmd.offload import OffloadError, open_offload
from rlmd.offload_child import OOM_SCORE

pytestmark = pytest.mark.real_io

IN_THE_CHILD = "builtins:eval"


async def test_a_call_runs_in_another_process_and_the_next_one_in_the_same():
    async with open_offload() as offload:
        with trio.fail_after(10):
            first = await offload.call("os:getpid")
            second = await offload.call("os:getpid")

        assert first == second == offload.pid != os.getpid()


async def test_no_process_runs_before_the_first_call():
    async with open_offload() as offload:
        assert offload.pid is None


async def test_calls_are_served_in_the_order_they_came():
    served = []

    async def ask(offload, number):
        served.append(await offload.call("operator:index", number))

    async with open_offload() as offload, trio.open_nursery() as nursery:
        with trio.fail_after(10):
            for number in range(5):
                nursery.start_soon(ask, offload, number)
                await trio.testing.wait_all_tasks_blocked()

    assert served == [0, 1, 2, 3, 4]


async def test_an_exception_comes_back_as_itself_with_the_other_sides_traceback():
    async with open_offload() as offload:
        with trio.fail_after(10), pytest.raises(ZeroDivisionError, match="by zero") as raised:
            await offload.call("operator:floordiv", 1, 0)

        assert "Traceback" in raised.value.__notes__[0]
        with trio.fail_after(10):
            assert await offload.call("operator:floordiv", 6, 3) == 2


async def test_an_exception_that_does_not_survive_pickling_comes_back_as_its_text():
    code = "class Odd(Exception): pass\nraise Odd('only here')"

    async with open_offload() as offload:
        with trio.fail_after(10), pytest.raises(OffloadError, match="Odd: only here"):
            await offload.call("builtins:exec", code)


async def test_a_result_that_does_not_pickle_is_an_error_and_the_process_goes_on():
    async with open_offload() as offload:
        with trio.fail_after(10):
            pid = await offload.call("os:getpid")
            with pytest.raises(TypeError, match="pickle"):
                await offload.call("threading:Lock")

        assert offload.pid == pid


async def test_a_function_that_does_not_exist_is_an_error_that_names_it():
    async with open_offload() as offload:
        with trio.fail_after(10), pytest.raises(AttributeError, match="no_such"):
            await offload.call("os:no_such")


async def test_the_process_sees_none_of_the_daemons_environment(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")

    async with open_offload() as offload:
        with trio.fail_after(10):
            names = await offload.call(IN_THE_CHILD, "set(__import__('os').environ)")

    assert names <= {"LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "TMPDIR"}


async def test_the_process_imports_what_the_daemon_imports():
    async with open_offload() as offload:
        with trio.fail_after(10):
            found = await offload.call(IN_THE_CHILD, "__import__('rlmd.values').values.__file__")

    assert found == values.__file__


async def test_the_process_gives_way_to_the_daemon_and_hears_no_ctrl_c():
    async with open_offload() as offload:
        with trio.fail_after(10):
            pid = await offload.call("os:getpid")
            niceness = await offload.call("os:nice", 0)
            session = await offload.call("os:getsid", 0)

        assert niceness == os.nice(0) + 5
        assert session == pid != os.getsid(0)
        assert oom_score(pid) == OOM_SCORE


async def test_large_arguments_and_results_leave_the_loop_running():
    longest = 0.0

    async def watch():
        nonlocal longest
        last = time.perf_counter()
        while True:
            await trio.sleep(0.001)
            now = time.perf_counter()
            longest, last = max(longest, now - last), now

    blob = bytes(32 << 20)
    async with open_offload() as offload, trio.open_nursery() as nursery:
        with trio.fail_after(20):
            await offload.call("os:getpid")
            nursery.start_soon(watch)
            length = len(await offload.call("builtins:bytes", blob))
        nursery.cancel_scope.cancel()

    assert length == len(blob)
    assert longest < 0.5


async def test_an_idle_process_is_ended_and_the_next_call_starts_another():
    async with open_offload(idle_s=0.05) as offload:
        with trio.fail_after(10):
            first = await offload.call("os:getpid")
            await wait_until_gone(first)
            second = await offload.call("os:getpid")

    assert second != first


async def test_a_call_longer_than_the_idle_time_is_not_cut_short():
    async with open_offload(idle_s=0.02) as offload:
        with trio.fail_after(10):
            pid = await offload.call("os:getpid")
            await offload.call("time:sleep", 0.1)

            assert await offload.call("os:getpid") == pid


async def test_leaving_the_context_reaps_the_process_and_refuses_further_calls():
    async with open_offload() as offload:
        with trio.fail_after(10):
            pid = await offload.call("os:getpid")

    assert not exists(pid)
    with pytest.raises(OffloadError, match="shut down"):
        await offload.call("os:getpid")


async def wait_until_gone(pid: object) -> None:
    while exists(pid):  # noqa: ASYNC110  # nobody is told when a process is reaped
        await trio.sleep(0.01)


def exists(pid: object) -> bool:
    return Path(f"/proc/{pid}").exists()


def oom_score(pid: object) -> int:
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())
