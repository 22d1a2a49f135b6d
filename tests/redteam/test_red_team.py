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

from redteam.arena import ALL_LAYERS, REASONS_OF_NOTHING, armed, attacks, open_arena, run
from rlmd.errors import SandboxUnavailable
from rlmd.sandbox.requests import Exec

pytestmark = pytest.mark.skipif(
    platform.machine() not in {"x86_64", "aarch64"}, reason="the sandbox knows no other machine"
)

ROOT = Path(__file__).parents[2]
SYSCALLS = json.loads(Path(__file__).with_name("syscalls.json").read_text())
NOBODY = 65534
ABSENT_ANYWAY = {"file_host_tool", "file_rg_tool", "file_import_path"}
"""Attacks on what only other programs have, and one that the import system itself calls a missing module."""
REPRESENTATIVE = (
    "file_open", "file_stat_probe", "env_os", "net_udp_dns", "proc_subprocess", "signal_victim", "mmap_exec",
    "time_ignore_sigint", "wire_forge_two", "call_flood", "pack_mremap_grow",
)  # fmt: skip
WITHOUT = {
    (): (
        "file_open", "file_re_walk", "file_os_open_raw", "file_ctypes", "file_fileio_walk", "file_stat_probe",
        "file_write", "file_pathlib", "file_codecs", "file_tokenize", "file_linecache", "file_open_code",
        "file_loader", "file_dir_fd", "file_import_path", "file_listdir", "file_scandir_root", "file_chdir",
        "proc_self_maps", "file_devshm", "file_tempfile", "file_mkdir", "file_mkfifo", "file_link",
        "file_chmod", "posix_system_walk", "pickle_exec", "net_tcp", "net_udp_dns", "net_abstract_unix",
        "net_udp_sendmsg", "net_abstract_dgram", "net_netlink", "net_socketpair", "proc_subprocess",
        "proc_posix_spawn", "proc_thread", "signal_victim", "signal_victim_tgkill", "signal_parent_probe",
        "memfd", "mmap_shared", "mmap_exec", "mprotect_exec", "fd_exhaust",
    ),
    ("landlock", "seccomp"): ("mem_list", "mem_str_mul"),
    ("rlimit", "landlock"): ("file_stat_probe", "mmap_exec", "mprotect_exec", "mmap_shared", "shm_sysv"),
    ("rlimit",): ("file_link", "file_mkdir", "file_mkfifo", "file_chdir", "signal_victim", "file_chmod"),
}  # fmt: skip
"""By the layers that are left: what then succeeds, of which the next layer stops each."""


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
    verdicts = as_an_ordinary_user(list(attacks()), ALL_LAYERS)

    assert len(verdicts) == len(attacks())
    assert [verdict for verdict in verdicts if verdict["reached"]] == []


@pytest.mark.slow
@pytest.mark.parametrize("layers", WITHOUT, ids=lambda layers: "+".join(layers) or "none")
def test_without_a_layer_its_own_attacks_succeed(layers):
    """The red team can fail: where nothing is locked, at least 25 attacks reach what they aim at."""
    verdicts = as_an_ordinary_user(WITHOUT[layers], layers)

    assert [verdict["id"] for verdict in verdicts if not verdict["reached"]] == []


async def test_the_red_team_notices_a_lock_that_is_open():
    verdicts = await run(("file_stat_probe", "mmap_exec"), ("rlimit", "landlock"))

    assert all(verdict.reached for verdict in verdicts)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers are those of x86_64")
async def test_no_system_call_of_any_class_is_let_through():
    assert await calls_let_through() == []


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers are those of x86_64")
async def test_a_hole_in_the_list_of_calls_would_be_noticed():
    """Each call of the table is let through in turn; what the machine itself forbids stays out."""
    unseen = []
    for name, (_, number, *_) in SYSCALLS.items():
        if name not in await calls_let_through([number], only=name):
            unseen.append(name)

    assert len(unseen) < len(SYSCALLS) // 5, unseen


async def calls_let_through(extra=(), only=None):
    """Return the calls of the table that did something other than fail with EPERM."""
    table = {name: call for name, call in SYSCALLS.items() if only in {None, name}}
    code = (
        "import ctypes, os\nlib = ctypes.CDLL(None, use_errno=True)\n"
        f"table = {table!r}\nreached = []\n"
        "for name, (_, number, *args) in table.items():\n"
        "    args = [ctypes.c_long(os_ppid if each == 'PPID' else each) for each in args]\n"
        "    pid = os.getpid()\n"
        "    result = lib.syscall(ctypes.c_long(number), *args)\n"
        "    if os.getpid() != pid: os._exit(0)\n"
        "    if result != -1 or ctypes.get_errno() != 1: reached.append(name)\n"
        "print(*reached)"
    ).replace("os_ppid", str(os.getpid()))
    async with open_arena(extra_calls=extra) as arena:
        try:
            wall_s = 2 if only else 20
            result = await arena.box.ask(Exec(code=code, content=arena.content, timeout_s=wall_s))
        except SandboxUnavailable:
            return [only]  # the process itself noticed, and ran nothing
    if only and (result.killed or result.error):
        return [only]  # it ended the process, or waits for ever
    assert result.error is None
    return result.stdout.split()


def test_an_armed_process_has_the_weapons_at_hand():
    assert "import ctypes" in armed()
    assert "tools=True" in armed()


def test_there_are_as_many_attacks_as_were_asked_for():
    known = attacks()

    assert len(known) >= 52 + 60
    assert {each["category"] for each in known.values()} >= {
        "file-read", "file-write", "network", "process", "kernel", "memory", "cpu", "ipc", "output",
        "sub-calls", "integrity", "content", "daemon", "env", "daemon-memory",
    }  # fmt: skip


def vacuous(verdicts):
    return [
        verdict
        for verdict in verdicts
        if verdict.told.startswith(REASONS_OF_NOTHING) and verdict.id not in ABSENT_ANYWAY
    ]


def as_an_ordinary_user(ids, layers):
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
        input=json.dumps({"ids": list(ids), "layers": list(layers)}),
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
