"""Where code can be confined at all, and which system calls it keeps there.

The list is what CPython needs to compute, and no more: no descriptor can be made, no path named, no
process or thread started, no signal sent.  Standard library only: both ends use it.
"""

from __future__ import annotations

import os
import sys

CALLS = {
    "x86_64": {
        "read": 0, "write": 1, "mmap": 9, "mprotect": 10, "munmap": 11, "brk": 12, "rt_sigaction": 13,
        "rt_sigprocmask": 14, "rt_sigreturn": 15, "sched_yield": 24, "mremap": 25, "madvise": 28,
        "nanosleep": 35, "getpid": 39, "exit": 60, "gettimeofday": 96, "sigaltstack": 131, "gettid": 186,
        "time": 201, "futex": 202, "restart_syscall": 219, "clock_gettime": 228, "clock_getres": 229,
        "clock_nanosleep": 230, "exit_group": 231, "getrandom": 318,
    },
    "aarch64": {
        "read": 63, "write": 64, "exit": 93, "exit_group": 94, "futex": 98, "nanosleep": 101,
        "clock_gettime": 113, "clock_getres": 114, "clock_nanosleep": 115, "sched_yield": 124,
        "restart_syscall": 128, "sigaltstack": 132, "rt_sigaction": 134, "rt_sigprocmask": 135,
        "rt_sigreturn": 139, "gettimeofday": 169, "getpid": 172, "gettid": 178, "brk": 214,
        "munmap": 215, "mremap": 216, "mmap": 222, "mprotect": 226, "madvise": 233, "getrandom": 278,
    },
}  # fmt: skip
AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

_NEEDED = ("memfd_create", "pidfd_open", "uname")
_ADVICE = "everything else of rlmd works here"


def obstacle() -> str | None:
    """Say why code cannot be confined by a system like this one; None where it can be tried.

    It is the sentence that refusals, `rlmd status` and `rlmd doctor` show.
    """
    if not sys.platform.startswith("linux"):
        return f"code is locked in by means of Linux, and this is {sys.platform}; {_ADVICE}"
    machine = os.uname().machine
    if machine not in CALLS or sys.maxsize < 1 << 32:
        bits = "" if machine not in CALLS else " with a 32-bit Python"
        return (
            f"there is a list of system calls for {' and '.join(CALLS)}, not for {machine}{bits}; {_ADVICE}"
        )
    missing = [name for name in _NEEDED if not hasattr(os, name)]
    return f"this Python lacks os.{missing[0]}; {_ADVICE}" if missing else None
