"""Become a program that dies with the daemon: `command_child.py PARENT_PID PROGRAM [ARGUMENT…]`.

Run as a script, with the standard library alone.  The kernel keeps the death signal over exec.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
NO_PROGRAM = 127
"""What a shell says, too, for a program that cannot be run."""


def main(parent: int, words: list[str]) -> None:
    """Become the program that *words* name, unless *parent* is gone already."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    try:
        os.execvp(words[0], words)  # noqa: S606  # the person's own choice, without a shell
    except OSError as exc:
        print(f"{words[0]}: {exc.strerror}", file=sys.stderr)
        sys.exit(NO_PROGRAM)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
