"""The filter, read by a small interpreter of its language: no process needed to see what it allows."""

import struct

import pytest

from rlmd.sandbox.confine import ALLOW, KILL, REFUSE, program
from rlmd.sandbox.machines import AUDIT_ARCH, CALLS

EXECUTABLE, SHARED = 4, 1


def verdict(code, number, *, machine="x86_64", arguments=()):
    """Run the program over one call, as bpf(4) says."""
    steps = [struct.unpack("HBBI", code[at : at + 8]) for at in range(0, len(code), 8)]
    data = struct.pack("iIQ6Q", number, AUDIT_ARCH[machine], 0, *(list(arguments) + [0] * 6)[:6])
    at, held = 0, 0
    while True:
        kind, then, orelse, value = steps[at]
        at += 1
        match kind:
            case 0x20:
                (held,) = struct.unpack_from("I", data, value)
            case 0x15:
                at += then if held == value else orelse
            case 0x45:
                at += then if held & value else orelse
            case 0x06:
                return value


@pytest.mark.parametrize("machine", CALLS)
def test_only_the_list_is_allowed(machine):
    code = program(machine)

    allowed = {number for number in range(600) if verdict(code, number, machine=machine) == ALLOW}

    assert allowed == set(CALLS[machine].values())
    assert verdict(code, 0x40000000 | CALLS[machine]["read"], machine=machine) == REFUSE


@pytest.mark.parametrize("machine", CALLS)
def test_a_call_of_another_architecture_kills(machine):
    other = next(name for name in CALLS if name != machine)

    assert verdict(program(machine), 0, machine=other) == KILL


@pytest.mark.parametrize("machine", CALLS)
def test_no_memory_becomes_executable_or_shared(machine):
    code, calls = program(machine), CALLS[machine]

    def mapped(prot, flags):
        return verdict(code, calls["mmap"], machine=machine, arguments=(0, 4096, prot, flags))

    assert mapped(3, 2) == ALLOW
    assert {mapped(EXECUTABLE, 2), mapped(7, 2), mapped(1, SHARED), mapped(1, 3)} == {REFUSE}
    assert verdict(code, calls["mprotect"], machine=machine, arguments=(0, 1, EXECUTABLE)) == REFUSE


@pytest.mark.parametrize(
    "name",
    [
        "openat",
        "socket",
        "clone",
        "fork",
        "execve",
        "kill",
        "ptrace",
        "io_uring_setup",
        "memfd_create",
        "prctl",
    ],
)
@pytest.mark.parametrize("machine", CALLS)
def test_nothing_that_reaches_out_is_on_a_list(machine, name):
    assert name not in CALLS[machine]
