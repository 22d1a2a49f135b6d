"""The contents of all corpora: one file that only grows, each content in it once.

Snapshots point into it, so files may change under a running job, and another process reads from it
by path and offset.  A newline follows each content, so that one run of bytes can span many.  What
nobody needs any more is punched out: bytes never move, and a place is never used again.
"""

from __future__ import annotations

import ctypes
import errno
import os
import threading
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol
from uuid import uuid4

from rlmd.corpus.blobs import UNCOUNTED, Blob, Blobs
from rlmd.errors import Busy
from rlmd.values import Span, TextEncoding, TokenEncoding

HEAD_BYTES = 64
_MAGIC = b"rlmd pack 1 "
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_MOST_AT_ONCE = 1 << 30
_PUNCH = 0x03
"""FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, which `os` does not have."""


def pread(file: int, span: Span) -> bytes:
    """Return the bytes of *span* of the open *file*; fewer only where it ends before."""
    pieces, offset, end = [], span.offset, span.offset + span.length
    while offset < end and (piece := os.pread(file, min(end - offset, _MOST_AT_ONCE), offset)):
        pieces.append(piece)
        offset += len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


class DiskFull(Busy):
    """There is no room for a content."""


class PackClosed(Exception):
    """The pack was closed; whoever still reads or writes it is late."""


class NoPack(Exception):
    """The file is no pack of ours."""


class Holder(Protocol):
    """Needs the contents at its places for as long as it lives."""

    def offsets(self) -> Sequence[int]:
        """Return where the contents begin in the pack."""
        ...


class Pack:
    """Holds contents by their sha256; a `Sink`.  Every method may be called from any thread.

    `id` names this very file, whatever its path: what is derived from places in it belongs to that
    id.  Raises Busy where the disk is full, and PackClosed after `close`.
    """

    def __init__(self, path: str, blobs: Blobs | None = None, *, end: int | None = None) -> None:
        """Create the file at *path*, for the owner's eyes only; raise FileExistsError if it is there.

        With *blobs* and *end* it is there: what lies beyond *end* is cut off, and NoPack is raised
        unless it is one of ours.
        """
        self.path = path
        self.directory = os.path.dirname(path)
        self.blobs = Blobs() if blobs is None else blobs
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
        self._file = os.open(path, flags if end is not None else flags | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            self.id = _begin(self._file) if end is None else _resume(self._file, end)
        except BaseException:  # nobody else could close it
            os.close(self._file)
            raise
        self._end = HEAD_BYTES if end is None else end
        self._lock = threading.Lock()
        self._reserved: dict[int, int] = {}
        self._users = 0
        self._closed = False
        self._holders = weakref.WeakSet[Holder]()

    def add(self, sha256: str, data: bytes, encoding: TextEncoding = "utf-8") -> Span:
        """Store *data* unless a content of this hash is there; return where it lies."""
        known = self.blobs.get(bytes.fromhex(sha256))
        if known is not None:
            return known.span
        span = Span(self.reserve(len(data)), len(data))
        try:
            self._write(span.offset, data, b"\n")
            return self._name(sha256, span, encoding)
        finally:
            self._unreserve(span.offset)

    def reserve(self, length: int) -> int:
        """Set *length* bytes aside for a content that comes in pieces; return their offset.

        They are spared until they are adopted or released.
        """
        with self._lock:
            offset, self._end = self._end, self._end + length + 1
            self._reserved[offset] = length
        return offset

    def write(self, offset: int, piece: bytes) -> None:
        """Put *piece* at *offset*, inside reserved bytes."""
        self._write(offset, piece)

    def adopt(self, sha256: str, span: Span, encoding: TextEncoding) -> Span:
        """Name the reserved *span* by its hash; return the content's place, an older one if it had one."""
        self._write(span.offset + span.length, b"\n")
        held = self._name(sha256, span, encoding)
        self._unreserve(span.offset)
        return held

    def release(self, offset: int) -> None:
        """Give back the bytes that were reserved at *offset*."""
        length = self._unreserve(offset)
        with self._open_file() as file:
            _punch(file, offset, length + 1)

    def reserved(self) -> list[Span]:
        """Return the bytes that are set aside now, the last being all that will ever be."""
        with self._lock:
            return [*(Span(*each) for each in self._reserved.items()), Span(self._end, 1 << 60)]

    def keep_only(self, spans: Iterable[Span]) -> None:
        """Give every byte that is in none of *spans* back to the disk.

        What is `reserved` must be among them, and have been asked for before the names that `blobs`
        holds.  Where the file system cannot, nothing happens.
        """
        at = HEAD_BYTES
        with self._open_file() as file:
            for span in sorted(spans, key=lambda span: span.offset):
                if span.offset > at:
                    _punch(file, at, span.offset - at)
                at = max(at, span.offset + span.length + 1)

    def count(self, sha256: str, encoding: TokenEncoding, tokens: int) -> None:
        """Remember how many tokens by *encoding* the content of this hash has."""
        digest = bytes.fromhex(sha256)
        blob = self.blobs.get(digest)
        if blob is not None:
            self.blobs.put(digest, blob.counted(encoding, tokens))

    def tokens(self, sha256: str, encoding: TokenEncoding) -> int:
        """Return how many tokens by *encoding* the content of this hash has, UNCOUNTED if nobody knows."""
        blob = self.blobs.get(bytes.fromhex(sha256))
        return UNCOUNTED if blob is None else blob.tokens(encoding)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was ever put here."""
        return self._end == HEAD_BYTES

    def read(self, span: Span) -> bytes:
        """Return the bytes of *span*."""
        with self._open_file() as file:
            return pread(file, span)

    def hold(self, holder: Holder) -> None:
        """Have the contents of *holder* stay until it is gone."""
        with self._lock:
            self._holders.add(holder)

    def holders(self) -> list[Holder]:
        """Return who needs contents now."""
        with self._lock:
            return list(self._holders)

    @property
    def end(self) -> int:
        """Where the next content will lie; all that is named lies before."""
        return self._end

    def stat(self) -> os.stat_result:
        """Return what the file looks like from outside."""
        with self._open_file() as file:
            return os.fstat(file)

    def close(self) -> None:
        """Refuse further use; the file itself closes when nobody is in the middle of it."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._close_if_unused()

    def _name(self, sha256: str, span: Span, encoding: TextEncoding) -> Span:
        held = self.blobs.put_if_absent(bytes.fromhex(sha256), Blob(span, encoding)).span
        if held != span:
            with self._open_file() as file:
                _punch(file, span.offset, span.length + 1)
        return held

    def _unreserve(self, offset: int) -> int:
        with self._lock:
            return self._reserved.pop(offset, 0)

    def _write(self, offset: int, *pieces: bytes) -> None:
        rest = [memoryview(piece) for piece in pieces if piece]
        with self._open_file() as file:
            try:
                while rest:
                    written = os.pwritev(file, rest, offset)
                    offset += written
                    while rest and written >= len(rest[0]):
                        written -= len(rest.pop(0))
                    if rest:
                        rest[0] = rest[0][written:]
            except OSError as failed:
                if failed.errno not in _FULL:
                    raise
                raise DiskFull(
                    f"The disk under {self.directory} is full.", "Free space there, then ask again."
                ) from failed

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


def _begin(file: int) -> str:
    name = uuid4().hex
    os.write(file, (_MAGIC + name.encode()).ljust(HEAD_BYTES - 1) + b"\n")
    return name


def _resume(file: int, end: int) -> str:
    head = os.pread(file, HEAD_BYTES, 0)
    if not head.startswith(_MAGIC):
        raise NoPack("the pack is another file")
    if os.fstat(file).st_size != end:
        os.ftruncate(file, end)
    return head[len(_MAGIC) :].decode("latin-1").strip()


def _punch(file: int, offset: int, length: int) -> None:
    """Free the blocks that lie inside; where the file system cannot, they stay."""
    ctypes.CDLL(None, use_errno=True).fallocate(
        file, _PUNCH, ctypes.c_longlong(offset), ctypes.c_longlong(length)
    )
