"""The contents of a session in memory of their own: its bytes, and no other byte of the pack."""

from __future__ import annotations

import errno
import fcntl
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import NamedTuple

from rlmd.errors import Busy
from rlmd.sandbox.requests import Content, Document, Documents
from rlmd.sandbox.table import Row, pack
from rlmd.values import Span

MEMORY_BYTES = 64 << 20
"""More than this goes to an unlinked file beside the pack: the kernel can write it back, and a daemon
with a memory limit lives on."""
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NO_COPY = frozenset({errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM})


class Handed(NamedTuple):
    """Two descriptors, for reading only, that whoever holds this must close; `context` is a path."""

    data: int
    table: int
    context: str | None

    def close(self) -> None:
        """Give the contents back; processes that map them keep them."""
        os.close(self.data)
        os.close(self.table)


def hand_over(content: Content | None) -> Handed:
    """Copy *content* to where a process may see it; blocks, a second for a gigabyte.

    Nothing passes through our own memory but texts that were in it.  Raises Busy where a disk is full.
    """
    match content:
        case None:
            return _handed(_sealed(b""), [], None)
        case Documents():
            files = sorted(content.files, key=lambda file: file.path)
            data, places = _copied(content.pack, files)
            rows = [
                Row(file.path, places[file.span] if file.span.length else 0, file.span.length, file.encoding)
                for file in files
            ]
            return _handed(data, rows, content.context)
        case text:
            encoded = text.text.encode("utf-8", "replace")
            return _handed(_sealed(encoded), [Row(text.name, 0, len(encoded), "utf-8")], text.name)


def _handed(data: int, rows: Iterable[Row], context: str | None) -> Handed:
    try:
        return Handed(data, _sealed(pack(rows)), context)
    except BaseException:
        os.close(data)
        raise


def _sealed(data: bytes) -> int:
    """Return a read-only descriptor of *data*, never empty, that nobody can change."""
    with _memory() as file:
        rest = memoryview(data or b"\0")
        while rest:
            rest = rest[os.write(file, rest) :]
        return _read_only(file)


def _copied(source: str, files: Iterable[Document]) -> tuple[int, dict[Span, int]]:
    """Copy the spans of *files*, each once, in their order in the pack; say where each lies now."""
    spans = sorted({file.span for file in files if file.span.length}, key=lambda span: span.offset)
    places, end = {}, 0
    for span in spans:
        places[span], end = end, end + span.length
    if not end:
        return _sealed(b""), places
    origin = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with _memory() if end <= MEMORY_BYTES else _disk(os.path.dirname(source)) as file:
            for run in _runs(spans):
                _copy(origin, file, run)
            return _read_only(file), places
    finally:
        os.close(origin)


def _runs(spans: list[Span]) -> Iterator[Span]:
    """Join spans that lie side by side: a whole tree is few copies."""
    start = 0
    for at, (left, right) in enumerate(pairwise(spans), 1):
        if left.offset + left.length != right.offset:
            yield _hull(spans[start:at])
            start = at
    yield _hull(spans[start:])


def _hull(spans: list[Span]) -> Span:
    return Span(spans[0].offset, spans[-1].offset + spans[-1].length - spans[0].offset)


def _copy(origin: int, target: int, span: Span) -> None:
    """Have the kernel append *span* of *origin*; file systems that share blocks copy nothing."""
    offset, end = span.offset, span.offset + span.length
    copy = _copy_blocks
    while offset < end:
        try:
            copied = copy(origin, target, offset, end - offset)
        except OSError as failed:
            if copy is _copy_blocks and failed.errno in _NO_COPY:
                copy = _send
                continue
            if failed.errno in _FULL:
                raise Busy(
                    "There is no room for a session's contents.", "Free space, then ask again."
                ) from failed
            raise
        if not copied:
            raise EOFError(f"the pack ends before {end}")
        offset += copied


def _copy_blocks(origin: int, target: int, offset: int, count: int) -> int:
    return os.copy_file_range(origin, target, count, offset)


def _send(origin: int, target: int, offset: int, count: int) -> int:
    return os.sendfile(target, origin, offset, count)


@contextmanager
def _memory() -> Iterator[int]:
    file = os.memfd_create("rlmd-session", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        yield file
    finally:
        os.close(file)


@contextmanager
def _disk(directory: str) -> Iterator[int]:
    with tempfile.TemporaryFile(dir=directory, buffering=0) as file:
        yield file.fileno()


def _read_only(file: int) -> int:
    """Seal what can be sealed, and return a descriptor that can only read."""
    seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
    try:
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, seals)
    except OSError as failed:
        if failed.errno != errno.EINVAL:  # a file on a disk, which has no name and no other descriptor
            raise
    return os.open(f"/proc/self/fd/{file}", os.O_RDONLY | os.O_CLOEXEC)
