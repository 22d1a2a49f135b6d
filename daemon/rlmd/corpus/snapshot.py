"""What a corpus held at one moment: paths, content hashes and where the contents lie.

A snapshot never changes and costs some 65 bytes a file beside the paths; entries are made when
they are looked at.
"""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, get_args

from rlmd.corpus.pack import Pack
from rlmd.values import SkipTally, Span, TextEncoding, WalkRules

ENCODINGS: tuple[TextEncoding, ...] = get_args(TextEncoding)


@dataclass(frozen=True, slots=True)
class Tree:
    """Files below a root, as `Collect` names them; `alias` renames the one file of `CollectFile`."""

    root: str
    targets: tuple[str, ...]
    rules: WalkRules
    alias: str | None = None


@dataclass(frozen=True, slots=True)
class Text:
    """A text that came with its question."""

    name: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Bundle:
    """Documents from elsewhere than a tree, found at `root`, in the state that `key` names."""

    root: str
    key: str


Source = Tree | Text | Bundle


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a snapshot."""

    path: str
    sha256: str
    span: Span
    tokens: int
    encoding: TextEncoding

    @property
    def size_bytes(self) -> int:
        """The size of the content that was read."""
        return self.span.length


Run = tuple[bool, int, int]
"""Whether of the new, from which row on, up to which."""


def runs(old: Sequence[str], gone: Sequence[int], new: Sequence[str]) -> list[Run]:
    """Return how to put *new* among *old* but for the rows *gone*, sorted as both are."""
    if not old:
        return [(True, 0, len(new))]
    cuts = [(bisect_left(old, path), True, row) for row, path in enumerate(new)]
    cuts += [(row, False, row) for row in gone]
    cuts.sort(key=lambda cut: (cut[0], not cut[1]))
    found: list[Run] = []
    at = 0
    for place, is_new, row in cuts:
        if place > at:
            found.append((False, at, place))
        at = place if is_new else place + 1
        if is_new:
            found.append((True, row, row + 1))
    return [*found, (False, at, len(old))]


def spliced(ours: array[int], theirs: array[int], order: Iterable[Run]) -> array[int]:
    """Return the items of *ours* and *theirs* in *order*."""
    both = array(ours.typecode)
    for is_new, start, stop in order:
        both.extend((theirs if is_new else ours)[start:stop])
    return both


class Files:
    """The entries of a snapshot in the order of their paths, kept in columns."""

    __slots__ = ("__weakref__", "_encodings", "_hashes", "_lengths", "_offsets", "_tokens", "paths")
    COLUMNS: ClassVar = 6

    def __init__(self, entries: Iterable[Entry]) -> None:
        ordered = sorted(entries, key=lambda entry: entry.path)
        self.paths = tuple(entry.path for entry in ordered)
        self._hashes = b"".join(bytes.fromhex(entry.sha256) for entry in ordered)
        self._offsets = array("q", [entry.span.offset for entry in ordered])
        self._lengths = array("q", [entry.span.length for entry in ordered])
        self._tokens = array("q", [entry.tokens for entry in ordered])
        self._encodings = bytes(ENCODINGS.index(entry.encoding) for entry in ordered)

    def spliced(self, other: Files, order: Sequence[Run]) -> Files:
        """Return the files of these and *other* in *order*, which sorts by path."""
        both = Files(())
        paths = list[str]()
        for is_new, start, stop in order:
            paths += (other if is_new else self).paths[start:stop]
        both.paths = tuple(paths)
        hashes, encodings = (self._hashes, other._hashes), (self._encodings, other._encodings)
        both._hashes = b"".join([hashes[new][32 * start : 32 * stop] for new, start, stop in order])
        both._encodings = b"".join([encodings[new][start:stop] for new, start, stop in order])
        both._offsets = spliced(self._offsets, other._offsets, order)
        both._lengths = spliced(self._lengths, other._lengths, order)
        both._tokens = spliced(self._tokens, other._tokens, order)
        return both

    def tells_the_same(self, other: Files) -> bool:
        """Return whether paths, contents and encodings are equal."""
        return (self.paths, self._hashes, self._encodings) == (other.paths, other._hashes, other._encodings)

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[Entry]:
        return map(self.__getitem__, range(len(self)))

    def __getitem__(self, row: int) -> Entry:
        return Entry(
            self.paths[row],
            self.hash_at(row).hex(),
            self.span_at(row),
            self._tokens[row],
            self.encoding_at(row),
        )

    def row(self, path: str) -> int | None:
        """Return where *path* stands, or None when there is no such file."""
        at = bisect_left(self.paths, path)
        return at if at < len(self.paths) and self.paths[at] == path else None

    def hash_at(self, row: int) -> bytes:
        """Return the 32 bytes of the content hash."""
        return self._hashes[32 * row : 32 * row + 32]

    def span_at(self, row: int) -> Span:
        """Return where the content lies in the pack."""
        return Span(self._offsets[row], self._lengths[row])

    def encoding_at(self, row: int) -> TextEncoding:
        """Return how the content is decoded."""
        return ENCODINGS[self._encodings[row]]

    @property
    def total_bytes(self) -> int:
        """The bytes of all files together."""
        return sum(self._lengths)

    @property
    def total_tokens(self) -> int:
        """The tokens of all files together."""
        return sum(self._tokens)

    @property
    def end(self) -> int:
        """Where in the pack the last of the contents ends."""
        return max(map(int.__add__, self._offsets, self._lengths), default=0)

    def offsets(self) -> Sequence[int]:
        """Return where the contents begin in the pack, file by file."""
        return self._offsets

    def dump(self) -> list[bytes]:
        """Return the columns as bytes, as `load` takes them."""
        numbers = [column.tobytes() for column in (self._offsets, self._lengths, self._tokens)]
        return ["\0".join(self.paths).encode(), self._hashes, *numbers, self._encodings]

    @classmethod
    def load(cls, columns: Sequence[memoryview]) -> Files:
        """Return what was dumped."""
        files = cls(())
        paths, hashes, *numbers, encodings = columns
        files.paths = tuple(bytes(paths).decode().split("\0")) if encodings else ()
        files._hashes, files._encodings = bytes(hashes), bytes(encodings)
        for column, raw in zip((files._offsets, files._lengths, files._tokens), numbers, strict=True):
            column.frombytes(raw)
        return files

    def digest(self) -> str:
        """Return the sha256 over all paths and content hashes: same tree, same digest."""
        digest = hashlib.sha256("\0".join(self.paths).encode())
        digest.update(b"\0\0" + self._hashes)
        return digest.hexdigest()


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """The files of *source* at one moment, their contents in *pack*.

    `bytes` and `tokens` are totals; tokens are counted as `encoding` does.  `skipped` tells what was
    left out; it is not to be changed.
    """

    id: str
    source: Source
    root: str
    files: Files
    skipped: SkipTally
    bytes: int
    tokens: int
    encoding: str
    pack: Pack

    def entry(self, path: str) -> Entry | None:
        """Return the file at *path*, or None."""
        row = self.files.row(path)
        return None if row is None else self.files[row]


def take(source: Source, files: Files, skipped: SkipTally, *, encoding: str, pack: Pack) -> Snapshot:
    """Make a snapshot of *files*; some 2 µs a file, so a thread's work for large trees.

    As long as anybody has *files*, their contents stay in the pack.
    """
    pack.hold(files)
    root = "" if isinstance(source, Text) else source.root
    return Snapshot(
        files.digest(), source, root, files, skipped, files.total_bytes, files.total_tokens, encoding, pack
    )
