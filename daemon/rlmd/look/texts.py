"""Open a file as it is now and read it as lines of UTF-8, never all of it at once."""

from __future__ import annotations

import codecs
import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial

from rlmd.corpus.pack import Pack
from rlmd.values import SkipReason, Span

PIECE_BYTES = 1 << 20
LONGEST_LINE_BYTES = 64 << 20
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_UTF16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


class NotText(Exception):
    """The file has no lines to show, for *reason*."""

    def __init__(self, reason: SkipReason) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A text, open for reading from its beginning: `read` returns the next bytes, none at its end."""

    read: Callable[[int], bytes]
    size_bytes: int


Opener = Callable[[], AbstractContextManager[OpenFile]]


@contextmanager
def open_file(path: str) -> Iterator[OpenFile]:
    """Open *path* if it is a regular file; a FIFO, device or symlink cannot hold anybody up.

    Raises NotText saying `special`, `vanished` or `unreadable`, for what fails while it is read too.
    """
    descriptor = None
    try:
        descriptor = os.open(path, _OPEN)
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise NotText("special")
        yield OpenFile(partial(os.read, descriptor), status.st_size)
    except OSError as failure:
        raise NotText(_reason(failure)) from failure
    finally:
        if descriptor is not None:
            os.close(descriptor)


@contextmanager
def open_content(pack: Pack, span: Span) -> Iterator[OpenFile]:
    """Open a content of the pack, as `open_file` does the file it was read from."""
    at = span.offset

    def read(size_bytes: int) -> bytes:
        nonlocal at
        piece = pack.read(Span(at, min(size_bytes, span.offset + span.length - at)))
        at += len(piece)
        return piece

    yield OpenFile(read, span.length)


def _reason(failure: OSError) -> SkipReason:
    match failure.errno:
        case errno.ENOENT | errno.ENOTDIR | errno.ESTALE:
            return "vanished"
        case errno.ELOOP | errno.ENXIO | errno.EISDIR | errno.ENODEV:
            return "special"
        case _:
            return "unreadable"


def pieces(file: OpenFile) -> Iterator[bytes]:
    """Yield the text in order, as UTF-8 in pieces of whole lines, about `PIECE_BYTES` each.

    A byte order mark is dropped, and UTF-16 that begins with one is transcoded; bytes that are
    not UTF-8 stay as they are.  Raises NotText saying `binary` at the first NUL, perhaps after
    pieces were yielded, and `too_large` for a line over `LONGEST_LINE_BYTES`.
    """
    unfinished: list[bytes] = []
    for chunk in _chunks(file):
        if b"\0" in chunk:
            raise NotText("binary")
        cut = chunk.rfind(b"\n") + 1
        if cut:
            yield b"".join((*unfinished, chunk[:cut])) if unfinished else chunk[:cut]
            unfinished = []
        if cut < len(chunk):
            unfinished.append(chunk[cut:])
        if len(unfinished) * PIECE_BYTES > LONGEST_LINE_BYTES:
            raise NotText("too_large")
    if unfinished:
        yield b"".join(unfinished)


def _chunks(file: OpenFile) -> Iterator[bytes]:
    """The text as UTF-8 without its byte order mark, cut anywhere."""
    wanted = min(file.size_bytes + 1, PIECE_BYTES)
    raw = file.read(wanted)
    complete = len(raw) < wanted
    decoder = None
    if raw[:2] in _UTF16:
        decoder = codecs.getincrementaldecoder(_UTF16[raw[:2]])("replace")
        raw = raw[2:]
    elif raw.startswith(codecs.BOM_UTF8):
        raw = raw[3:]
    while raw:
        yield raw if decoder is None else decoder.decode(raw).encode()
        raw = b"" if complete else file.read(PIECE_BYTES)
    if decoder is not None:
        yield decoder.decode(b"", final=True).encode()


def shown(line: bytes, *, limit_chars: int) -> str:
    """Decode a line for a reader, cut to *limit_chars*; what is not UTF-8 shows as U+FFFD."""
    return line[: 4 * limit_chars].decode("utf-8", "replace")[:limit_chars]
