"""Citations that code handed in, held against the contents of the snapshot."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rlmd.corpus.cuts import lines_of
from rlmd.corpus.snapshot import Entry, Snapshot
from rlmd.corpus.text import decode, read_piece
from rlmd.engine.citations import QUOTE_CHARS
from rlmd.sandbox.requests import Lines, Quote
from rlmd.values import Citation

LEAST_CHARS = 8
"""A shorter quote stands anywhere, and so shows nothing."""
CARRIED_CHARS = 8_000
"""Quotes are sought in pieces of a long file; one shorter than this is found across two of them."""
MOST_BYTES = 512 << 20
"""So much is searched for quotes, the files that the code has read first."""


@dataclass(frozen=True, slots=True)
class Held:
    """The citations that hold, each once, and the claims that do not, as they can be shown."""

    citations: tuple[Citation, ...]
    dropped: tuple[str, ...]


def hold(snapshot: Snapshot, claims: Sequence[Lines | Quote], read: Iterable[str]) -> Held:
    """Compare *claims* with *snapshot*; what its bytes do not bear out is dropped, never marked verified.

    Lines are cited as they are in the file, cut where it ends.  A quote is looked for in the files
    *read*, then in all others, up to white space; the first place is its place.  Blocks: reads files.
    """
    places: dict[int, Citation] = {}
    for number, claim in enumerate(claims):
        if isinstance(claim, Lines) and (cited := _lines(snapshot, claim)) is not None:
            places[number] = cited
    sought = {
        number: pattern
        for number, claim in enumerate(claims)
        if isinstance(claim, Quote) and (pattern := _pattern(claim.text)) is not None
    }
    for entry in _entries(snapshot, read):
        if not sought:
            break
        for number, cited in _found(snapshot, entry, sought):
            places[number] = cited
            del sought[number]
    dropped = [_shown(claim) for number, claim in enumerate(claims) if number not in places]
    ordered = dict.fromkeys(places[number] for number in sorted(places))
    return Held(tuple(ordered), tuple(dict.fromkeys(dropped)))


@dataclass(frozen=True, slots=True)
class _Piece:
    """Whole lines of a file; `line` is the number of the first.  `verified` says that they are its bytes."""

    text: str
    line: int
    verified: bool


def _pieces(snapshot: Snapshot, entry: Entry) -> Iterator[_Piece]:
    """Yield the file in pieces of some megabytes, each beginning with the last lines of the one before.

    A file of one piece is hashed once more; the others were when they were read.
    """
    at, line, carried = 0, 1, ""
    while at < entry.size_bytes:
        data = read_piece(snapshot.pack.read, entry.span, entry.encoding, at)
        whole = len(data) == entry.size_bytes
        verified = not whole or hashlib.sha256(data).hexdigest() == entry.sha256
        text = carried + decode(data, entry.encoding)
        yield _Piece(text, line, verified)
        at += len(data)
        carried = "\n".join(text[-CARRIED_CHARS:].split("\n")[1:])
        line += text.count("\n") - carried.count("\n")


def _lines(snapshot: Snapshot, claim: Lines) -> Citation | None:
    entry = snapshot.entry(claim.path.removeprefix("./"))
    if entry is None or not 1 <= claim.start_line <= claim.end_line:
        return None
    held: dict[int, str] = {}
    verified = True
    for piece in _pieces(snapshot, entry):
        lines = lines_of(piece.text)
        first = max(claim.start_line, piece.line)
        if first < piece.line + len(lines):
            verified = verified and piece.verified
            held |= enumerate(lines[first - piece.line : claim.end_line + 1 - piece.line], first)
        if piece.line + len(lines) > claim.end_line or sum(map(len, held.values())) > QUOTE_CHARS:
            break
    return _citation(entry, min(held), list(held.values()), verified=verified) if held else None


def _found(
    snapshot: Snapshot, entry: Entry, sought: dict[int, re.Pattern[str]]
) -> Iterator[tuple[int, Citation]]:
    for piece in _pieces(snapshot, entry):
        for number, pattern in list(sought.items()):
            if (match := pattern.search(piece.text)) is not None:
                start = piece.text.rfind("\n", 0, match.start()) + 1
                stop = piece.text.find("\n", match.end())
                lines = lines_of(piece.text[start : len(piece.text) if stop < 0 else stop])
                line = piece.line + piece.text.count("\n", 0, start)
                yield number, _citation(entry, line, lines, verified=piece.verified)


def _citation(entry: Entry, start: int, lines: Sequence[str], *, verified: bool) -> Citation:
    """Quote whole *lines*, as many as fit."""
    kept: list[str] = []
    room = QUOTE_CHARS
    for line in lines:
        if kept and len(line) + 1 > room:
            break
        kept.append(line[:room])
        room -= len(line) + 1
    end = start + len(kept) - 1
    return Citation(entry.path, start, end, "\n".join(kept), entry.sha256, verified=verified, score=1.0)


def _entries(snapshot: Snapshot, read: Iterable[str]) -> Iterator[Entry]:
    """Yield the files *read* and then the others, until enough has been searched."""
    first = list(dict.fromkeys(read))
    known = set(first)
    left = MOST_BYTES
    for path in [*first, *(path for path in snapshot.files.paths if path not in known)]:
        entry = snapshot.entry(path)
        if entry is not None and entry.size_bytes <= left:
            left -= entry.size_bytes
            yield entry


def _pattern(quote: str) -> re.Pattern[str] | None:
    words = quote.split()
    if len("".join(words)) < LEAST_CHARS:
        return None
    return re.compile(r"\s+".join(map(re.escape, words)))


def _shown(claim: Lines | Quote) -> str:
    if isinstance(claim, Lines):
        return f"{claim.path}:{claim.start_line}-{claim.end_line}"
    return f'"{claim.text[:60]}"'
