"""The kernel's own word on what changes in directories: inotify(7), by its three calls.

Linux only; elsewhere `Inotify()` raises OSError.  Events of one instance are one ordered queue, and a
change is in it before the call that made it returns: who reads until there is no more has seen all of
what was written before.
"""

from __future__ import annotations

import ctypes
import errno
import os
from enum import IntFlag
from struct import Struct
from typing import NamedTuple

_EVENT = Struct("=iIII")
_READ_BYTES = 1 << 16


class Mask(IntFlag):
    """What happened, as inotify.h has it; the last two are how to watch."""

    MODIFY = 0x2
    ATTRIB = 0x4
    MOVED_FROM = 0x40
    MOVED_TO = 0x80
    CREATE = 0x100
    DELETE = 0x200
    DELETE_SELF = 0x400
    MOVE_SELF = 0x800
    UNMOUNT = 0x2000
    OVERFLOW = 0x4000
    IGNORED = 0x8000
    ONLYDIR = 0x1000000
    IS_DIR = 0x40000000


NAMES_CHANGED = int(Mask.CREATE | Mask.DELETE | Mask.MOVED_FROM | Mask.MOVED_TO)
EVERYTHING = NAMES_CHANGED | int(Mask.MODIFY | Mask.ATTRIB | Mask.DELETE_SELF | Mask.MOVE_SELF | Mask.ONLYDIR)


class Event(NamedTuple):
    """Something in the directory of *watch*; `name` is empty where it is about the directory itself."""

    watch: int
    mask: int
    name: str


class Inotify:
    """One queue of events; `fd` is readable while it holds any.  Calls may come from any thread."""

    def __init__(self) -> None:
        """Raise OSError where the system has none, or no further one."""
        self._libc = ctypes.CDLL(None, use_errno=True)
        if not hasattr(self._libc, "inotify_init1"):
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        self.fd = _checked(self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))

    def add(self, directory: str) -> int:
        """Watch *directory*; return its number, the same one while it is watched.

        Raises OSError, with ENOSPC where the person may not have more watches.
        """
        return _checked(self._libc.inotify_add_watch(self.fd, os.fsencode(directory), EVERYTHING))

    def remove(self, watch: int) -> None:
        """Watch no more; a directory that is gone was forgotten by the kernel."""
        self._libc.inotify_rm_watch(self.fd, watch)

    def read(self) -> list[Event]:
        """Return the next events, some thousands at most; none where the queue is empty."""
        try:
            data = os.read(self.fd, _READ_BYTES)
        except BlockingIOError:
            return []
        events, at = [], 0
        while at < len(data):
            watch, mask, _, length = _EVENT.unpack_from(data, at)
            at += _EVENT.size
            name = data[at : at + length].rstrip(b"\0")
            events.append(Event(watch, mask, os.fsdecode(name)))
            at += length
        return events

    def close(self) -> None:
        """Forget all watches, some microseconds each; nobody may be in the middle of another call."""
        os.close(self.fd)


def _checked(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
