"""The frames between the daemon and a confined process: fixed, binary, nothing to be clever about.

    u32 size of the rest | u8 op | u32 turn | u32 ask | u16 parts | u32 length of each | utf-8 of each

All integers are big-endian.  A size is checked before anything of its frame is kept.  Knows no I/O.
Standard library only: the confined process speaks it too.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from enum import IntEnum
from typing import NamedTuple

HEAD = struct.Struct(">IBIIH")
_SIZE = struct.Struct(">I")
_FIXED = HEAD.size - _SIZE.size
MOST_PARTS = 0xFFFF
MOST_TURNS = 0xFFFFFFFF


class Op(IntEnum):
    """What a frame means; below 16 the daemon says it, from 16 on the confined process."""

    START = 1
    RUN = 2
    ANSWER = 3
    REFUSAL = 4
    READY = 16
    UNSAFE = 17
    DONE = 18
    LLM_QUERY = 32
    RLM_QUERY = 33
    SEARCH = 34
    OUTLINE = 35
    DEFINITIONS = 36
    REFERENCES = 37
    BUDGET = 38
    BRING = 39


class WireError(ValueError):
    """What arrived is no frame, or a larger one than agreed; the stream is of no further use."""


class Frame(NamedTuple):
    """One message; `turn` tells the cells of a session apart, `ask` numbers the questions within one."""

    op: int
    turn: int
    ask: int
    parts: tuple[str, ...]


def encode(op: int, turn: int = 0, ask: int = 0, parts: Iterable[str] = ()) -> bytes:
    """Return the bytes of one frame; a lone surrogate travels as a question mark.

    Raises WireError for more parts or bytes than a frame can name.
    """
    pieces = [part.encode("utf-8", "replace") for part in parts]
    size = _FIXED + 4 * len(pieces) + sum(map(len, pieces))
    if len(pieces) > MOST_PARTS or size > MOST_TURNS:
        raise WireError(f"{len(pieces)} parts of {size} bytes do not fit a frame")
    head = HEAD.pack(size, op, turn, ask, len(pieces))
    return b"".join([head, struct.pack(f">{len(pieces)}I", *map(len, pieces)), *pieces])


class Frames:
    """Cuts a stream of bytes into frames; holds at most one unfinished frame and what came with it."""

    def __init__(self, limit_bytes: int) -> None:
        """Refuse frames whose bytes after the size are more than *limit_bytes*."""
        self._limit_bytes = limit_bytes
        self._buffer = bytearray()
        self._at = 0

    @property
    def is_empty(self) -> bool:
        """Whether every byte so far belonged to a frame that was taken."""
        return self._at == len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Add what was received."""
        self._buffer += data

    def take(self) -> Frame | None:
        """Return the next whole frame, or None until more is fed; raise WireError for anything else."""
        held = len(self._buffer) - self._at
        if held < _SIZE.size:
            self._drop_taken()
            return None
        (size,) = _SIZE.unpack_from(self._buffer, self._at)
        if not _FIXED <= size <= self._limit_bytes:
            raise WireError(f"a frame of {size} bytes, where {_FIXED} to {self._limit_bytes} are allowed")
        if held < _SIZE.size + size:
            self._drop_taken()
            return None
        end = self._at + _SIZE.size + size
        with memoryview(self._buffer) as view:
            frame = _parse(view[self._at : end])
        self._at = end
        return frame

    def _drop_taken(self) -> None:
        """Forget the frames that were taken; done once for all that came together."""
        del self._buffer[: self._at]
        self._at = 0


def _parse(data: memoryview) -> Frame:
    size, op, turn, ask, count = HEAD.unpack_from(data)
    start = HEAD.size + 4 * count
    if start > len(data):
        raise WireError(f"{count} parts do not fit {size} bytes")
    lengths = struct.unpack_from(f">{count}I", data, HEAD.size)
    if start + sum(lengths) != len(data):
        raise WireError("the parts are not as long as the frame")
    parts = []
    for length in lengths:
        parts.append(_text(data[start : start + length]))
        start += length
    return Frame(op, turn, ask, tuple(parts))


def _text(data: memoryview) -> str:
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError as broken:
        raise WireError(f"a part is not UTF-8: {broken.reason}") from None
