"""Lines out of bytes: the framing of the wire, without any I/O.

A frame is one line; the line feed ends it, a carriage return before that is tolerated, and lines of
nothing but white space are none.
"""

from __future__ import annotations


class FrameTooLarge(Exception):
    """A line is longer than the limit; nothing after it can be trusted."""


class Framer:
    """Cuts a byte stream into frames; how the bytes were chunked makes no difference.

    Holds at most `limit_bytes` plus one chunk.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._buffer = bytearray()
        self._searched = 0

    def feed(self, data: bytes) -> None:
        """Take in what arrived."""
        self._buffer += data

    def next_frame(self) -> bytes | None:
        """Return the next whole frame, or None until more is fed; raise FrameTooLarge for good."""
        while (end := self._buffer.find(b"\n", self._searched, self._limit_bytes + 1)) >= 0:
            line = bytes(self._buffer[:end]).strip()
            del self._buffer[: end + 1]
            self._searched = 0
            if line:
                return line
        if len(self._buffer) > self._limit_bytes:
            raise FrameTooLarge
        self._searched = len(self._buffer)
        return None

    def rest(self) -> bytes | None:
        """Return what is left of a last line that nothing ended, once the stream has ended."""
        line = bytes(self._buffer).strip()
        self._buffer.clear()
        return line or None
