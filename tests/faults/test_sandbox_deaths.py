"""The confined process dying, hanging and being given up; the daemon dying; and what is left."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import trio

import rlmd
from rlmd.errors import NotFound
from rlmd.sandbox.requests import Exec, Text
from sandbox_world import SMALL, ScriptedServices, open_sandbox, packed

DAEMON = """
import sys
import trio
from rlmd.sandbox.pool import sandbox_pool
from rlmd.sandbox.requests import Exec, Limits
from rlmd.supervision import open_supervisor

async def main():
    async with open_supervisor(grace=1) as supervisor, trio.open_nursery() as nursery:
        box = await supervisor.start_concurrent("sandbox_pool", sandbox_pool(Limits()))
        first = await box.ask(Exec(code="1"))
        print("up", flush=True)
        await box.ask(Exec(code=sys.argv[1], session=first.session, timeout_s=60))

trio.run(main)
"""


@pytest.mark.parametrize(
    ("code", "fate"),
    [
        ("import os; os._exit(3)", "the process died: exit status 3"),
        ("import os; os.abort()", "the process died: SIGSEGV"),  # it may not even signal itself
        (
            "import sys; sys.setrecursionlimit(10**9)\nclass C:\n    def __repr__(s): return repr(s)\nC()",
            "SIGSEGV",
        ),
    ],
)
async def test_a_death_is_told_and_the_session_begins_anew(code, fate):
    async with open_sandbox() as sandbox:
        told = await sandbox.run("x = 1\n" + code)
        after = await sandbox.run("'x' in globals()", told.session)

    assert fate in told.killed
    assert after.stdout == "False\n"


async def test_a_process_killed_between_cells_ends_its_session_and_says_why():
    async with open_sandbox(warm=0) as sandbox:
        told = await sandbox.run("import os; print(os.getpid())")
        os.kill(int(told.stdout), signal.SIGKILL)
        os.waitid(os.P_PID, int(told.stdout), os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222  # killed a line above

        with pytest.raises(NotFound, match="SIGKILL"):
            await sandbox.run("1", told.session)


async def test_used_up_processor_time_is_told():
    async with open_sandbox(replace(SMALL, cpu_s=1)) as sandbox:
        told = await sandbox.run("while True: pass", timeout_s=20)

    assert told.killed == "processor time is used up"


async def test_cancelling_the_caller_kills_at_once_and_ends_the_session():
    """A cell that swallows everything is dead within 100 ms, and a call that it made is cancelled."""
    services = ScriptedServices(wait_s=60)
    code = "import os; print(os.getpid())"

    async with open_sandbox(warm=0) as sandbox:
        told = await sandbox.run(code)
        pid = int(told.stdout)
        with trio.move_on_after(0.3) as scope:
            await sandbox.run(
                "f = llm_query_async('x')\nwhile True:\n  try: f.result()\n  except BaseException: pass",
                told.session,
                services=services,
            )
        late_s = trio.current_time() - scope.deadline
        with trio.fail_after(0.2):
            while is_alive(pid):  # noqa: ASYNC110  # nobody is told when a process is reaped
                await trio.sleep(0.005)
        with pytest.raises(NotFound, match="cancelled"):
            await sandbox.run("1", told.session)

    assert late_s < 0.2  # 100 ms, and the scheduling of a busy machine
    assert services.running == 0


async def test_a_service_that_breaks_crashes_the_request_and_not_the_pool():
    class Broken(ScriptedServices):
        async def llm_query(self, prompt, model):
            raise OSError("our fault")

    async with open_sandbox() as sandbox:
        with pytest.raises(Exception, match="sandbox_pool") as raised:
            await sandbox.run("llm_query('x')", services=Broken())
        assert (await sandbox.run("1")).stdout == "1\n"

    assert isinstance(raised.value.__cause__, OSError)


async def test_a_reply_that_nobody_reads_costs_the_session_nothing():
    class Long(ScriptedServices):
        async def llm_query(self, prompt, model):
            return "x" * (3 << 20)

    async with open_sandbox() as sandbox:
        told = await sandbox.run("f = llm_query_async('x')", services=Long())
        after = await sandbox.run("print(1)\nf.result()", told.session, services=Long())
        asked = await sandbox.run("len(llm_query('x'))", told.session, services=Long())

    assert "has ended, and its calls with it" in after.error
    assert asked.stdout == f"{3 << 20}\n"


@pytest.mark.parametrize("code", ["while True: pass", "import time; time.sleep(60)", "llm_query"], ids=repr)
def test_no_process_survives_the_daemon_though_it_is_killed(code):
    """Each would outlive its parent: the kernel ends them, and warm ones that only wait."""
    with subprocess.Popen(
        [sys.executable, "-c", DAEMON, code],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(rlmd.__file__))},
    ) as daemon:
        assert daemon.stdout is not None
        assert daemon.stdout.readline() == b"up\n"
        children = Path(f"/proc/{daemon.pid}/task/{daemon.pid}/children").read_text().split()
        daemon.kill()
        daemon.wait()
        deadline = time.monotonic() + 5
        while living := [pid for pid in children if is_alive(pid)]:
            assert time.monotonic() < deadline, living
            time.sleep(0.01)

    assert children


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.mark.parametrize("rounds", [16, pytest.param(200, marks=pytest.mark.slow)])
async def test_sessions_opened_used_and_cancelled_at_random_leave_nothing(tmp_path, rounds):
    rng = random.Random(rounds)
    content = packed(tmp_path, {"a": b"text\n" * 1000})
    cells = [
        "1 + 1",
        "grep('text')",
        "llm_query('x')",
        "while True: pass",
        "import os; os.abort()",
        "x = bytes(9**7)",
    ]
    before = census()

    async with open_sandbox(replace(SMALL, cpu_s=5), warm=1) as sandbox:

        async def use(number):
            with trio.move_on_after(rng.choice([0.01, 0.1, 0.3, 9])):
                source = rng.choice([content, Text("x" * 9999), None])
                request = Exec(
                    code=rng.choice(cells), content=source, timeout_s=0.2, close=rng.random() < 0.5,
                    services=ScriptedServices(wait_s=0.02),
                )  # fmt: skip
                await sandbox.box.ask(request)

        for at in range(0, rounds, 4):
            async with trio.open_nursery() as nursery:
                for number in range(at, at + 4):
                    nursery.start_soon(use, number)
        assert (await sandbox.run("1", close=True)).stdout == "1\n"

    assert census() == before


def census():
    """Count what a leak would show in: descriptors and children."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return len(os.listdir("/proc/self/fd")), len(children)
