"""The contents of the corpus: one append-only file, each content in it once.

A pack lives as long as its daemon.  Snapshots point into it, so files may change under a running
job, and another process reads from it by path and offset.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rlmd.errors import Busy
from rlmd.values import Span

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_MOST_AT_ONCE = 1 << 30


def pread(file: int, span: Span) -> bytes:
    """Return the bytes of *span* of the open *file*; fewer only where it ends before."""
    pieces, offset, end = [], span.offset, span.offset + span.length
    while offset < end and (piece := os.pread(file, min(end - offset, _MOST_AT_ONCE), offset)):
        pieces.append(piece)
        offset += len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


class PackClosed(Exception):
    """The pack was closed; whoever still reads or writes it is late."""


class Pack:
    """Holds blobs by their sha256; a `Sink`.  Every method may be called from any thread.

    Raises Busy where the disk is full, and PackClosed after `close`.
    """

    def __init__(self, path: str) -> None:
        """Create the file at *path*, for the owner's eyes only; raise FileExistsError if it is there."""
        self.path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._lock = threading.Lock()
        self._spans: dict[bytes, Span] = {}
        self._end = 0
        self._users = 0
        self._closed = False

    def add(self, sha256: str, data: bytes) -> Span:
        """Store *data* unless a blob of this hash is there; return where it lies."""
        with self._lock:
            known = self._spans.get(bytes.fromhex(sha256))
        if known is not None:
            return known
        offset = self.reserve(len(data))
        self.write(offset, data)
        return self.adopt(sha256, Span(offset, len(data)))

    def reserve(self, length: int) -> int:
        """Set *length* bytes aside for a blob that comes in pieces; return their offset."""
        with self._lock:
            offset, self._end = self._end, self._end + length
        return offset

    def write(self, offset: int, piece: bytes) -> None:
        """Put *piece* at *offset*, inside reserved bytes."""
        rest = memoryview(piece)
        with self._open_file() as file:
            try:
                while rest:
                    written = os.pwrite(file, rest, offset)
                    rest, offset = rest[written:], offset + written
            except OSError as failed:
                if failed.errno not in _FULL:
                    raise
                place = os.path.dirname(self.path)
                raise Busy(
                    f"The disk under {place} is full.", "Free space there, then ask again."
                ) from failed

    def adopt(self, sha256: str, span: Span) -> Span:
        """Name the reserved *span* by its hash; return the blob's place, an older one if it had one."""
        with self._lock:
            return self._spans.setdefault(bytes.fromhex(sha256), span)

    def read(self, span: Span) -> bytes:
        """Return the bytes of *span*."""
        with self._open_file() as file:
            return pread(file, span)

    def close(self) -> None:
        """Refuse further use; the file itself closes when nobody is in the middle of it."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._close_if_unused()

    @contextmanager
    def _open_file(self) -> Iterator[int]:
        with self._lock:
            if self._closed:
                raise PackClosed(self.path)
            self._users += 1
        try:
            yield self._file
        finally:
            with self._lock:
                self._users -= 1
                self._close_if_unused()

    def _close_if_unused(self) -> None:
        if self._closed and not self._users:
            os.close(self._file)
