"""Where each document of a session lies in the bytes that were handed over; both ends use it.

    u32 count | u64 offset of each | u64 length of each | u8 encoding of each | paths, NUL between

Standard library only.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable
from typing import NamedTuple

ENCODINGS = ("utf-8", "utf-8-bom", "utf-16-le", "utf-16-be", "unknown-8bit")
CODECS = {"utf-16-le": ("utf-16-le", 2), "utf-16-be": ("utf-16-be", 2)}
"""Codec and width of a unit; whatever is not here is read as UTF-8, byte by byte."""
LONGEST_STR_BYTES = 256 << 20
"""What is longer is never one `str`."""
BLOCK_BYTES = 1 << 20
"""The unit in which contents are brought."""
MOST_BLOCKS = 64
"""So many are brought at once."""
_COUNT = struct.Struct("=I")


class Row(NamedTuple):
    """One document."""

    path: str
    offset: int
    length: int
    encoding: str


class Table(NamedTuple):
    """All documents of a session in the order of their paths, in columns."""

    paths: list[str]
    offsets: array[int]
    lengths: array[int]
    encodings: bytes

    def row(self, at: int) -> Row:
        """Return one document."""
        return Row(self.paths[at], self.offsets[at], self.lengths[at], ENCODINGS[self.encodings[at]])


def pack(rows: Iterable[Row]) -> bytes:
    """Return the table as bytes; no path may hold a NUL, as none of a file can."""
    held = list(rows)
    return b"".join(
        [
            _COUNT.pack(len(held)),
            array("Q", [row.offset for row in held]).tobytes(),
            array("Q", [row.length for row in held]).tobytes(),
            bytes(ENCODINGS.index(row.encoding) for row in held),
            "\0".join(row.path for row in held).encode(),
        ]
    )


def unpack(data: bytes) -> Table:
    """Return what `pack` packed on this machine."""
    (count,) = _COUNT.unpack_from(data)
    at = _COUNT.size
    columns = []
    for _ in range(2):
        columns.append(array("Q", data[at : at + 8 * count]))
        at += 8 * count
    paths = data[at + count :].decode().split("\0") if count else []
    return Table(paths, columns[0], columns[1], data[at : at + count])
