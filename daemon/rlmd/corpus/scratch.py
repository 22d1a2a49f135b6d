"""A directory of this daemon's own in the cache, gone when it ends, however it ends."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_LOCK = "lock"


@contextmanager
def open_scratch(cache: Path) -> Iterator[Path]:
    """Make a private directory below *cache*, and remove those that dead daemons left there.

    A living daemon holds a lock on its own.  Blocks for as long as another daemon is starting.
    """
    parent = cache / "corpus"
    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    starting = _lock_file(parent / _LOCK)
    try:
        fcntl.flock(starting, fcntl.LOCK_EX)
        _sweep(parent)
        own = Path(tempfile.mkdtemp(prefix="run-", dir=parent))
        held = _lock_file(own / _LOCK)
        fcntl.flock(held, fcntl.LOCK_EX)
    finally:
        os.close(starting)
    try:
        yield own
    finally:
        shutil.rmtree(own, ignore_errors=True)
        os.close(held)


def _sweep(parent: Path) -> None:
    for left in parent.glob("run-*"):
        with suppress(OSError):  # somebody lives there, or it is not ours to remove
            file = _lock_file(left / _LOCK)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left)
            finally:
                os.close(file)


def _lock_file(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
