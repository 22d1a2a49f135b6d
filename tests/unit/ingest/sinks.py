"""A place in memory for what readers store."""

from __future__ import annotations

from rlmd.values import Span, TextEncoding


class MemorySink:
    """Keeps contents one after another; good for one thread at a time."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.spans: dict[str, Span] = {}
        self.largest_piece = 0
        self.released: list[int] = []

    def add(self, sha256: str, data: bytes, encoding: TextEncoding) -> Span:
        if sha256 not in self.spans:
            offset = self.reserve(len(data))
            self.write(offset, data)
            self.spans[sha256] = Span(offset, len(data))
        return self.spans[sha256]

    def reserve(self, length: int) -> int:
        self.data += bytes(length)
        return len(self.data) - length

    def write(self, offset: int, piece: bytes) -> None:
        assert offset + len(piece) <= len(self.data)
        self.largest_piece = max(self.largest_piece, len(piece))
        self.data[offset : offset + len(piece)] = piece

    def adopt(self, sha256: str, span: Span, encoding: TextEncoding) -> Span:
        return self.spans.setdefault(sha256, span)

    def release(self, offset: int) -> None:
        self.released.append(offset)

    def content(self, span: Span) -> bytes:
        return bytes(self.data[span.offset : span.offset + span.length])
