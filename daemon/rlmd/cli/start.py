"""Reach the daemon, starting one where none runs.  Standard library only: the bridge comes here, too."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import sys
import time
from typing import TYPE_CHECKING, Self

from rlmd import lockfile, paths

if TYPE_CHECKING:
    import subprocess

START_S = 15.0
PAUSE_S = 0.05
LOG_NAME = "daemon.log"
TAIL_BYTES = 2_000
ABSENT = {errno.ENOENT, errno.ECONNREFUSED, errno.EAGAIN}


class NotRunning(Exception):
    """Nobody listens on the socket."""


class StartFailed(Exception):
    """A daemon was started and does not answer; the text says why, as far as its log tells.

    `exit_code` is the daemon's own where it means something to the caller, too, else 69.
    """

    def __init__(self, message: str, exit_code: int = os.EX_UNAVAILABLE) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def connect(path: str) -> socket.socket:
    """Connect to the daemon at *path*; raise NotRunning where there is none of our own user.

    Root listens for us where the machine's systemd holds the socket, and is trusted as it must be.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(path)
        packed = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    except OSError as exc:
        connection.close()
        if exc.errno in ABSENT:
            raise NotRunning(f"no daemon is running at {path}; `rlmd serve` starts one") from exc
        raise
    _pid, uid, _gid = struct.unpack("3i", packed)
    if uid not in {0, os.getuid()}:
        connection.close()
        raise NotRunning(f"{path} belongs to another user's process")
    return connection


def reach(start_s: float = START_S) -> socket.socket:
    """Connect to the daemon, starting it first where none runs.

    Of several that find none, one starts it and all wait for it, up to *start_s* seconds.  Raises
    StartFailed, or ConfigError for a place that cannot be.
    """
    path = paths.socket_path()
    with contextlib.suppress(NotRunning):
        return connect(path)
    paths.make_private_dir(os.path.dirname(path))
    with Starter(f"{path}.start") as starter:
        deadline = time.monotonic() + start_s
        while time.monotonic() < deadline:
            with contextlib.suppress(NotRunning):
                return connect(path)
            starter.step()
            time.sleep(PAUSE_S)
    raise StartFailed(f"the daemon did not answer within {start_s:.0f} s{_tail()}")


class Starter:
    """One of those who wait for a daemon; it starts one if it is first to hold the lock."""

    def __init__(self, lock_path: str) -> None:
        self._lock_path = lock_path
        self._lock: int | None = None
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def step(self) -> None:
        """Do what is next: take the lock, then start a daemon, then see whether it lives."""
        if self._lock is None:
            self._lock = lockfile.acquire(self._lock_path)
        elif self._child is None:
            self._child = spawn()
        elif self._child.poll() not in {None, os.EX_TEMPFAIL}:  # "busy": another daemon is about to answer
            code = self._child.returncode
            told = code if code in {os.EX_NOPERM, os.EX_CONFIG} else os.EX_UNAVAILABLE
            raise StartFailed(f"the daemon ended with code {code}{_tail()}", told)

    def __exit__(self, *_: object) -> None:
        if self._child is not None and self._child.returncode is None:
            self._child.returncode = 0  # it outlives us; nobody waits for it
        if self._lock is not None:
            lockfile.release(self._lock_path, self._lock)


def spawn() -> subprocess.Popen[bytes]:
    """Start a daemon in a session of its own; it outlives us and logs into the state directory."""
    import subprocess  # noqa: PLC0415  # 15 ms that a daemon which is there need not cost

    state = paths.state_dir()
    paths.make_private_dir(state)
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    known = os.environ.get("PYTHONPATH")
    env = {**os.environ, "PYTHONPATH": f"{package}{os.pathsep}{known}" if known else package}
    for name in ("RLMD_SOCKET", "RLMD_STATE_DIR", "RLMD_CACHE_DIR"):
        if value := env.get(name):
            env[name] = os.path.abspath(value)  # the daemon works in another directory
    with open(os.path.join(state, LOG_NAME), "ab", opener=_private) as log:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "rlmd", "serve", "--on-demand"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=env,
            cwd="/",
            start_new_session=True,
        )


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _tail() -> str:
    """Return the end of the daemon's log, to follow a sentence."""
    path = os.path.join(paths.state_dir(), LOG_NAME)
    try:
        with open(path, "rb") as log:
            log.seek(max(os.fstat(log.fileno()).st_size - TAIL_BYTES, 0))
            last = log.read().decode(errors="replace").strip()
    except OSError:
        return ""
    return f"; {path} ends with:\n{last}" if last else ""
