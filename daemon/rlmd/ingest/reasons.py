"""Why an entry is skipped, where the operating system is the one to say."""

from __future__ import annotations

import errno
import os

from rlmd.values import SkipReason

_GONE = {errno.ENOENT, errno.ENOTDIR, errno.ESTALE, errno.ELOOP}
_OURS = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}


def failure_reason(error: OSError) -> SkipReason:
    """Return why an entry that could not be opened or read is skipped.

    An entry that a symlink has replaced since it was seen counts as `vanished`.  Raises *error*
    where the daemon itself has run out of something: that is no fault of the entry.
    """
    if error.errno in _OURS:
        raise error
    return "vanished" if error.errno in _GONE else "unreadable"


def is_within(path: str, root: str) -> bool:
    """Say whether the absolute *path* is *root* or lies below it, by its text alone."""
    return path == root or path.startswith(root if root.endswith("/") else f"{root}/")


def link_reason(link: str, root: str) -> SkipReason:
    """Return why the symbolic link at *link* is skipped; *root* is free of symlinks.

    `symlink_outside` for what resolves outside the root, there or not; `loop` for what leads to
    a place inside it (that place is met under its own name) or back to itself; else `vanished`.
    """
    try:
        return "loop" if is_within(os.path.realpath(link, strict=True), root) else "symlink_outside"
    except OSError as error:
        if error.errno == errno.ELOOP:
            return "loop"
    return "vanished" if is_within(os.path.realpath(link), root) else "symlink_outside"


def printable(path: str) -> str:
    r"""Return *path* as valid text: bytes that are not UTF-8 as `\xNN`."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
