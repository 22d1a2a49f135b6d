"""What is known of a tree: its last snapshot, and what tells whether its files have changed since.

It is kept in the cache, so that a daemon which starts finds out by a look at each file, opening none,
what has changed while there was no daemon.
"""

from __future__ import annotations

import json
import os
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from rlmd.corpus.pack import Pack
from rlmd.corpus.sealed import Damaged, read_sealed, write_sealed
from rlmd.corpus.snapshot import Files, Run, Snapshot, Tree, spliced, take
from rlmd.values import FileStat, Skip, SkipTally, TokenEncoding

KIND = "rlmd tree 1"


class Stamps:
    """What the files of a snapshot looked like from outside when they were read: 35 bytes a file."""

    __slots__ = ("_columns", "_devices", "_settled")

    def __init__(self, stats: Sequence[FileStat], settled: Iterable[bool]) -> None:
        self._devices = list(dict.fromkeys(stat.device for stat in stats))
        places = {device: place for place, device in enumerate(self._devices)}
        self._columns = (
            array("H", [places[stat.device] for stat in stats]),
            array("Q", [stat.inode for stat in stats]),
            array("q", [stat.size_bytes for stat in stats]),
            array("q", [stat.mtime_ns for stat in stats]),
            array("q", [stat.ctime_ns for stat in stats]),
        )
        self._settled = bytes(settled)

    def spliced(self, other: Stamps, order: Sequence[Run]) -> Stamps:
        """Return the stamps of these and *other* in *order*."""
        both = Stamps((), ())
        both._devices = list(dict.fromkeys([*self._devices, *other._devices]))
        places = [both._devices.index(device) for device in other._devices]
        theirs = (array("H", [places[place] for place in other._columns[0]]), *other._columns[1:])
        device, inode, size, mtime, ctime = (
            spliced(mine, his, order) for mine, his in zip(self._columns, theirs, strict=True)
        )
        both._columns = (device, inode, size, mtime, ctime)
        settled = (self._settled, other._settled)
        both._settled = b"".join([settled[new][start:stop] for new, start, stop in order])
        return both

    def hold(self, row: int, stat: os.stat_result) -> bool:
        """Return whether the file at *row* is certainly the one that was read."""
        device, inode, size, mtime, ctime = self._columns
        return (
            self._settled[row] == 1
            and mtime[row] == stat.st_mtime_ns
            and ctime[row] == stat.st_ctime_ns
            and size[row] == stat.st_size
            and inode[row] == stat.st_ino
            and self._devices[device[row]] == stat.st_dev
        )

    def dump(self) -> tuple[list[int], list[bytes]]:
        """Return the devices and the columns, as `load` takes them."""
        return self._devices, [*(column.tobytes() for column in self._columns), self._settled]

    @classmethod
    def load(cls, devices: list[int], columns: Sequence[memoryview]) -> Stamps:
        """Return what was dumped."""
        stamps = cls((), ())
        *numbers, settled = columns
        stamps._devices = devices
        for column, raw in zip(stamps._columns, numbers, strict=True):
            column.frombytes(raw)
        stamps._settled = bytes(settled)
        return stamps


@dataclass(frozen=True, slots=True)
class Known:
    """A snapshot and what tells whether its files have changed since.

    `refused` are files that were read and are no text, or too much of it, as they were then.
    """

    snapshot: Snapshot
    stamps: Stamps
    refused: Mapping[str, tuple[FileStat, Skip]] = field(default_factory=dict)


def name_of(source: Tree) -> str:
    """Return the file name under which what is known of *source* is kept."""
    return sha256(repr(source).encode("utf-8", "surrogateescape")).hexdigest()[:32]


def save(path: str, known: Known) -> None:
    """Write *known* to *path*; raises OSError.  A thread's work."""
    files, (devices, stamps) = known.snapshot.files, known.stamps.dump()
    refused = [
        [path, stat.device, stat.inode, stat.size_bytes, stat.mtime_ns, stat.ctime_ns, skip.reason]
        for path, (stat, skip) in known.refused.items()
    ]
    parts = [*files.dump(), *stamps, json.dumps(refused).encode()]
    facts = {
        "source": repr(known.snapshot.source),
        "pack": known.snapshot.pack.id,
        "encoding": known.snapshot.encoding,
        "devices": devices,
        "parts": [len(part) for part in parts],
    }
    write_sealed(path, KIND, facts, parts)


def load(path: str, source: Tree, encoding: TokenEncoding, pack: Pack) -> Known | None:
    """Return what is known of *source* by the file at *path*; None if that is nothing to rely on.

    A thread's work.  The skipped are not known: a walk finds them again.
    """
    try:
        facts, parts = _read(path, pack)
        if (facts["source"], facts["encoding"]) != (repr(source), encoding):
            return None
        *columns, refused = parts
        files = Files.load(columns[: Files.COLUMNS])
        stamps = Stamps.load(facts["devices"], columns[Files.COLUMNS :])
    except (OSError, Damaged, ValueError, KeyError):
        return None
    if files.end > pack.end:
        return None
    snapshot = take(source, files, SkipTally(), encoding=encoding, pack=pack)
    return Known(snapshot, stamps, dict(map(_refusal, json.loads(bytes(refused)))))


def offsets_in(path: str, pack: Pack) -> Sequence[int]:
    """Return where the contents of the tree that *path* tells of begin in *pack*."""
    try:
        _, parts = _read(path, pack)
    except (OSError, Damaged, ValueError, KeyError):
        return ()
    return Files.load(parts[: Files.COLUMNS]).offsets()


def _read(path: str, pack: Pack) -> tuple[dict[str, Any], list[memoryview]]:
    facts, body = read_sealed(path, KIND)
    if facts["pack"] != pack.id:
        raise Damaged(f"{path} is about another pack")
    parts, at = [], 0
    for length in facts["parts"]:
        parts.append(body[at : at + length])
        at += length
    return facts, parts


def _refusal(row: list[object]) -> tuple[str, tuple[FileStat, Skip]]:
    path, *numbers, reason = row
    return path, (FileStat(*numbers), Skip(path, reason))  # type: ignore[arg-type,return-value]
