"""Nothing that an armed attacker tries in a cell reaches anything; and the attacks can tell."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from redteam.arena import REASONS_OF_NOTHING, armed, attacks, open_arena, run
from rlmd.errors import SandboxUnavailable
from rlmd.sandbox.requests import Exec

pytestmark = pytest.mark.skipif(
    platform.machine() not in {"x86_64", "aarch64"}, reason="the sandbox knows no other machine"
)

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
SYSCALLS, WITHOUT, NAMED = (
    json.loads((HERE / f"{name}.json").read_text()) for name in ("syscalls", "without", "named")
)
"""The system calls with arguments that do no harm; by the layers that are dropped, the attacks that then
succeed; and by the kinds of attack that the sandbox was asked to stand, those of each kind."""
NOBODY = 65534
OF_OTHER_PROGRAMS = {"file_host_tool", "file_rg_tool"}
"""They name tools of another program; `api_read_absolute` and `api_grep_tree` try ours."""
SWALLOWED = {"file_import_path", "import_reload"}
"""The import system calls what it may not read a missing module; both succeed where the locks are open."""
CALLING = """
import ctypes, os
lib = ctypes.CDLL(None, use_errno=True)
for name, (_, number, *args) in %r.items():
    args = [ctypes.c_long(%d if each == 'PPID' else each) for each in args]
    pid = os.getpid()
    result = lib.syscall(ctypes.c_long(number), *args)
    if os.getpid() != pid: os._exit(0)
    if result != -1 or ctypes.get_errno() != 1: print(name)
"""
SEEN_BY_THE_PROOF = {"openat", "newfstatat"}
"""The process tries these itself and refuses to run anything."""
END_OR_WAIT = {"ppoll", "select"}
"""With nothing to wait for, they wait for ever."""
FORBIDDEN_ANYWAY = {"kill", "tkill", "tgkill", "kcmp", "setsid"}
"""Landlock scopes signals, a process that cannot be dumped is not compared, a leader leads already."""
REPRESENTATIVE = (
    "file_open", "file_stat_probe", "env_os", "net_udp_dns", "proc_subprocess", "signal_victim", "mmap_exec",
    "time_ignore_sigint", "wire_forge_two", "call_flood", "pack_mremap_grow", "bring_beyond",
)  # fmt: skip


async def test_representative_attacks_reach_nothing():
    verdicts = await run(REPRESENTATIVE)

    assert [verdict for verdict in verdicts if verdict.reached] == []
    assert vacuous(verdicts) == []


@pytest.mark.slow
async def test_no_attack_reaches_anything():
    verdicts = await run(list(attacks()))

    assert [verdict for verdict in verdicts if verdict.reached] == []
    assert vacuous(verdicts) == []


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_no_attack_reaches_anything_for_an_ordinary_user():
    verdicts = as_an_ordinary_user(list(attacks()))

    assert len(verdicts) == len(attacks())
    assert [verdict for verdict in verdicts if verdict["reached"]] == []


@pytest.mark.slow
@pytest.mark.parametrize("dropped", WITHOUT)
def test_without_a_layer_its_own_attacks_succeed(dropped):
    """The red team can fail: what a layer stops, reaches what it aims at where that layer is dropped."""
    verdicts = as_an_ordinary_user(WITHOUT[dropped], dropped.split())

    assert [verdict["id"] for verdict in verdicts if not verdict["reached"]] == []
    assert len(verdicts) == len(WITHOUT[dropped])


def test_with_all_locks_open_more_succeed_than_were_asked_for_and_every_layer_has_its_own():
    alone = {layer: set(WITHOUT[layer]) for layer in ("rlimit", "seccomp", "environment", "budgets")}
    landlocks = set(WITHOUT["landlock seccomp"]) - set(WITHOUT["seccomp"])

    assert len(WITHOUT["rlimit landlock seccomp"]) >= 25
    assert all(alone.values())
    assert landlocks
    assert set().union(*WITHOUT.values()) <= set(attacks())


async def test_the_red_team_notices_a_lock_that_is_open():
    verdicts = await run(("file_stat_probe", "mmap_exec"), ("seccomp",))

    assert all(verdict.reached for verdict in verdicts)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers are those of x86_64")
async def test_no_system_call_of_any_class_is_let_through():
    assert await calls_let_through() == []


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers are those of x86_64")
async def test_a_hole_in_the_list_of_calls_would_be_noticed():
    """Each call of the table is let through in turn, and then does something else than fail with EPERM.

    What does not is named, and why.
    """
    told = {name: await told_of_the_call(name) for name in SYSCALLS}

    assert {name for name, how in told.items() if how == "EPERM"} <= FORBIDDEN_ANYWAY
    assert {name for name, how in told.items() if how == "unsafe"} == SEEN_BY_THE_PROOF
    assert {name for name, how in told.items() if how == "ended"} <= END_OR_WAIT


async def told_of_the_call(name):
    """Return what came of a call that is let through: the process was told "unsafe", it "ended", or what."""
    code = CALLING % ({name: SYSCALLS[name]}, os.getpid())
    async with open_arena(extra_calls=[SYSCALLS[name][1]]) as arena:
        try:
            result = await arena.box.ask(Exec(code=code, content=arena.content, timeout_s=2))
        except SandboxUnavailable:
            return "unsafe"
    if result.killed or result.error:
        return "ended"
    return "reached" if result.stdout.split() else "EPERM"


async def calls_let_through():
    """Return the calls of the table that did something other than fail with EPERM."""
    async with open_arena() as arena:
        code = CALLING % (SYSCALLS, os.getpid())
        result = await arena.box.ask(Exec(code=code, content=arena.content, timeout_s=20))
    assert (result.error, result.killed) == (None, None)
    return result.stdout.split()


def test_an_armed_process_has_the_weapons_at_hand():
    assert "import ctypes" in armed()
    assert "tools=True" in armed()


def test_there_are_as_many_attacks_as_were_asked_for_and_of_every_kind():
    known = attacks()

    assert len(known) >= 52 + 60
    assert all(NAMED.values())
    assert set().union(*NAMED.values()) <= set(known)


def vacuous(verdicts):
    return [
        verdict
        for verdict in verdicts
        if verdict.told.startswith(REASONS_OF_NOTHING) and verdict.id not in OF_OTHER_PROGRAMS | SWALLOWED
    ]


def as_an_ordinary_user(ids, without=()):
    """Run the arena in a process of its own, as nobody where we are root."""
    paths = [
        str(ROOT / "daemon"),
        str(ROOT / "tests"),
        *(path for path in sys.path if "site-packages" in path),
    ]
    program = (
        f"import runpy, sys; sys.path[:0] = {paths!r}; runpy.run_module('redteam.arena', run_name='__main__')"
    )
    identity = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    ran = subprocess.run(
        [interpreter(identity), "-B", "-c", program],
        input=json.dumps({"ids": list(ids), "without": list(without)}),
        stdout=subprocess.PIPE, text=True, check=True, timeout=900, cwd="/", env={"PATH": "/usr/bin:/bin"},
        **identity,
    )  # fmt: skip
    return [json.loads(line) for line in ran.stdout.splitlines() if line.startswith('{"id"')]


def interpreter(identity):
    """Return an interpreter of this version that the other user may start, or skip."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for candidate in (sys.executable, f"/usr/bin/{version}", shutil.which(version)):
        if candidate is None:
            continue
        try:
            subprocess.run([candidate, "-c", ""], check=True, cwd="/", **identity)
        except (OSError, subprocess.CalledProcessError):
            continue
        return candidate
    pytest.skip("no interpreter that an ordinary user may start")
