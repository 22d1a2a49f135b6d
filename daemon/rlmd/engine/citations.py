"""Passages with their bytes: read again from the snapshot, compared, and hashed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from rlmd.corpus.cuts import lines_of
from rlmd.corpus.search import Found
from rlmd.corpus.snapshot import Snapshot
from rlmd.corpus.text import decode, read_piece
from rlmd.corpus.words import Terms
from rlmd.engine.windows import best_run, best_stretch
from rlmd.values import Citation

QUOTE_CHARS = 20_000


def cite(
    snapshot: Snapshot,
    found: Found,
    terms: Mapping[str, int],
    table: Terms,
    *,
    quote_chars: int = QUOTE_CHARS,
) -> Citation:
    r"""Quote *found* from the contents of *snapshot*: exactly its lines, joined by "\n".

    Longer passages than *quote_chars* are narrowed to the run of lines that holds most of *terms*;
    of a single longer line the quote is that stretch of it which does.  `verified` holds when the
    quote stands in the bytes at those lines and they hash to `sha256`, which for contents of more
    than one piece was computed when they were read.  Blocks: a thread's work.
    """
    passage, entry = found.passage, found.entry
    data = read_piece(snapshot.pack.read, entry.span, entry.encoding, found.at)
    whole = len(data) == entry.span.length
    lines = lines_of(decode(data, entry.encoding))
    first, last = passage.start_line - 1 - found.line, passage.end_line - found.line
    held = lines[first:last]
    start, stop = best_run(held, terms, table, quote_chars)
    quote = "\n".join(held[start:stop])
    if len(quote) > quote_chars:
        quote = best_stretch(quote, terms, table, quote_chars)
    verified = len(held) == last - first and (not whole or hashlib.sha256(data).hexdigest() == entry.sha256)
    return Citation(
        path=passage.path,
        start_line=passage.start_line + start,
        end_line=passage.start_line + stop - 1,
        quote=quote,
        sha256=entry.sha256,
        verified=verified,
        score=passage.score,
    )
