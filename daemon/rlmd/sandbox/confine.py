"""Three locks on the process that calls: rlimits, Landlock, a seccomp allow-list; none can be undone.

Where `machines` has no list of calls `lock` refuses.  What is not on the list fails with EPERM,
which Python code sees as PermissionError.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import struct
from collections.abc import Iterable
from pathlib import Path

from rlmd.sandbox.machines import AUDIT_ARCH, CALLS, obstacle

LAYERS = ("rlimit", "landlock", "seccomp")

PROT_EXEC, MAP_SHARED = 4, 1
FORBIDDEN_BITS = {"mmap": ((2, PROT_EXEC), (3, MAP_SHARED)), "mprotect": ((2, PROT_EXEC),)}
"""By call: argument and bits that it must not have; shared memory outlives what RLIMIT_AS counts."""

LOAD, EQUAL, ANY_BIT, RETURN = 0x20, 0x15, 0x45, 0x06  # bpf(4): ld abs, jeq, jset, ret
ALLOW, REFUSE, KILL = 0x7FFF0000, 0x00050001, 0x80000000  # seccomp(2); REFUSE carries EPERM
AT_NUMBER, AT_ARCH, AT_ARGUMENTS = 0, 4, 16  # struct seccomp_data

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 1, 4, 22, 38
SECCOMP_MODE_FILTER = 2
LANDLOCK_CREATE, LANDLOCK_RESTRICT, LANDLOCK_VERSION_FLAG = 444, 446, 1
LANDLOCK_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}
"""How many kinds of access to files an ABI knows; 16 from the fifth on."""


class Unconfined(Exception):
    """A lock that must hold does not; nothing may run here."""


_libc = ctypes.CDLL(None, use_errno=True)


def die_with(parent: int, signal: int) -> None:
    """Have the kernel send *signal* when the thread that started us ends.

    Ends the process when *parent* was gone before the kernel knew.
    """
    _prctl(PR_SET_PDEATHSIG, signal)
    if os.getppid() != parent:
        os._exit(1)


def lock(
    *, memory_bytes: int, cpu_s: int, layers: Iterable[str] = LAYERS, extra_calls: Iterable[int] = ()
) -> tuple[str, ...]:
    """Close every lock of *layers*; return the names of those that hold, as status shows them.

    *memory_bytes* are granted beyond what is mapped now, *cpu_s* seconds of processor time from the
    start of the process.  Landlock is closed where the kernel has it, the others always: raises
    Unconfined where that fails.  Tests alone leave layers out or add *extra_calls*.
    """
    if (problem := obstacle()) is not None:
        raise Unconfined(problem)
    machine = os.uname().machine
    held = []
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    _prctl(PR_SET_DUMPABLE, 0)  # nobody of this user traces us; it also closes our own /proc entries
    _prctl(PR_SET_NO_NEW_PRIVS, 1)
    if "landlock" in layers and (abi := _landlock()):
        held.append(f"landlock-{abi}")
    if "rlimit" in layers:
        _limit(mapped + memory_bytes, cpu_s)
        held.append("rlimit")
    if "seccomp" in layers:
        _seccomp(program(machine, extra_calls))
        _prove()
        held.append("seccomp")
    return tuple(held)


def program(machine: str, extra_calls: Iterable[int] = ()) -> bytes:
    """Return the seccomp filter for *machine*, a BPF program: allow the list, refuse the rest.

    A call of another architecture kills.  x32 calls carry a bit that no number here has.
    """
    code = [
        _op(LOAD, AT_ARCH),
        _op(EQUAL, AUDIT_ARCH[machine], then=1),
        _op(RETURN, KILL),
        _op(LOAD, AT_NUMBER),
    ]
    for name, number in (*CALLS[machine].items(), *(("extra", number) for number in extra_calls)):
        body = []
        for argument, bits in FORBIDDEN_BITS.get(name, ()):
            body += [
                _op(LOAD, AT_ARGUMENTS + 8 * argument),
                _op(ANY_BIT, bits, orelse=1),
                _op(RETURN, REFUSE),
            ]
        body.append(_op(RETURN, ALLOW))
        code += [_op(EQUAL, number, orelse=len(body)), *body]
    return b"".join([*code, _op(RETURN, REFUSE)])


def _op(code: int, value: int, *, then: int = 0, orelse: int = 0) -> bytes:
    return struct.pack("HBBI", code, then, orelse, value)


def _limit(address_space_bytes: int, cpu_s: int) -> None:
    limits = {
        resource.RLIMIT_AS: (address_space_bytes, address_space_bytes),
        resource.RLIMIT_CPU: (cpu_s, cpu_s + 1),
        resource.RLIMIT_STACK: (8 << 20, 8 << 20),
    }
    for none in ("NOFILE", "FSIZE", "CORE", "NPROC", "MSGQUEUE", "MEMLOCK", "RTPRIO", "NICE"):
        if hasattr(resource, f"RLIMIT_{none}"):
            limits[getattr(resource, f"RLIMIT_{none}")] = (0, 0)
    for which, limit in limits.items():
        resource.setrlimit(which, limit)


def _landlock() -> int:
    """Deny all of files, TCP, and signals and abstract sockets beyond us; return the ABI, 0 for none."""
    abi = _libc.syscall(LANDLOCK_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(LANDLOCK_VERSION_FLAG))
    if abi < 1:
        return 0
    rights = (1 << LANDLOCK_RIGHTS.get(abi, 16)) - 1
    words = [rights, *([3] if abi >= 4 else []), *([3] if abi >= 6 else [])]  # noqa: PLR2004  # ABIs
    attributes = struct.pack(f"{len(words)}Q", *words)
    made = _libc.syscall(
        LANDLOCK_CREATE, ctypes.c_char_p(attributes), ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0)
    )
    ruleset = _checked(made, "landlock_create_ruleset")
    _checked(_libc.syscall(LANDLOCK_RESTRICT, ruleset, ctypes.c_uint32(0)), "landlock_restrict_self")
    os.close(ruleset)
    return int(abi)


def _seccomp(code: bytes) -> None:
    """Load *code* by prctl(2): the unit's filter of systemd 252 would refuse seccomp(2) itself."""
    held = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(held))
    _prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.c_char_p(header))


def _prove() -> None:
    """Try what the filter must refuse, in its own words, or raise Unconfined."""
    for reach in (lambda: os.close(os.open("/", os.O_RDONLY)), lambda: os.stat("/")):
        told = "nothing"
        try:
            reach()
        except OSError as failed:
            if failed.errno == errno.EPERM:
                continue
            told = str(failed)
        raise Unconfined(f"a directory could still be reached after the locks were closed: {told}")


def _prctl(option: int, *arguments: object) -> None:
    padded = [*arguments, 0, 0, 0, 0][:4]
    longs = [ctypes.c_ulong(each) if isinstance(each, int) else each for each in padded]
    _checked(_libc.prctl(ctypes.c_int(option), *longs), f"prctl {option}")


def _checked(result: int, what: str) -> int:
    if result < 0:
        raise Unconfined(f"{what}: {os.strerror(ctypes.get_errno())}")
    return result
