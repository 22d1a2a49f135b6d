"""The contents of a snapshot as the worker processes of exact search see them: a file of columns."""

from __future__ import annotations

from codecs import BOM_UTF8
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rlmd.corpus.snapshot import ENCODINGS
from rlmd.values import TextEncoding

HASH_WORDS = 4
WIDE: tuple[TextEncoding, ...] = ("utf-16-le", "utf-16-be")

Numbers = npt.NDArray[np.int64]


class Table:
    """What `Files.columns` wrote to the file at *path*.

    `blobs` has a row for each content that can be searched as it lies, by place: start, length, key
    (the beginning of its hash); `starts` is its first column.  `wide` are files in UTF-16, each with
    row, start, length and encoding.
    """

    def __init__(self, path: str) -> None:
        data = Path(path).read_bytes()
        rows = int(np.frombuffer(data, np.int64, 1)[0])
        places = np.frombuffer(data, np.int64, 2 * rows, 8).reshape(2, rows)
        keys = np.frombuffer(data, np.int64, HASH_WORDS * rows, 8 + 16 * rows)[::HASH_WORDS]
        encodings = np.frombuffer(data, np.uint8, rows, 8 + (16 + 8 * HASH_WORDS) * rows)
        is_wide = np.isin(encodings, [ENCODINGS.index(name) for name in WIDE])
        mark_bytes = len(BOM_UTF8) * (encodings == ENCODINGS.index("utf-8-bom"))
        self._rows = np.flatnonzero(~is_wide & (places[1] > mark_bytes))
        self.starts, firsts, self._blob = np.unique(
            places[0, self._rows], return_index=True, return_inverse=True
        )
        self.blobs: Numbers = np.stack((*places[:, self._rows[firsts]], keys[self._rows[firsts]]), axis=1)
        self.wide: list[tuple[int, int, int, TextEncoding]] = [
            (row, int(places[0, row]), int(places[1, row]), ENCODINGS[encodings[row]])
            for row in np.flatnonzero(is_wide).tolist()
        ]

    def chosen(self, first: int, last: int) -> npt.NDArray[np.bool_]:
        """Return which of the blobs are in some row from *first* to before *last*."""
        chosen = np.zeros(len(self.blobs), np.bool_)
        chosen[self._blob[slice(*np.searchsorted(self._rows, (first, last)))]] = True
        return chosen

    def by_row(self, counts: Numbers, first: int, last: int) -> Numbers:
        """Turn *counts* of the blobs into two lines: rows in that range that have any, and their counts."""
        some = slice(*np.searchsorted(self._rows, (first, last)))
        both = np.stack((self._rows[some], counts[self._blob[some]]))
        return both[:, both[1] > 0]
