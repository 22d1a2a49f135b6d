"""A snapshot of documents that come from elsewhere than files of a tree."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from time import monotonic

import trio

from rlmd.corpus.blobs import UNCOUNTED
from rlmd.corpus.collect import Sources
from rlmd.corpus.pack import Pack
from rlmd.corpus.snapshot import Bundle, Entry, Files, Snapshot, take
from rlmd.errors import BadArgument
from rlmd.requests import Count, Document
from rlmd.values import Progress, Report, Skip, SkipTally, Span, TextEncoding, ignore_progress

STEP_S = 0.02
STEP_BYTES = 2 << 20
COUNT_FILES = 512

Stream = Iterator[Document | Skip | None]


@dataclass(frozen=True, slots=True)
class CollectBundle:
    """Take a snapshot of the documents found at *root*, the last one if *key* is the same.

    `documents` reads them, in threads.  With *name* they are one, called that.  Answered with
    `Snapshot`; raises what reading does, and BadArgument when there is no text.
    """

    root: str
    key: str
    documents: Callable[[], Stream] = field(compare=False)
    name: str | None = None
    report: Report = field(default=ignore_progress, compare=False)


async def collect_bundle(
    source: Bundle, request: CollectBundle, sources: Sources, pack: Pack, limiter: trio.CapacityLimiter
) -> Snapshot:
    """Store the documents of *request*, count their tokens, and take a snapshot of them.

    Raises what reading them does, and BadArgument when no text is among them.  Cancelling leaves
    nothing but contents in the pack.
    """
    storing = _Storing(request.documents(), pack)
    while not await trio.to_thread.run_sync(storing.step, limiter=limiter, abandon_on_cancel=True):
        request.report(Progress("read", storing.bytes, unit="bytes"))
    if not storing.found:
        reasons = ", ".join(storing.tally.by_reason) or "it is empty"
        raise BadArgument(f"{source.root} holds no text: {reasons}.", "Name one that does.")
    await _count(storing.found, sources, pack, request.report)
    entries = [
        Entry(path, digest, span, pack.tokens(digest, sources.encoding), encoding)
        for path, digest, span, encoding in storing.found
    ]
    make = partial(take, source, Files(entries), storing.tally, encoding=sources.encoding, pack=pack)
    return await trio.to_thread.run_sync(make, limiter=limiter)


Found = tuple[str, str, Span, TextEncoding]


class _Storing:
    """The way of documents into the pack, in steps that are short enough to be given up."""

    def __init__(self, documents: Stream, pack: Pack) -> None:
        self.found: list[Found] = []
        self.tally = SkipTally()
        self.bytes = 0
        self._documents, self._pack = documents, pack

    def step(self) -> bool:
        """Store the next few; True when there are none left.  Blocks."""
        deadline, full = monotonic() + STEP_S, self.bytes + STEP_BYTES
        for document in self._documents:
            match document:
                case Document(path, data, encoding):
                    digest = sha256(data).hexdigest()
                    self.found.append((path, digest, self._pack.add(digest, data, encoding), encoding))
                    self.bytes += len(data)
                case Skip():
                    self.tally.add(document)
            if monotonic() > deadline or self.bytes > full:
                return False
        return True


async def _count(found: list[Found], sources: Sources, pack: Pack, report: Report) -> None:
    """Count what was not counted before."""
    uncounted = {
        digest: (span, encoding)
        for _, digest, span, encoding in found
        if pack.tokens(digest, sources.encoding) == UNCOUNTED
    }
    digests = list(uncounted)
    for start in range(0, len(digests), COUNT_FILES):
        batch = digests[start : start + COUNT_FILES]
        count = Count(pack.path, [uncounted[digest] for digest in batch], sources.encoding)
        for digest, tokens in zip(batch, await sources.counter.ask(count), strict=True):
            pack.count(digest, sources.encoding, tokens)
        report(Progress("count", start + len(batch), len(digests)))
