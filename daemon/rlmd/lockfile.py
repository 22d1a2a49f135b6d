"""A lock that a file beside something stands for: held by one process, gone when it lets go or dies."""

from __future__ import annotations

import fcntl
import os


def acquire(path: str) -> int | None:
    """Take the lock at *path* and return the descriptor that holds it, or None while another process does."""
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        if _still_there(path, fd):
            return fd
        os.close(fd)  # its holder removed the file between our open and our lock


def release(path: str, fd: int) -> None:
    """Remove the lock file, then let go of it."""
    if _still_there(path, fd):
        os.unlink(path)
    os.close(fd)


def _still_there(path: str, fd: int) -> bool:
    try:
        return os.path.samestat(os.stat(path, follow_symlinks=False), os.fstat(fd))
    except FileNotFoundError:
        return False
