"""The documents as the code in a cell sees them: texts that are decoded when they are touched.

Runs inside; standard library only.
"""

from __future__ import annotations

import difflib
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterator, Mapping

from rlmd.sandbox.longtext import LongText
from rlmd.sandbox.pages import Pages
from rlmd.sandbox.table import CODECS, LONGEST_STR_BYTES, Row, Table

KEPT_BYTES = 32 << 20
BOM = "\ufeff"


class Files(Mapping[str, str]):
    """All files of the corpus: path to text, in path order; a text is decoded when it is asked for.

    A text of more than 256 MB comes as a `LongText`.
    """

    def __init__(self, table: Table, pages: Pages) -> None:
        self._table = table
        self._pages = pages
        self._kept: OrderedDict[int, str] = OrderedDict()
        self._kept_bytes = 0
        self._touched = bytearray(len(table.paths) // 8 + 1)

    def __getitem__(self, path: str) -> str:
        row = self.row(path)
        if row is None:
            raise KeyError(f"no file {path!r}{self._nearest(path)}")
        return self._text(row)

    def __iter__(self) -> Iterator[str]:
        return iter(self._table.paths)

    def __len__(self) -> int:
        return len(self._table.paths)

    def __contains__(self, path: object) -> bool:
        return isinstance(path, str) and self.row(path) is not None

    def __repr__(self) -> str:
        return f"<files: {len(self)} texts, {sum(self._table.lengths):,} bytes>"

    def size(self, path: str) -> int:
        """Return the bytes of the file as it lay on the disk."""
        row = self.row(path)
        if row is None:
            raise KeyError(path)
        return self._table.lengths[row]

    def touched(self) -> str:
        """Return which files were looked into, in hex digits: file n is bit n % 8 of byte n // 8."""
        return self._touched.hex()

    def row(self, path: str) -> int | None:
        """Return where *path* stands, or None."""
        paths = self._table.paths
        at = bisect_left(paths, path)
        return at if at < len(paths) and paths[at] == path else None

    def may_hold(self, path: str, needle: bytes) -> bool:
        """Say whether the UTF-8 text *needle* can be in the file, without decoding it."""
        row = self.row(path)
        assert row is not None
        self._touch(row)
        found = self._table.row(row)
        return found.encoding in CODECS or self._pages.find(needle, found.offset, _end(found)) >= 0

    def _touch(self, at: int) -> None:
        self._touched[at >> 3] |= 1 << (at & 7)

    def _text(self, at: int) -> str:
        self._touch(at)
        if at in self._kept:
            self._kept.move_to_end(at)
            return self._kept[at]
        row = self._table.row(at)
        if row.length > LONGEST_STR_BYTES:
            return LongText(self._pages, row)  # type: ignore[return-value]  # as much of a str as fits
        text = decode(self._pages, row)
        self._keep(at, text)
        return text

    def _keep(self, at: int, text: str) -> None:
        """Remember *text* until texts touched later need the room."""
        if self._table.lengths[at] > KEPT_BYTES:
            return
        self._kept[at] = text
        self._kept_bytes += self._table.lengths[at]
        while self._kept_bytes > KEPT_BYTES:
            gone, _ = self._kept.popitem(last=False)
            self._kept_bytes -= self._table.lengths[gone]

    def _nearest(self, path: object) -> str:
        if not isinstance(path, str):
            return "; a path is a str"
        name = path.rpartition("/")[2]
        alike = [known for known in self._table.paths if known.rpartition("/")[2] == name][:3]
        alike = alike or difflib.get_close_matches(path, self._table.paths[:5000], 3)
        return f"; there is {', '.join(map(repr, alike))}" if alike else ""


def decode(pages: Pages, row: Row) -> str:
    """Return the text of *row* without a byte order mark; what is not valid becomes U+FFFD."""
    codec, _ = CODECS.get(row.encoding, ("utf-8", 1))
    return pages.text(row.offset, _end(row), codec).removeprefix(BOM)


def _end(row: Row) -> int:
    return row.offset + row.length
