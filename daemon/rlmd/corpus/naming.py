"""Names of a snapshot, asked of its contents: what a file defines, where a name is defined and mentioned.

Contents are parsed when they are asked about, in a worker process; one that it cannot bear is looked
at line by line.
"""

from __future__ import annotations

import re
from array import array
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

from rlmd.corpus.foremost import look
from rlmd.corpus.roles import WEIGHTS, role
from rlmd.corpus.snapshot import Snapshot
from rlmd.corpus.symbols import Item, Outline, Want
from rlmd.errors import BadArgument, NotFound
from rlmd.offload import Offload, OffloadError
from rlmd.values import Match

OUTLINE, MENTIONS = "rlmd.corpus.symbols:outline", "rlmd.corpus.symbols:mentions"
PARSE_S = 20.0
BATCH_FILES, BATCH_BYTES = 64, 1 << 20
MOST_FILES = 2000
"""Of the files that hold a name so many are parsed, sources first."""
OUTLINES = 256
_NAME = re.compile(r"[\w$]{1,200}")


@dataclass(frozen=True, slots=True)
class OutlineOf:
    """Tell what the file at *path* of *snapshot* defines; answered with `str`, a line a definition."""

    snapshot: Snapshot
    path: str


@dataclass(frozen=True, slots=True)
class Mentions:
    """Find the lines of *snapshot* that define *name*, or mention it; answered with a tuple of `Match`."""

    snapshot: Snapshot
    name: str
    want: Want
    limit: int = 200


class Naming:
    """Asks *offload* about contents, and keeps the last outlines."""

    def __init__(self, offload: Offload) -> None:
        self._offload = offload
        self._outlines: OrderedDict[bytes, Outline] = OrderedDict()

    async def answer(self, request: OutlineOf | Mentions) -> str | tuple[Match, ...]:
        """Return what was asked for."""
        match request:
            case OutlineOf(snapshot, path):
                return await self.outline(snapshot, path)
            case Mentions(snapshot, name, want, limit):
                return tuple(await self.mentions(snapshot, name, want, limit))

    async def outline(self, snapshot: Snapshot, path: str) -> str:
        """Return what the file at *path* of *snapshot* defines, a line each, and by what that was told.

        Raises NotFound.  Cancelling may end the worker process.
        """
        row = snapshot.files.row(path)
        if row is None:
            raise NotFound(f"{path} is not in the corpus.", "Take a path from `files`.")
        key = snapshot.files.hash_at(row) + path.rpartition(".")[2].encode()
        held = self._outlines.get(key)
        if held is None:
            held = self._outlines[key] = await self._outline(snapshot, _item(snapshot, row))
        self._outlines.move_to_end(key)
        if len(self._outlines) > OUTLINES:
            self._outlines.popitem(last=False)
        return _written(path, held)

    async def mentions(self, snapshot: Snapshot, name: str, want: Want, most: int) -> list[Match]:
        """Return the lines of *snapshot* that define or mention *name*, sources first, then by path.

        At most *most*, of MOST_FILES files.  Raises BadArgument for what is no name.
        """
        if not _NAME.fullmatch(name):
            raise BadArgument(f"{name[:80]!r} is no name.", "Give one identifier; grep(pattern) finds text.")
        found: list[Match] = []
        for rows in _batches(snapshot, await self._holders(snapshot, name)):
            items = [_item(snapshot, row) for row in rows]
            told = await self._mentions(snapshot, items, name, want, most - len(found))
            found += [Match(items[number].path, line, text) for number, line, text in told]
            if len(found) >= most:
                break
        return found

    async def _holders(self, snapshot: Snapshot, name: str) -> list[int]:
        """Return the rows of the files whose bytes hold *name*, those that matter most first."""
        rows, held = range(len(snapshot.files)), array("I")
        while len(held) < len(rows):
            held.frombytes(await look(snapshot, rows, len(held), [name], self._offload))
        weights, paths = WEIGHTS["code"], snapshot.files.paths
        holders = [row for row, mask in zip(rows, held, strict=True) if mask]
        return sorted(holders, key=lambda row: (-weights[role(paths[row])], row))[:MOST_FILES]

    async def _outline(self, snapshot: Snapshot, item: Item) -> Outline:
        try:
            told = await self._offload.call(OUTLINE, snapshot.pack.path, item, timeout_s=PARSE_S)
        except OffloadError:
            plain = item._replace(plain=True)
            told = await self._offload.call(OUTLINE, snapshot.pack.path, plain, timeout_s=PARSE_S)
        return cast("Outline", told)

    async def _mentions(
        self, snapshot: Snapshot, items: Sequence[Item], name: str, want: Want, most: int
    ) -> list[tuple[int, int, str]]:
        """Look into *items* together; when the worker cannot bear that, into each alone."""
        pack = snapshot.pack.path
        try:
            told = await self._offload.call(MENTIONS, pack, items, name, want, most, timeout_s=PARSE_S)
        except OffloadError:
            if len(items) == 1 and items[0].plain:
                raise
            found: list[tuple[int, int, str]] = []
            for number, item in enumerate(items):
                alone = [item._replace(plain=len(items) == 1)]
                each = await self._mentions(snapshot, alone, name, want, most - len(found))
                found += [(number, line, text) for _, line, text in each]
            return found
        return cast("list[tuple[int, int, str]]", told)


def _item(snapshot: Snapshot, row: int) -> Item:
    files = snapshot.files
    return Item(files.paths[row], files.span_at(row), files.encoding_at(row))


def _batches(snapshot: Snapshot, rows: Sequence[int]) -> Iterator[list[int]]:
    batch: list[int] = []
    size = 0
    for row in rows:
        length = snapshot.files.span_at(row).length
        if batch and (len(batch) == BATCH_FILES or size + length > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += length
    if batch:
        yield batch


def _written(path: str, held: Outline) -> str:
    told = held.language or "no grammar: by keywords and indentation"
    head = f"{path} ({told}): {len(held.symbols)} definitions"
    lines = (f"{each.first:6}-{each.last:<6} {'  ' * each.depth}{each.signature}" for each in held.symbols)
    return "\n".join([head, *lines])
