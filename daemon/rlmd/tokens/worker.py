"""Counting, as it runs in the worker process: bytes of the pack in, numbers out.

A count is the number of ids that tiktoken's `encode_ordinary` gives for the text of the file.  That
text is what `open(path, encoding="utf-8", errors="replace", newline="")` reads, a byte order mark
being its first character; of UTF-16 it is what `encoding="utf-16"` reads, the mark taken off.
"""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from rlmd.tokens.encodings import encoding_named
from rlmd.tokens.engines import Engine, EngineChoice, EngineName, Panicked, choose_engine
from rlmd.tokens.gate import Encode
from rlmd.tokens.pieces import cut
from rlmd.values import TextEncoding, TokenEncoding

READ_BYTES = 1 << 20
INDIVISIBLE = 1000

Item = tuple[int, int, TextEncoding]
"""Offset, length in bytes, and encoding of a text in the pack."""

CODECS: dict[TextEncoding, tuple[str, bytes]] = {
    "utf-8": ("utf-8", b""),
    "utf-8-bom": ("utf-8", b""),
    "utf-16-le": ("utf-16-le", codecs.BOM_UTF16_LE),
    "utf-16-be": ("utf-16-be", codecs.BOM_UTF16_BE),
    "unknown-8bit": ("utf-8", b""),
}
"""Per encoding the decoder, and the mark at the start that is no part of the text."""


class PackTooShort(Exception):
    """An item lies beyond the end of the pack: the pack is not the one that was described."""


@dataclass(frozen=True, slots=True)
class Counted:
    """Token counts in the order asked for, and which engine they come from."""

    counts: list[int]
    engine: EngineName
    refusal: str | None


def count(pack: str, items: Sequence[Item], encoding: TokenEncoding, choice: EngineChoice) -> Counted:
    """Count the tokens of each of *items* of the file *pack*.

    Memory is bounded by some MB whatever the length of an item: a text of more than 900,000
    characters is counted in pieces, cut where that changes nothing.  Only where half of that holds no
    such place, as in one endless run of a letter, is a count a few tokens off (see `pieces.cut`).
    Raises OSError, PackTooShort, DamagedRanks, EngineRefused.
    """
    engine = engine_for(encoding, choice)
    if not items:
        return Counted([], engine.name, engine.refusal)
    with open(pack, "rb", buffering=0) as file:
        counts = [
            sum(token_count(engine.encode, piece) for piece in cut(decoded(file.fileno(), item)))
            for item in items
        ]
    return Counted(counts, engine.name, engine.refusal)


def count_texts(texts: Sequence[str], encoding: TokenEncoding, choice: EngineChoice) -> list[int]:
    """Count the tokens of each of *texts*, as `count` does.  Raises DamagedRanks, EngineRefused."""
    engine = engine_for(encoding, choice)
    return [sum(token_count(engine.encode, piece) for piece in cut([text])) for text in texts]


@cache
def engine_for(encoding: TokenEncoding, choice: EngineChoice) -> Engine:
    """Choose and load once in the life of the process."""
    return choose_engine(encoding_named(encoding), choice)


def decoded(fd: int, item: Item) -> Iterator[str]:
    """Read an item of the file *fd* as text, in parts; what does not decode is U+FFFD."""
    start, length, encoding = item
    codec, mark = CODECS[encoding]
    decoder = codecs.getincrementaldecoder(codec)(errors="replace")
    at, end = start, start + length
    while at < end:
        data = os.pread(fd, min(READ_BYTES, end - at), at)
        if not data:
            raise PackTooShort(f"the pack ends before {end} at {at}")
        part = data.removeprefix(mark) if at == start else data
        at += len(data)
        yield decoder.decode(part, final=at == end)


def token_count(encode: Encode, text: str) -> int:
    """Count the tokens of *text*, in ever smaller pieces while the engine panics on it.

    Exact if the engine takes the text whole; else as exact as `cut`.
    """
    try:
        return len(encode(text))
    except Panicked:
        if len(text) <= INDIVISIBLE:
            raise
        half = len(text) // 2
        return sum(token_count(encode, piece) for piece in cut([text], least=half // 2, longest=half))
