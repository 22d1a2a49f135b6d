"""Which contents a word index holds: a file beside it, added to after each commit, read when it is opened.

So a content that stands here is in the index, whenever the writer was killed; what is in the index
and not here is never looked up, and indexed again under another number.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from struct import Struct
from zlib import crc32

import tantivy

FORMAT = 1
"""To be raised with whatever changes cuts, terms or fields: an index of another format is begun anew."""
_HEADER = f"rlmd words {FORMAT}, tantivy {version('tantivy')}\n".encode()
_RECORD = Struct("<16sqI")
_NAME = "contents"


def enter(directory: str, contents: Iterable[tuple[bytes, int]]) -> None:
    """Enter *contents*, by key of 16 bytes and number; on disk when this returns."""
    records = b"".join(_RECORD.pack(key, number, _check(key, number)) for key, number in contents)
    file = os.open(os.path.join(directory, _NAME), os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    try:
        rest = memoryview(records)
        while rest:
            rest = rest[os.write(file, rest) :]
        os.fsync(file)
    finally:
        os.close(file)


def begin_register(directory: Path) -> None:
    """Make *directory*, with nothing in it but the register of an index that holds nothing yet."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o700, parents=True)
    (directory / _NAME).write_bytes(_HEADER)


def read_register(directory: Path) -> dict[bytes, int] | None:
    """Return the number of each content that the index in *directory* holds, by key; None when in doubt.

    A last record that was cut short is no doubt, and taken away.  Blocks for a tenth of a second
    where there are 100,000.
    """
    held = _read(directory / _NAME)
    return held if held is not None and _is_sound(directory, holds=bool(held)) else None


def _read(path: Path) -> dict[bytes, int] | None:
    try:
        data = path.read_bytes()
    except OSError:
        return None
    if not data.startswith(_HEADER):
        return None
    whole = len(data) - (len(data) - len(_HEADER)) % _RECORD.size
    held = {}
    for key, number, check in _RECORD.iter_unpack(memoryview(data)[len(_HEADER) : whole]):
        if check != _check(key, number):
            return None
        held[key] = number
    if whole < len(data):
        os.truncate(path, whole)
    return held


def _is_sound(directory: Path, *, holds: bool) -> bool:
    """Return whether tantivy can open what lies in *directory*."""
    if not holds:
        return True
    try:
        index = tantivy.Index.open(str(directory))
        return index.searcher().num_docs > 0
    except (OSError, ValueError):  # whatever is missing or unreadable
        return False


def _check(key: bytes, number: int) -> int:
    return crc32(key + number.to_bytes(8, "little"))
