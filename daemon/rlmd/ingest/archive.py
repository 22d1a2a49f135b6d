"""Read the texts in a zip or tar archive, as a stream, nothing of it laid on the disk.

Archives are hostile: sizes they tell are not believed, what unpacks to more than the bounds is given
up, links and devices are left out, and a path that leads out is too.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from io import BufferedIOBase
from typing import IO, cast

from rlmd.errors import BadArgument, TooLarge
from rlmd.ingest.bundle import Bounds, Bundle, Sorting
from rlmd.requests import Document
from rlmd.values import Skip, WalkRules

SUFFIXES = (".zip", ".whl", ".jar", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
PIECE_BYTES = 1 << 20
MOST_AT_ONCE = 64 << 20
DIRECTORY_BYTES = 64 << 20
_ZIPPED = (".zip", ".whl", ".jar")
_BROKEN = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, OSError,
    RuntimeError, struct.error, ValueError,
)  # fmt: skip
_TAIL_BYTES = 22 + 0xFFFF + 20


def is_archive(path: str) -> bool:
    """Return whether the name says that it is an archive which can be read."""
    return path.lower().endswith(SUFFIXES)


def archive(path: str, rules: WalkRules, bounds: Bounds) -> Bundle:
    """Return what the archive at *path* holds, as it is now."""
    return Bundle(path, state_key(os.stat(path)), partial(_documents, path, rules, bounds))


def state_key(state: os.stat_result) -> str:
    """Name the state of a file: another one has another name."""
    return f"{state.st_dev}:{state.st_ino}:{state.st_size}:{state.st_mtime_ns}:{state.st_ctime_ns}"


def _documents(path: str, rules: WalkRules, bounds: Bounds) -> Iterator[Document | Skip | None]:
    sorting = Sorting(path, rules, bounds)
    members = _zipped if path.lower().endswith(_ZIPPED) else _tarred
    with open(path, "rb") as file:
        try:
            for name, is_regular, open_member in members(file, bounds):
                member = name.removeprefix("./").rstrip("/")
                if refusal := sorting.refusal(member):
                    yield refusal
                elif not is_regular:
                    yield Skip(member, "special")
                else:
                    data = _whole(open_member, bounds.max_file_bytes)
                    yield Skip(member, "too_large") if data is None else sorting.document(member, data)
                yield None
        except _BROKEN as broken:
            raise BadArgument(
                f"{path} cannot be read as an archive: {broken}", "It may be damaged."
            ) from broken


Opener = Callable[[], IO[bytes]]


def _whole(open_member: Opener, most: int) -> bytes | None:
    """Return a member's content, None where it is more than *most* bytes."""
    pieces: list[bytes] = []
    size = 0
    with open_member() as member:
        while piece := member.read(PIECE_BYTES):
            pieces.append(piece)
            size += len(piece)
            if size > most:
                return None
    return b"".join(pieces)


def _zipped(file: IO[bytes], bounds: Bounds) -> Iterator[tuple[str, bool, Opener]]:
    if _directory_bytes(file) > DIRECTORY_BYTES:
        raise TooLarge("the archive's table of contents is too large.", "Unpack it and ask about a part.")
    spare = bounds.max_bytes
    with zipfile.ZipFile(file) as opened:
        for info in opened.infolist():
            if info.is_dir():
                continue
            if info.flag_bits & 1:
                raise BadArgument("the archive is encrypted", "Decrypt it first.")
            spare -= min(info.file_size, bounds.max_file_bytes)
            if spare < 0:
                raise TooLarge(
                    f"the archive unpacks to more than {bounds.max_bytes} bytes.", "Ask about a part."
                )
            is_link = info.external_attr >> 28 == 0xA  # noqa: PLR2004 - S_IFLNK
            yield info.filename, not is_link, partial(opened.open, info)


def _directory_bytes(file: IO[bytes]) -> int:
    """Return how long the archive says that its table of contents is, which is read at once."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _TAIL_BYTES))
    tail = file.read()
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or len(tail) < end + 22:
        raise zipfile.BadZipFile("no table of contents")
    told: int = struct.unpack_from("<I", tail, end + 12)[0]
    if end >= 20 and tail[end - 20 : end - 16] == b"PK\x06\x07":  # noqa: PLR2004 - the locator of a large one
        file.seek(struct.unpack_from("<Q", tail, end - 12)[0])
        told = max(told, struct.unpack("<Q", file.read(48)[40:48])[0])
    file.seek(0)
    return told


class _Bounded:
    """A stream of unpacked bytes that ends in TooLarge before it can fill the memory or the day."""

    def __init__(self, stream: BufferedIOBase | IO[bytes], most: int) -> None:
        self._stream, self._left = stream, most

    def read(self, size: int) -> bytes:
        """Return the next *size* bytes, fewer at the end."""
        if size > min(self._left, MOST_AT_ONCE):
            raise TooLarge("the archive unpacks to more than may be read.", "Unpack it and ask about a part.")
        data = self._stream.read(size)
        self._left -= len(data)
        return data


def _tarred(file: IO[bytes], bounds: Bounds) -> Iterator[tuple[str, bool, Opener]]:
    magic = file.read(6)
    file.seek(0)
    stream: BufferedIOBase | IO[bytes] = file
    if magic.startswith(b"\x1f\x8b"):
        stream = gzip.GzipFile(fileobj=file)
    elif magic.startswith(b"BZh"):
        stream = bz2.BZ2File(file)
    elif magic.startswith(b"\xfd7zXZ"):
        stream = lzma.LZMAFile(file)  # noqa: SIM115 - it goes with the file below it
    bounded = _Bounded(stream, 2 * bounds.max_bytes)
    with tarfile.open(fileobj=cast("IO[bytes]", bounded), mode="r|", errorlevel=2) as opened:
        for info in opened:
            opened.members = []  # type: ignore[attr-defined]  # it would remember every one
            if not info.isdir():
                yield info.name, info.isreg(), partial(_extract, opened, info)


def _extract(opened: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    member = opened.extractfile(info)
    if member is None:
        raise tarfile.ReadError(f"{info.name} has no content")
    return member
