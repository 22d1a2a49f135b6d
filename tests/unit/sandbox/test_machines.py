"""Where code can be confined, what is said elsewhere, and that the numbers are the kernel's own."""

from __future__ import annotations

import ast
import os
import re
import sys
from pathlib import Path

import pytest

import rlmd
from rlmd.errors import SandboxUnavailable
from rlmd.sandbox import confine, machines
from rlmd.sandbox.machines import CALLS, obstacle
from rlmd.sandbox.process import Process
from rlmd.sandbox.requests import Describe
from sandbox_world import open_sandbox

HEADERS = {
    "x86_64": ("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/include/asm/unistd_64.h"),
    "aarch64": ("/usr/include/asm-generic/unistd.h",),
}
"""Where the numbers of a machine stand; aarch64 has those of asm-generic, as its own unistd.h says."""
DEFINED = re.compile(r"^#define __NR(?:3264)?_(\w+)\s+(\d+)$", re.MULTILINE)


class Elsewhere:
    """What uname tells on a machine of another kind."""

    machine = "riscv64"


@pytest.mark.parametrize("machine", CALLS)
def test_the_numbers_are_those_of_the_kernels_headers(machine):
    header = next((Path(path) for path in HEADERS[machine] if Path(path).exists()), None)
    if header is None:
        pytest.skip("the kernel's headers are not installed here")

    numbers = {name: int(number) for name, number in DEFINED.findall(header.read_text())}

    assert {name: numbers[name] for name in CALLS[machine]} == CALLS[machine]


def test_here_code_can_be_confined():
    if sys.platform != "linux" or os.uname().machine not in CALLS:
        pytest.skip("not on this machine")

    assert obstacle() is None


@pytest.fixture(params=["darwin", "win32", "riscv64", "a 32-bit Python", "a Python without pidfd"])
def elsewhere(request, monkeypatch):
    """Be, as far as Python can tell, a system that cannot confine code."""
    match request.param:
        case "riscv64":
            monkeypatch.setattr(machines.os, "uname", Elsewhere)
        case "a 32-bit Python":
            monkeypatch.setattr(machines.sys, "maxsize", (1 << 31) - 1)
        case "a Python without pidfd":
            monkeypatch.delattr(machines.os, "pidfd_open")
        case platform:
            monkeypatch.setattr(machines.sys, "platform", platform)
    return request.param


def test_elsewhere_it_is_said_in_a_sentence_that_names_the_system(elsewhere):
    said = obstacle()

    assert said.endswith("everything else of rlmd works here")
    assert elsewhere.split()[-1].removesuffix("fd") in said


def test_elsewhere_no_process_is_started(elsewhere, monkeypatch):
    monkeypatch.setattr("subprocess.Popen", None)

    with pytest.raises(SandboxUnavailable, match="Code cannot be confined here"):
        Process()


def test_elsewhere_the_child_itself_refuses(elsewhere):
    with pytest.raises(confine.Unconfined, match="everything else"):
        confine.lock(memory_bytes=1, cpu_s=1)


@pytest.mark.real_io
async def test_elsewhere_every_cell_is_refused_and_status_says_why(elsewhere):
    async with open_sandbox() as sandbox:
        with pytest.raises(SandboxUnavailable) as refused:
            await sandbox.run("print('ran')")
        described = await sandbox.box.ask(Describe())

    assert described.problem in refused.value.message
    assert not described.facts.available


def test_code_is_executed_in_one_place_and_that_is_behind_the_locks():
    """No fallback: nothing in the whole package calls `exec` or `eval` but the confined process."""
    package = Path(rlmd.__file__).parent
    calls = {
        str(file.relative_to(package))
        for file in package.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"exec", "eval"}
    }

    assert calls == {"sandbox/cell.py"}
