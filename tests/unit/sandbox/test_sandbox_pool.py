"""Sessions by name: how many, for how long, and what of them is shared."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import trio

from rlmd.errors import BadArgument, Busy, NotFound, SandboxUnavailable
from rlmd.sandbox.requests import Describe, Text
from sandbox_world import ScriptedServices, open_sandbox, packed

pytestmark = pytest.mark.real_io


async def test_the_least_recently_used_session_makes_room_and_says_so_later():
    async with open_sandbox(sessions=2) as sandbox:
        first = await sandbox.run("1")
        second = await sandbox.run("2")
        await sandbox.run("1", first.session)
        await sandbox.run("3")

        with pytest.raises(NotFound, match="made room"):
            await sandbox.run("2", second.session)
        assert (await sandbox.run("1", first.session)).error is None


async def test_when_every_session_is_running_the_next_is_refused_at_once():
    started = trio.Event()

    class Hanging(ScriptedServices):
        async def llm_query(self, prompt, model):
            started.set()
            await trio.sleep_forever()
            return ""

    async with open_sandbox(sessions=1) as sandbox, trio.open_nursery() as nursery:

        async def hang():
            await sandbox.run("llm_query('a')", services=Hanging())

        nursery.start_soon(hang)
        await started.wait()
        with pytest.raises(Busy, match="All 1 sessions"):
            await sandbox.run("1")
        nursery.cancel_scope.cancel()


async def test_a_held_session_is_not_ended_to_make_room():
    async with open_sandbox(sessions=1) as sandbox:
        held = await sandbox.run("1", held=True)
        with pytest.raises(Busy):
            await sandbox.run("2")
        await sandbox.run("", held.session, close=True)

        assert (await sandbox.run("2")).stdout == "2\n"


async def test_an_idle_session_ends_and_says_so():
    async with open_sandbox(idle_s=0.05) as sandbox:
        told = await sandbox.run("1")
        await trio.sleep(0.2)

        with pytest.raises(NotFound, match=r"idle for 0\.05 s; its variables are lost"):
            await sandbox.run("1", told.session)


async def test_an_unknown_session_and_content_for_an_old_one_are_refused():
    async with open_sandbox() as sandbox:
        with pytest.raises(NotFound, match="no such session"):
            await sandbox.run("1", "s-nonsense")
        told = await sandbox.run("1")
        with pytest.raises(BadArgument, match="keeps the content"):
            await sandbox.run("1", told.session, content=Text("x"))


async def test_two_sessions_of_one_snapshot_share_its_contents(tmp_path):
    def copies():
        links = [os.readlink(fd) for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()]
        return sum("rlmd-session" in link for link in links)

    content = packed(tmp_path, {"a": b"x" * 5000})
    async with open_sandbox() as sandbox:
        await sandbox.box.ask(Describe())  # answered when its own proof is over
        first = await sandbox.run("1", content=content)
        second = await sandbox.run("1", content=content)
        shared = copies()
        await sandbox.run("", first.session, close=True)
        left = copies()
        await sandbox.run("", second.session, close=True)

        assert (shared, left, copies()) == (3, 3, 0)  # to read, the table, to write


async def test_a_process_that_cannot_be_locked_runs_nothing():
    unsafe = """
import os, sys
sys.path.append(sys.argv[1])
from rlmd.sandbox import child, confine
calls = confine.CALLS[os.uname().machine]
calls |= {"openat": {"x86_64": 257, "aarch64": 56}[os.uname().machine]}
child.main(int(sys.argv[2]))
"""

    async with open_sandbox(program=unsafe, warm=0) as sandbox:
        with pytest.raises(SandboxUnavailable, match="could still be reached"):
            await sandbox.run("print('ran')")
        described = await sandbox.box.ask(Describe())

    assert not described.facts.available
    assert "could still be reached" in described.problem


async def test_status_says_which_locks_hold():
    async with open_sandbox() as sandbox:
        await sandbox.run("1")
        described = await sandbox.box.ask(Describe())

    facts = described.facts
    assert (facts.available, described.problem) == (True, None)
    assert {layer.partition("-")[0] for layer in facts.layers} >= {"rlimit", "seccomp"}
    assert facts.sessions == 1


async def test_a_run_can_be_repeated():
    code = "import random\nprint(random.random(), list({'a', 'b', 'c', 'd'}), hash('x'))"

    async with open_sandbox() as sandbox:
        first = await sandbox.run(code)
        second = await sandbox.run(code)

    assert first.stdout == second.stdout


async def test_the_process_has_no_environment_and_one_descriptor(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    code = "import os\nprint(sorted(os.environ))\nx = llm_query('wait')"
    seen = []

    class Looking(ScriptedServices):
        async def llm_query(self, prompt, model):
            seen.extend(descriptors_of_children())
            return ""

    async with open_sandbox(warm=0) as sandbox:
        await sandbox.run("1", close=True)
        told = await sandbox.run(code, services=Looking())

    assert set(json.loads(told.stdout.replace("'", '"'))) <= {"PYTHONHASHSEED", "LC_CTYPE"}
    if os.geteuid() == 0:  # others may not look into a process that cannot be dumped
        assert ["/dev/null", "/dev/null", "/dev/null", "socket"] in seen


def descriptors_of_children():
    for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
        yield sorted(os.readlink(fd).partition(":")[0] for fd in Path(f"/proc/{pid}/fd").iterdir())
