"""The bytes of a snapshot, brought out of the pack a block at a time when somebody wants them."""

from __future__ import annotations

import errno
import os
import threading
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from rlmd.errors import Busy
from rlmd.sandbox.table import BLOCK_BYTES
from rlmd.values import Span

SEPARATOR_BYTES = 1
"""Contents that lie side by side may have a line end between them, which belongs to nobody."""
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NO_COPY = frozenset({errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM})


class Piece(NamedTuple):
    """Bytes of the pack, and where a session has them."""

    origin: int
    target: int
    length: int


class Runs:
    """Spans of the pack, those side by side joined and all of them without the rest: one run of bytes."""

    def __init__(self, spans: Iterable[Span]) -> None:
        self._origins, self._targets = array("q"), array("q")
        self.total_bytes = 0
        end = None
        for span in sorted(set(spans), key=lambda span: span.offset):
            stop = span.offset + span.length
            if end is None or span.offset > end + SEPARATOR_BYTES:
                self._origins.append(span.offset)
                self._targets.append(self.total_bytes)
                end = span.offset
            self.total_bytes += max(0, stop - end)
            end = max(end, stop)

    def place(self, span: Span) -> int:
        """Return where a span that was given lies in the run of all."""
        at = bisect_right(self._origins, span.offset) - 1
        return self._targets[at] + span.offset - self._origins[at]

    def pieces(self, start: int, stop: int) -> Iterator[Piece]:
        """Yield what makes up the bytes from *start* to *stop* of the run of all, in order."""
        at = bisect_right(self._targets, start) - 1
        while start < min(stop, self.total_bytes):
            ends = self._targets[at + 1] if at + 1 < len(self._targets) else self.total_bytes
            length = min(stop, ends) - start
            yield Piece(self._origins[at] + start - self._targets[at], start, length)
            start, at = start + length, at + 1


class Source:
    """Copies blocks from the pack to *target*, each once; used by several threads at a time.

    The pack's own descriptor never leaves this process.
    """

    def __init__(self, pack: str, target: int, runs: Runs) -> None:
        """Open *pack*; of *target* a descriptor of our own is kept."""
        self._pack = os.open(pack, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._target = os.dup(target)
        except BaseException:  # nobody else could close it
            os.close(self._pack)
            raise
        self._runs = runs
        self._lock = threading.Lock()
        self._users = 1
        self.blocks = -(-runs.total_bytes // BLOCK_BYTES)
        self._brought = bytearray(self.blocks)

    def has(self, first: int, count: int) -> bool:
        """Say whether the blocks, which must exist, are there."""
        return all(self._brought[first : first + count])

    def bring(self, first: int, count: int) -> None:
        """Copy those of the blocks that are missing; blocks, some 0.3 ms a MiB.

        Raises Busy where a disk is full.  Two that bring the same block write the same bytes.
        """
        with self._in_use():
            for block in range(first, min(first + count, self.blocks)):
                if not self._brought[block]:
                    for piece in self._runs.pieces(block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES):
                        self._copy(piece)
                    self._brought[block] = 1

    def close(self) -> None:
        """Let go; the descriptors close when no thread is in the middle of it."""
        with self._lock:
            self._users -= 1
            if not self._users:
                os.close(self._pack)
                os.close(self._target)

    @contextmanager
    def _in_use(self) -> Iterator[None]:
        with self._lock:
            if not self._users:
                return
            self._users += 1
        try:
            yield
        finally:
            self.close()

    def _copy(self, piece: Piece) -> None:
        """Have the kernel copy; file systems that share blocks copy nothing."""
        origin, target, left = piece
        copy = self._copy_blocks
        while left:
            try:
                copied = copy(origin, target, left)
            except OSError as failed:
                if copy == self._copy_blocks and failed.errno in _NO_COPY:
                    copy = self._send
                    continue
                if failed.errno in _FULL:
                    raise Busy(
                        "There is no room for a session's contents.", "Free space, then ask again."
                    ) from failed
                raise
            if not copied:
                raise EOFError(f"the pack ends before {origin + left}")
            origin, target, left = origin + copied, target + copied, left - copied

    def _copy_blocks(self, origin: int, target: int, count: int) -> int:
        return os.copy_file_range(self._pack, self._target, count, origin, target)

    def _send(self, origin: int, target: int, count: int) -> int:
        """Copy between file systems: sendfile(2) writes where its descriptor stands, so take a new one."""
        out = os.open(f"/proc/self/fd/{self._target}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.lseek(out, target, os.SEEK_SET)
            return os.sendfile(out, self._pack, origin, count)
        finally:
            os.close(out)
