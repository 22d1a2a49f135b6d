r"""A part of the pack, prepared for exact search: where its lines may be cut, and what is in each block.

A segment is a directory of arrays that never change.  Its blocks are whole lines, some 16 KiB of
them, and no text that begins and ends inside a line lies across two.  For every gram (`grams`)
there is a row with a bit for each block that may hold it.  Contents are known by place, length
and the beginning of their hash: a pack that was replaced is not mistaken for the one that was read.
Runs in a worker process.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import tempfile
import zlib
from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping
from mmap import mmap
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rlmd.corpus.charset import ASCII_END
from rlmd.corpus.demand import Demand, Every, fold
from rlmd.corpus.exact_request import Damaged
from rlmd.corpus.grams import CODES, codes

BLOCK_BYTES = 16 << 10
VERSION = 1
PREFIX = "segment-"
STAGING = "new-"
_GROUP = 8
_META = "meta.json"
_SMALL = ("blobs", "blocks", "odd")
_NEWLINE = 10

Numbers = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]


class Segment:
    """One segment, its arrays mapped into memory.

    `blobs` has a row for each content, by place: start, length, key.  `blocks` has start and end of
    each block, `odd` start and end of each line that is not ASCII (without a byte order mark, with
    its line end), all as places in the pack and ascending.
    """

    def __init__(self, directory: str) -> None:
        """Open the segment in *directory*; raise Damaged when it is not as it was written."""
        try:
            meta = json.loads(Path(directory, _META).read_bytes())
            small = {name: np.load(Path(directory, f"{name}.npy")) for name in _SMALL}
            self.bits: Bytes = np.load(Path(directory, "bits.npy"), mmap_mode="r")
        except (OSError, ValueError, EOFError) as error:
            raise Damaged(directory) from error
        self.blobs: Numbers = small["blobs"]
        self.blocks: Numbers = small["blocks"]
        self.odd: Numbers = small["odd"]
        if meta != _meta(meta.get("pack", ""), small) or self.bits.shape != (
            CODES,
            -(-len(self.blocks) // _GROUP),
        ):
            raise Damaged(directory)
        self.pack: str = meta["pack"]
        self.text_bytes = int((self.blocks[:, 1] - self.blocks[:, 0]).sum())
        neighbours = self.blocks[1:, 0] == self.blocks[:-1, 1]
        self.stretch: Numbers = np.concatenate(([0], np.cumsum(~neighbours)))[: len(self.blocks)]

    def candidates(self, demanded: Demand) -> npt.NDArray[np.bool_]:
        """Return for each block whether it may hold what is demanded."""
        packed = self._rows(demanded)
        return np.unpackbits(packed, count=len(self.blocks)).view(np.bool_)

    def holds(self, blobs: Numbers) -> npt.NDArray[np.bool_]:
        """Return which of *blobs* were read for this segment."""
        if not len(self.blobs):
            return np.zeros(len(blobs), np.bool_)
        at = np.minimum(np.searchsorted(self.blobs[:, 0], blobs[:, 0]), len(self.blobs) - 1)
        held: npt.NDArray[np.bool_] = (self.blobs[at] == blobs).all(axis=1)
        return held

    def touched(self, blobs: Numbers) -> npt.NDArray[np.bool_]:
        """Return which blocks hold something of *blobs*, all of which are here."""
        firsts = np.searchsorted(self.blocks[:, 0], blobs[:, 0], "right") - 1
        lasts = np.searchsorted(self.blocks[:, 0], blobs[:, 0] + blobs[:, 1] - 1, "right") - 1
        steps = np.zeros(len(self.blocks) + 1, np.int64)
        np.add.at(steps, firsts, 1)
        np.add.at(steps, lasts + 1, -1)
        return np.cumsum(steps[:-1]) > 0

    def _rows(self, demanded: Demand) -> Bytes:
        if isinstance(demanded, bytes):
            rows = np.unique(np.concatenate(codes(demanded)))
            row: Bytes = np.bitwise_and.reduce(self.bits[rows], axis=0)
            return row
        if not demanded.parts:
            return np.full(self.bits.shape[1], 255, np.uint8)
        combine = np.bitwise_and if isinstance(demanded, Every) else np.bitwise_or
        rows_of = [self._rows(part) for part in demanded.parts]
        combined: Bytes = functools.reduce(combine, rows_of)
        return combined


def build(pack: str, text: mmap, blobs: Numbers, directory: str) -> str:
    """Write a segment of *blobs* (start, length, key; by place) below *directory* and return its name.

    *text* is the pack and *pack* its identity; a line end follows each blob.  Needs 1/8 of the text
    in memory; some 100 MB a second.  The directory appears whole and on disk, or not at all.
    """
    arrays = {"blobs": blobs, **_Reading(text, blobs).arrays()}
    staging = tempfile.mkdtemp(prefix=STAGING, dir=directory)
    try:
        for name, array in arrays.items():
            with open(os.path.join(staging, f"{name}.npy"), "wb") as file:
                np.save(file, array)
                file.flush()
                os.fsync(file.fileno())
        with open(os.path.join(staging, _META), "w") as file:
            json.dump(_meta(pack, {name: arrays[name] for name in _SMALL}), file)
            file.flush()
            os.fsync(file.fileno())
        name = PREFIX + os.path.basename(staging).removeprefix(STAGING)
        os.rename(staging, os.path.join(directory, name))
    except BaseException:  # an interrupt too must leave no draft
        shutil.rmtree(staging, ignore_errors=True)
        raise
    return name


def _meta(pack: str, small: Mapping[str, npt.NDArray[np.generic]]) -> dict[str, object]:
    sums = {name: zlib.crc32(array.tobytes()) for name, array in small.items()}
    return {"version": VERSION, "pack": pack, "block_bytes": BLOCK_BYTES, "codes": CODES, "sums": sums}


class _Reading:
    """One pass over the text of some blobs."""

    def __init__(self, text: mmap, blobs: Numbers) -> None:
        self._text = text
        self._starts = blobs[:, 0]
        self._blocks = np.array(list(cut(text, blobs, BLOCK_BYTES)), np.int64).reshape(-1, 2)
        self._odd = [np.zeros((0, 2), np.int64)]

    def arrays(self) -> dict[str, npt.NDArray[np.int64] | Bytes]:
        groups = range(0, len(self._blocks), _GROUP)
        bits = np.zeros((CODES, len(groups)), np.uint8)
        for column, first in enumerate(groups):
            bits[:, column] = self._column(self._blocks[first : first + _GROUP])
        return {"blocks": self._blocks, "odd": np.concatenate(self._odd), "bits": bits}

    def _column(self, blocks: Numbers) -> Bytes:
        """Return a byte for each code: which of at most eight *blocks* may hold it."""
        seen = np.zeros((_GROUP, CODES), np.uint8)
        raw = b"".join(self._text[start:end] for start, end in blocks.tolist())
        # A gram belongs to the block of its second byte, so that the line end before a line is in its block.
        of_block = np.repeat(np.arange(len(blocks), dtype=np.uint32) * CODES, blocks[:, 1] - blocks[:, 0])
        flat = seen.reshape(-1)
        for code in codes(b"\n" + raw.lower()):
            flat[of_block[: len(code)] + code] = 1
        if not raw.isascii():
            self._take_odd(seen, raw, blocks)
        column: Bytes = np.packbits(seen, axis=0)[0]
        return column

    def _take_odd(self, seen: Bytes, raw: bytes, blocks: Numbers) -> None:
        """Remember the lines that are not ASCII, and note what is in them with their case folded."""
        lines = odd_lines(raw)
        begins = np.concatenate(([0], np.cumsum(blocks[:, 1] - blocks[:, 0])))
        block = np.searchsorted(begins, lines[:, 0], "right") - 1
        shift = blocks[block, 0] - begins[block]
        lines[:, 0] += marks(raw, lines[:, 0], np.isin(lines[:, 0] + shift, self._starts))
        self._odd.append(lines + shift[:, None])
        for number in np.unique(block).tolist():
            held = b"".join(raw[start:end] for start, end in lines[block == number].tolist())
            folded = fold(held.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
            for code in codes(b"\n" + folded):
                seen[number, code] = 1


def cut(text: mmap, blobs: Numbers, size: int) -> Iterator[tuple[int, int]]:
    """Cut *blobs* with their line ends into runs of whole lines of about *size*, longer for a longer line.

    Blobs that follow one another in the pack share runs.
    """
    ends = blobs[:, 0] + blobs[:, 1] + 1
    parted = np.flatnonzero(blobs[1:, 0] != ends[:-1])
    firsts = np.concatenate(([0], parted + 1))[: len(blobs)]
    lasts = np.concatenate((parted, [len(blobs) - 1]))[: len(firsts)]
    for at, stop in zip(blobs[firsts, 0].tolist(), ends[lasts].tolist(), strict=True):
        start = at
        while stop - start > size:
            end = text.rfind(b"\n", start, start + size) + 1 or text.find(b"\n", start, stop) + 1 or stop
            yield start, end
            start = end
        if start < stop:
            yield start, stop


def odd_lines(raw: bytes) -> Numbers:
    """Return start and end of each line of *raw* that is not ASCII; *raw* ends with a line end."""
    data = np.frombuffer(raw, np.uint8)
    ends = np.flatnonzero(data == _NEWLINE) + 1
    line = np.unique(np.searchsorted(ends, np.flatnonzero(data >= ASCII_END), "right"))
    return np.stack((np.concatenate(([0], ends))[line], ends[line]), axis=1).astype(np.int64)


def marks(raw: bytes, starts: Numbers, begins_blob: npt.NDArray[np.bool_]) -> Numbers:
    """Return how many bytes of a byte order mark begin each line: only where a blob begins there too."""
    sizes = np.zeros(len(starts), np.int64)
    for at in np.flatnonzero(begins_blob).tolist():
        if raw.startswith(BOM_UTF8, int(starts[at])):
            sizes[at] = len(BOM_UTF8)
    return sizes
