"""A text too long to be one `str`: as much of its manner as can be had without copying it.

Runs inside; standard library only.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator

from rlmd.sandbox.pages import Pages
from rlmd.sandbox.table import CODECS, Row

BLOCK_BYTES = 1 << 20
LOOK_BACK_BYTES = 64 << 10
CONTINUATION, CONTINUATION_MASK = 0x80, 0xC0
HIGH_SURROGATES = range(0xD8, 0xDC)


class LongText:
    """Slices, `lines()`, `find()`, `findall()`, `finditer()`, `in` and `len()` over a long text.

    Decoded a block at a time, blocks ending with a line where lines are short enough; positions are
    characters, and reaching one means having counted those before it, once.
    """

    def __init__(self, pages: Pages, row: Row) -> None:
        self._pages = pages
        self._start, self._stop = row.offset, row.offset + row.length
        self._codec, self._width = CODECS.get(row.encoding, ("utf-8", 1))
        self._wide_at = 1 if self._codec == "utf-16-le" else 0
        self._cuts = [self._start]
        self._chars = [0]
        self._last: tuple[int, str] = (-1, "")

    def __len__(self) -> int:
        while self._cuts[-1] < self._stop:
            self._block(len(self._cuts) - 1)
        return self._chars[-1]

    def __getitem__(self, key: int | slice) -> str:
        if isinstance(key, int):
            at = key if key >= 0 else key + len(self)
            if (found := self._between(at, at + 1)) and at >= 0:
                return found
            raise IndexError("text index out of range")
        start, stop, step = key.start or 0, key.stop, 1 if key.step is None else key.step
        if step != 1 or start < 0 or stop is None or stop < 0:
            start, stop, step = key.indices(len(self))
        if step < 0:
            return self._between(stop + 1, start + 1)[::step]
        return self._between(start, stop)[::step]

    def __contains__(self, part: str) -> bool:
        return self.find(part) >= 0

    def __iter__(self) -> Iterator[str]:
        for block in self._blocks():
            yield from block

    def __repr__(self) -> str:
        return f"<text of {self._stop - self._start:,} bytes: slices, lines(), find(), findall(), finditer()>"

    def lines(self) -> Iterator[str]:
        """Yield every line without its end."""
        rest = ""
        for block in self._blocks():
            *whole, rest = (rest + block).split("\n")
            yield from whole
        if rest:
            yield rest

    def find(self, part: str, start: int = 0, end: int | None = None) -> int:
        """Return the first position of *part* from *start* on that ends before *end*, or -1."""
        at, carried, before = 0, "", 0
        for number, block in enumerate(self._blocks()):
            before = self._chars[number]
            text, at = carried + block, before - len(carried)
            found = text.find(part, max(0, start - at), None if end is None else max(0, end - at))
            if found >= 0:
                return at + found
            if end is not None and before >= end:
                break
            carried = text[-(len(part) - 1) :] if len(part) > 1 else ""
        return -1

    def findall(self, pattern: str | re.Pattern[str], flags: int = 0) -> list[str]:
        """Return what `re.findall` would, for matches that lie within one block of lines."""
        found: list[str] = []
        for block in self._blocks():
            found += re.findall(pattern, block, flags)
        return found

    def finditer(self, pattern: str | re.Pattern[str], flags: int = 0) -> Iterator[tuple[int, re.Match[str]]]:
        """Yield the position in the whole text, and the match within its block of lines."""
        for number, block in enumerate(self._blocks()):
            for match in re.finditer(pattern, block, flags):
                yield self._chars[number] + match.start(), match

    def _blocks(self) -> Iterator[str]:
        number = 0
        while number + 1 < len(self._cuts) or self._cuts[-1] < self._stop:
            yield self._block(number)
            number += 1

    def _between(self, start: int, stop: int) -> str:
        """Return the characters from *start* up to *stop*, fewer where the text ends."""
        pieces = []
        number = max(0, bisect_right(self._chars, start) - 1)
        while number + 1 < len(self._cuts) or self._cuts[-1] < self._stop:
            if self._chars[number] >= stop:
                break
            block, first = self._block(number), self._chars[number]
            pieces.append(block[max(0, start - first) : max(0, stop - first)])
            number += 1
        return "".join(pieces)

    def _block(self, number: int) -> str:
        """Decode one block, the last known one or one before it, and know the next one's place."""
        if self._last[0] == number:
            return self._last[1]
        start = self._cuts[number]
        stop = self._cuts[number + 1] if number + 1 < len(self._cuts) else self._cut(start)
        text = self._pages.text(start, stop, self._codec)
        if start == self._start:
            text = text.removeprefix("\ufeff")
        if number + 1 == len(self._cuts):
            self._cuts.append(stop)
            self._chars.append(self._chars[-1] + len(text))
        self._last = (number, text)
        return text

    def _cut(self, start: int) -> int:
        """Return where the block from *start* ends: behind a line, or at least behind a character."""
        stop = start + BLOCK_BYTES
        if stop >= self._stop:
            return self._stop
        if self._width == 1:
            newline = self._pages.rfind(b"\n", stop - LOOK_BACK_BYTES, stop)
            if newline >= 0:
                return newline + 1
            for shorter in range(4):
                if self._pages.byte(stop - shorter) & CONTINUATION_MASK != CONTINUATION:
                    return stop - shorter
            return stop
        return stop - 2 if self._pages.byte(stop - 2 + self._wide_at) in HIGH_SURROGATES else stop
