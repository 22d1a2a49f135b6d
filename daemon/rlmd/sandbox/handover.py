"""The contents of a session where a process may see them: its bytes, and no other byte of the pack."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial

from rlmd.sandbox.requests import Content, Documents
from rlmd.sandbox.runs import Runs, Source
from rlmd.sandbox.table import BLOCK_BYTES, LONGEST_STR_BYTES, Row, pack

MEMORY_BYTES = 64 << 20
"""More than this goes to an unlinked file beside the pack: the kernel can write it back, and a daemon
with a memory limit lives on."""


@dataclass(frozen=True, slots=True, eq=False)
class Handed:
    """Two descriptors, for reading only, that whoever holds this must close; `context` is a path.

    With a `source` the bytes come when they are asked for, but for the blocks that are `there`: the
    first one and how many.  Without, all are.
    """

    data: int
    table: int
    context: str | None
    source: Source | None = None
    there: tuple[int, int] = (0, 0)

    @property
    def blocks(self) -> int:
        """How many blocks have to be asked for."""
        return self.source.blocks if self.source is not None else 0

    def close(self) -> None:
        """Give the contents back; processes that map them keep what they have."""
        os.close(self.data)
        os.close(self.table)
        if self.source is not None:
            self.source.close()


def hand_over(content: Content | None) -> Handed:
    """Make *content* ready to be seen by a process; blocks, some 2 µs a document.

    A text is copied.  Of documents nothing is read before it is asked for, save the one that is bound
    as `context`: a `str` has to be there as a whole.  Raises Busy where a disk is full.
    """
    match content:
        case None:
            return _handed(_sealed(b""), [], None)
        case Documents():
            return _documents(content)
        case text:
            encoded = text.text.encode("utf-8", "replace")
            return _handed(_sealed(encoded), [Row(text.name, 0, len(encoded), "utf-8")], text.name)


def _documents(content: Documents) -> Handed:
    files = sorted(content.files, key=lambda file: file.path)
    runs = Runs(file.span for file in files if file.span.length)
    rows = [
        Row(file.path, runs.place(file.span) if file.span.length else 0, file.span.length, file.encoding)
        for file in files
    ]
    if not runs.total_bytes:
        return _handed(_sealed(b""), rows, content.context)
    place = os.path.dirname(content.pack)
    with _memory() if runs.total_bytes <= MEMORY_BYTES else _disk(place) as file:
        os.truncate(file, runs.total_bytes)
        return _handed(_read_only(file), rows, content.context, partial(Source, content.pack, file, runs))


def _handed(
    data: int, rows: list[Row], context: str | None, source: Callable[[], Source] | None = None
) -> Handed:
    with ExitStack() as undone:
        undone.callback(os.close, data)
        table = _sealed(pack(rows))
        undone.callback(os.close, table)
        handed = Handed(data, table, context)
        if source is not None:
            opened, there = source(), _blocks_of(context, rows)
            undone.callback(opened.close)
            opened.bring(*there)
            handed = replace(handed, source=opened, there=there)
        undone.pop_all()
        return handed


def _blocks_of(context: str | None, rows: Iterable[Row]) -> tuple[int, int]:
    """Return the first block of the document that is decoded before any cell, and how many it has."""
    for row in rows:
        if row.path == context and 0 < row.length <= LONGEST_STR_BYTES:
            first = row.offset // BLOCK_BYTES
            return first, -(-(row.offset + row.length) // BLOCK_BYTES) - first
    return 0, 0


def _sealed(data: bytes) -> int:
    """Return a read-only descriptor of *data*, never empty, that nobody can change."""
    with _memory() as file:
        rest = memoryview(data or b"\0")
        while rest:
            rest = rest[os.write(file, rest) :]
        seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, seals)
        return _read_only(file)


@contextmanager
def _memory() -> Iterator[int]:
    file = os.memfd_create("rlmd-session", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        yield file
    finally:
        os.close(file)


@contextmanager
def _disk(directory: str) -> Iterator[int]:
    with tempfile.TemporaryFile(dir=directory, buffering=0) as file:
        yield file.fileno()


def _read_only(file: int) -> int:
    """Return a descriptor that can only read, and whose mappings can never be made to write."""
    return os.open(f"/proc/self/fd/{file}", os.O_RDONLY | os.O_CLOEXEC)
