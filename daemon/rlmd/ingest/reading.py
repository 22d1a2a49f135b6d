"""Read one file after another: confined to their root, whole or in pieces, hashed and stored.

Plain synchronous code; `readers` runs it in threads and gives up on calls that hang.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from hashlib import sha256
from time import monotonic
from types import TracebackType
from typing import Self

from rlmd.ingest.decode import Classifier, classify
from rlmd.ingest.reasons import failure_reason, is_within, link_reason
from rlmd.requests import Sink
from rlmd.values import FileRef, FileStat, ReadFile, Skip, SkipReason, Span, TextEncoding

PIECE_BYTES = 1 << 20
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_OPEN_PARENT = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ATTEMPTS = 2


class GivenUp(Exception):
    """Nobody waits for this thread any more."""


class _Skipped(Exception):
    """The file in hand does not belong."""

    def __init__(self, reason: SkipReason) -> None:
        self.reason = reason


class _Changed(Exception):
    """The file is not what it was when its reading began."""


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """Files over `max_file_bytes` are skipped; over `stream_over_bytes` never whole in memory."""

    max_file_bytes: int
    stream_over_bytes: int


class Reading:
    """One thread's way through *files*; others may watch it and give it up.

    `outcomes` grows in the order of the files.
    """

    def __init__(self, files: list[FileRef], sink: Sink, limits: ReadLimits) -> None:
        self.outcomes: list[ReadFile | Skip] = []
        self._files = files
        self._sink = sink
        self._limits = limits
        self._given_up = False
        self._calling_since: float | None = None
        self.started = False
        """Whether a thread has taken it up."""

    def waited_s(self) -> float:
        """Return for how long the system call in hand on a file has been running."""
        since = self._calling_since
        return 0.0 if since is None else monotonic() - since

    def give_up(self) -> None:
        """Let the thread stop as soon as it comes back from its system call."""
        self._given_up = True

    def run(self) -> None:
        """Read the files; ends early, without a sound, when given up."""
        self.started = True
        try:
            with _Parent() as parent:
                for file in self._files:
                    self.outcomes.append(self._read(file, parent))
        except GivenUp:
            pass

    def _before_call(self) -> None:
        self._before_sink()
        self._calling_since = monotonic()

    def _before_sink(self) -> None:
        if self._given_up:
            raise GivenUp
        self._calling_since = None

    def _read(self, file: FileRef, parent: _Parent) -> ReadFile | Skip:
        try:
            for _ in range(_ATTEMPTS):
                try:
                    return self._read_once(file, parent)
                except _Changed:
                    continue
        except _Skipped as skipped:
            return Skip(file.path, skipped.reason)
        return Skip(file.path, "vanished")

    def _read_once(self, file: FileRef, parent: _Parent) -> ReadFile:
        self._before_call()
        descriptor = parent.open(file)
        try:
            before = _status(descriptor)
            if not stat.S_ISREG(before.st_mode):
                raise _Skipped("vanished" if stat.S_ISDIR(before.st_mode) else "special")
            if before.st_size > self._limits.max_file_bytes:
                raise _Skipped("too_large")
            if before.st_size > self._limits.stream_over_bytes:
                return self._stream(file, descriptor, before)
            return self._take_whole(file, descriptor, before)
        finally:
            os.close(descriptor)

    def _take_whole(self, file: FileRef, descriptor: int, before: os.stat_result) -> ReadFile:
        data = self._piece(descriptor, before.st_size + 1)
        while 0 < len(data) < before.st_size and (more := self._piece(descriptor, PIECE_BYTES)):
            data += more
        self._check_unchanged(descriptor, before, len(data))
        encoding = classify(data)
        if encoding is None:
            raise _Skipped("binary")
        digest = sha256(data).hexdigest()
        self._before_sink()
        return ReadFile(
            file.path, _file_stat(before), digest, self._sink.add(digest, data, encoding), encoding
        )

    def _stream(self, file: FileRef, descriptor: int, before: os.stat_result) -> ReadFile:
        """Store a big file piece by piece.

        The first piece is judged before room is reserved, as it gives most binaries away.
        """
        classifier = Classifier()
        first = self._piece(descriptor, PIECE_BYTES)
        if not classifier.feed(first):
            raise _Skipped("binary")
        self._before_sink()
        offset = self._sink.reserve(before.st_size)
        try:
            digest, encoding = self._store(descriptor, first, classifier, Span(offset, before.st_size))
            self._check_unchanged(descriptor, before, before.st_size)
            self._before_sink()
            span = self._sink.adopt(digest, Span(offset, before.st_size), encoding)
        except BaseException:  # a cancelled read, too, gives its room back
            self._sink.release(offset)
            raise
        return ReadFile(file.path, _file_stat(before), digest, span, encoding)

    def _store(
        self, descriptor: int, piece: bytes, classifier: Classifier, span: Span
    ) -> tuple[str, TextEncoding]:
        """Put *piece*, which was fed, and the rest of the file to *span*; return hash and encoding."""
        digest, position = sha256(), 0
        while piece:
            if position + len(piece) > span.length:
                raise _Changed
            self._before_sink()
            self._sink.write(span.offset + position, piece)
            digest.update(piece)
            position += len(piece)
            piece = self._piece(descriptor, PIECE_BYTES)
            if piece and not classifier.feed(piece):
                raise _Skipped("binary")
        encoding = classifier.encoding()
        if position < span.length or encoding is None:
            raise _Changed
        return digest.hexdigest(), encoding

    def _piece(self, descriptor: int, size_bytes: int) -> bytes:
        self._before_call()
        try:
            return os.read(descriptor, size_bytes)
        except OSError as error:
            raise _Skipped(failure_reason(error)) from error

    def _check_unchanged(self, descriptor: int, before: os.stat_result, length: int) -> None:
        after = _status(descriptor)
        if not length == before.st_size == after.st_size or after.st_ctime_ns != before.st_ctime_ns:
            raise _Changed


class _Parent:
    """Opens files through their directory, which is looked at once for a run of its files.

    The kernel says where an opened directory lies; only the very path that was walked will do, so
    a component swapped for a symlink in the meantime leads nowhere.
    """

    def __init__(self) -> None:
        self._path: str | None = None
        self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        if self._path is not None:
            os.close(self._descriptor)
            self._path = None

    def open(self, file: FileRef) -> int:
        """Return a descriptor of *file*; raises _Skipped."""
        path, _, name = file.absolute.rpartition("/")
        try:
            if path != self._path:
                self._enter(file, path or "/")
            return os.open(name, _OPEN, dir_fd=self._descriptor)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise _Skipped(link_reason(file.absolute, _root(file))) from error
            if error.errno in {errno.ENXIO, errno.ENODEV}:
                raise _Skipped("special") from error
            raise _Skipped(failure_reason(error)) from error

    def _enter(self, file: FileRef, path: str) -> None:
        self._close()
        self._descriptor = os.open(path, _OPEN_PARENT)
        self._path = path
        place = os.readlink(f"/proc/self/fd/{self._descriptor}")
        if place != path:
            self._close()
            raise _Skipped("vanished" if is_within(place, _root(file)) else "symlink_outside")


def _root(file: FileRef) -> str:
    return file.absolute.removesuffix(file.path).rstrip("/") or "/"


def _status(descriptor: int) -> os.stat_result:
    try:
        return os.fstat(descriptor)
    except OSError as error:
        raise _Skipped(failure_reason(error)) from error


def _file_stat(status: os.stat_result) -> FileStat:
    return FileStat(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
