"""Which contents a pack holds: for each hash its place, its encoding and its counted tokens.

Most of it is a sorted file that is mapped, not loaded; what was added since the file was written is a
dict.  A look costs some 5 µs, and memory is taken only by what is new.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple, get_args

from rlmd.values import Span, TextEncoding, TokenEncoding

HASH_BYTES = 32
_LAST = b"\xff" * HASH_BYTES
UNCOUNTED = -1
_RECORD = Struct("<32sQQqqB7x")
RECORD_BYTES = _RECORD.size
_ENCODINGS: tuple[TextEncoding, ...] = get_args(TextEncoding)
_COUNTS: tuple[TokenEncoding, ...] = get_args(TokenEncoding)


class Blob(NamedTuple):
    """One content: where it lies, how it is decoded, and its tokens per encoding, UNCOUNTED if unknown."""

    span: Span
    encoding: TextEncoding
    counts: tuple[int, ...] = (UNCOUNTED,) * len(_COUNTS)

    def tokens(self, encoding: TokenEncoding) -> int:
        """Return the tokens by *encoding*, or UNCOUNTED."""
        return self.counts[_COUNTS.index(encoding)]

    def counted(self, encoding: TokenEncoding, tokens: int) -> Blob:
        """Return this content with its *tokens* by *encoding*."""
        at = _COUNTS.index(encoding)
        return self._replace(counts=(*self.counts[:at], tokens, *self.counts[at + 1 :]))


class Blobs:
    """Contents by the 32 bytes of their hash.  Every method may be called from any thread."""

    def __init__(self, records: memoryview | bytes = b"") -> None:
        """Begin with *records* as `write` gives them."""
        self._lock = threading.Lock()
        self._base = _Base(records)
        self._older: dict[bytes, bytes | None] = {}
        self._newer: dict[bytes, bytes | None] = {}

    def get(self, digest: bytes) -> Blob | None:
        """Return the content that hashes to *digest*, or None."""
        for added in (
            self._newer,
            self._older,
        ):  # no lock: an entry is put into the next before it leaves one
            if digest in added:
                record = added[digest]
                return None if record is None else _unpack(record)
        return self._base.get(digest)

    def put(self, digest: bytes, blob: Blob) -> None:
        """Have *blob* be the content that hashes to *digest*."""
        record = _pack(digest, blob)
        with self._lock:
            self._newer[digest] = record

    def put_if_absent(self, digest: bytes, blob: Blob) -> Blob:
        """Have *blob* be the content of *digest* unless there is one; return the one that holds."""
        with self._lock:
            known = self.get(digest)
            if known is None:
                self._newer[digest] = _pack(digest, blob)
            return known or blob

    def drop(self, digest: bytes) -> None:
        """Forget the content of *digest*."""
        with self._lock:
            self._newer[digest] = None

    @property
    def has_news(self) -> bool:
        """Whether anything was put or dropped that no file holds."""
        return bool(self._newer or self._older)

    def items(self) -> Iterator[tuple[bytes, Blob]]:
        """Yield all contents as they are now, by hash; may run beside changes, and may miss those."""
        for part in self._merged():
            for at in range(0, len(part), RECORD_BYTES):
                record = bytes(part[at : at + RECORD_BYTES])
                yield record[:HASH_BYTES], _unpack(record)

    def begin_write(self) -> Iterator[bytes]:
        """Yield the records of all contents put so far, sorted; end with `end_write`.

        What is put meanwhile is kept for the next time.
        """
        with self._lock:
            self._older, self._newer = {**self._older, **self._newer}, {}
        return self._merged()

    def end_write(self, records: memoryview) -> None:
        """Take *records*, as they were written since `begin_write`, in place of what they were made from."""
        with self._lock:
            self._base, self._older = _Base(records), {}

    def _merged(self) -> Iterator[bytes]:
        """Yield sorted records of the base and what was added, a piece of the hashes at a time.

        Each step is short, so that a thread which does this hands the interpreter over often.
        """
        with self._lock:
            base, added = self._base, {**self._older, **self._newer}
        buckets: list[list[bytes]] = [[] for _ in range(256)]
        for digest in added:
            buckets[digest[0]].append(digest)
        at = 0
        for first, bucket in enumerate(buckets):
            pieces: list[bytes | memoryview] = []
            for digest in sorted(bucket):
                end = base.place(digest, at)
                pieces += (base.part(at, end), added[digest] or b"")
                at = end + (base.hash_at(end) == digest)
            end = base.place(bytes([first]) + _LAST, at)
            yield b"".join([*pieces, base.part(at, end)])
            at = end


class _Base:
    """Sorted records, as they lie in a file."""

    def __init__(self, records: memoryview | bytes) -> None:
        self.records = memoryview(records)
        self.count = len(records) // RECORD_BYTES

    def hash_at(self, at: int) -> bytes | None:
        """Return the hash of the record *at*, None past the end."""
        if at >= self.count:
            return None
        return bytes(self.records[at * RECORD_BYTES : at * RECORD_BYTES + HASH_BYTES])

    def part(self, start: int, stop: int) -> memoryview:
        """Return the records from *start* up to *stop*."""
        return self.records[start * RECORD_BYTES : stop * RECORD_BYTES]

    def place(self, digest: bytes, start: int = 0) -> int:
        """Return where *digest* stands or would stand, from *start* on."""
        return bisect_left(range(self.count), digest, start, key=self.hash_at)  # type: ignore[arg-type]

    def get(self, digest: bytes) -> Blob | None:
        at = self.place(digest)
        if self.hash_at(at) != digest:
            return None
        return _unpack(self.records[at * RECORD_BYTES : (at + 1) * RECORD_BYTES])


def _pack(digest: bytes, blob: Blob) -> bytes:
    encoding = _ENCODINGS.index(blob.encoding)
    return _RECORD.pack(digest, blob.span.offset, blob.span.length, *blob.counts, encoding)


def _unpack(record: bytes | memoryview) -> Blob:
    _, offset, length, *counts, encoding = _RECORD.unpack(record)
    return Blob(Span(offset, length), _ENCODINGS[encoding], tuple(counts))
