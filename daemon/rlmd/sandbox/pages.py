"""The bytes of all documents as the confined process has them: mapped, and brought when touched.

Runs inside; standard library only.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable

from rlmd.sandbox.table import BLOCK_BYTES, MOST_BLOCKS

Bring = Callable[[int, int], None]
"""Return when as many blocks as the second number, from the first on, are there."""


class Pages:
    """Shared memory for reading; nothing of it is copied, decoded or even there before it is touched."""

    def __init__(self, data: mmap.mmap, blocks: int, bring: Bring) -> None:
        """Map *data*, whose first *blocks* blocks have to be brought; the rest is there."""
        self._data = data
        self._brought = bytearray(blocks)
        self._bring = bring
        self._next = -1
        self._ahead = 1

    def note(self, first: int, count: int) -> None:
        """Know that *count* blocks from *first* on are there."""
        self._brought[first : first + count] = bytes([1]) * count

    def text(self, start: int, stop: int, codec: str) -> str:
        """Return what the bytes say in *codec*; what is not valid becomes U+FFFD."""
        self._need(start, stop)
        with memoryview(self._data) as view, view[start:stop] as span:
            return str(span, codec, "replace")

    def find(self, needle: bytes, start: int, stop: int) -> int:
        """Return where *needle* begins first, or -1."""
        self._need(start, stop)
        return self._data.find(needle, start, stop)

    def rfind(self, needle: bytes, start: int, stop: int) -> int:
        """Return where *needle* begins last, or -1."""
        self._need(start, stop)
        return self._data.rfind(needle, start, stop)

    def byte(self, at: int) -> int:
        """Return one byte."""
        self._need(at, at + 1)
        return self._data[at]

    def _need(self, start: int, stop: int) -> None:
        """Have the bytes brought that are missing, and more the longer they are touched in order."""
        first, end = start // BLOCK_BYTES, min(-(-stop // BLOCK_BYTES), len(self._brought))
        missing = self._brought.find(0, first, end)
        while missing >= 0:
            self._ahead = min(2 * self._ahead, MOST_BLOCKS) if missing == self._next else 1
            there = self._brought.find(1, missing)
            free = (there if there >= 0 else len(self._brought)) - missing
            count = min(free, max(self._ahead, min(end - missing, MOST_BLOCKS)))
            self._bring(missing, count)
            self.note(missing, count)
            self._next = missing + count
            missing = self._brought.find(0, first, end)
