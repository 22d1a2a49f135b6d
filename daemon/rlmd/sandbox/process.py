"""One process of the sandbox from its start to its burial."""

from __future__ import annotations

import math
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import trio

from rlmd.errors import SandboxUnavailable
from rlmd.sandbox.machines import obstacle

ENVIRONMENT = {"PYTHONHASHSEED": "0"}
"""All that a process is given: with a seeded `random`, a run can be repeated."""
PROGRAM = (
    "import sys; sys.path.append(sys.argv[1]); from rlmd.sandbox.child import main; main(int(sys.argv[2]))"
)
PACKAGES = str(Path(__file__).parents[2])
REAP_S = 2.0


class Process:
    """A child that dies with us, and the stream to it; `keep` must be running throughout."""

    def __init__(self, program: str = PROGRAM, python: str = sys.executable) -> None:
        """Start it, from this very thread: the kernel's death signal follows the thread that forked.

        *program* is source for the interpreter *python*; tests alone give others.  Raises
        SandboxUnavailable, on a system that cannot confine code without having started anything.
        """
        if (problem := obstacle()) is not None:
            raise unavailable(problem)
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._child = _start(python, program, theirs)
                self._pidfd = os.pidfd_open(self._child.pid)
            except OSError as failed:
                ours.close()
                raise unavailable(f"no process could be started for it: {failed}") from failed
        self.stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
        self.pid = self._child.pid
        self.reason: str | None = None
        self.gone = trio.Event()
        self._life = trio.CancelScope()

    @property
    def is_alive(self) -> bool:
        """Whether it may still answer; one that died a moment ago is noticed."""
        return self.reason is None and self._child.poll() is None

    @property
    def fate(self) -> str:
        """Why it ended, once it has: what we ended it for, or what the kernel says."""
        if self.reason is not None:
            return self.reason
        code = self._child.returncode
        if code == -signal.SIGXCPU:
            return "processor time is used up"
        return (
            f"the process died: {signal.Signals(-code).name if code and code < 0 else f'exit status {code}'}"
        )

    def expire_at(self, deadline: float) -> None:
        """End it at *deadline*, a time of trio's clock, unless told otherwise by then."""
        self._life.deadline = deadline

    def interrupt(self) -> None:
        """Send it SIGINT."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGINT)

    def kill(self, reason: str) -> None:
        """End it now, for *reason*; `keep` sees to the rest."""
        if self.reason is None and not self.gone.is_set():
            self.reason = reason
            self._child.kill()
            self._life.cancel()

    async def keep(self) -> None:
        """Wait until it dies or its time is up; leave nothing of it."""
        try:
            with self._life:
                await trio.lowlevel.wait_readable(self._pidfd)
        finally:
            if self._child.poll() is None:
                self.kill("it was idle" if self._life.deadline < math.inf else "the daemon ended it")
            with trio.move_on_after(REAP_S, shield=True):
                await trio.lowlevel.wait_readable(self._pidfd)
            self._child.poll()
            os.close(self._pidfd)
            self.gone.set()
            self.stream.socket.close()


def unavailable(problem: str) -> SandboxUnavailable:
    """Return the refusal that says *problem*."""
    return SandboxUnavailable(
        f"Code cannot be confined here: {problem}.", "`rlmd doctor` says what this machine lacks."
    )


def _start(python: str, program: str, theirs: socket.socket) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603  # our interpreter, our program
        [python, "-s", "-S", "-P", "-B", "-c", program, PACKAGES, str(os.getpid())],
        env=ENVIRONMENT,
        cwd="/",
        stdin=theirs.fileno(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
