"""One refresh of a tree: walk, stat, read what changed, count what is new, and take a snapshot.

A file is read again unless device, inode, size, mtime and ctime are what they were and the file had
been left alone for a while when it was read: one that changes within the clock's grain of being
read keeps its stamps (git's "racily clean" files).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, TypeVar, TypeVarTuple

import trio

from rlmd.corpus.blobs import UNCOUNTED
from rlmd.corpus.compare import Comparison
from rlmd.corpus.known import Known, Stamps
from rlmd.corpus.pack import Pack
from rlmd.corpus.snapshot import Entry, Files, Snapshot, Tree, runs, take
from rlmd.corpus.watch import Changes, Watch
from rlmd.errors import TooLarge
from rlmd.requests import Count, Read, Walk
from rlmd.supervision import Mailbox
from rlmd.values import FileRef, FileStat, Progress, ReadFile, Report, Skip, SkipTally, TokenEncoding

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

STAT_FILES = 4096
READ_FILES, READ_BYTES = 256, 2 << 20
COUNT_FILES, COUNT_BYTES = 512, 4 << 20
COUNTING = 2
"""Batches with the counter at a time, so that its process never waits for the next."""
COUNT_BATCHES = 8
"""Batches that are read ahead of the counter."""
GRAIN_NS = 2_000_000_000
"""The coarsest clock of a file system in use (FAT)."""
LARGEST_NAMED = 3
LASTING = frozenset({"binary", "too_large"})
"""Reasons to skip that hold until the file changes."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one corpus may hold, and how many batches of it are read at a time."""

    max_files: int
    max_bytes: int
    reading: int = 2


@dataclass(frozen=True, slots=True)
class Sources:
    """The actors that a collection asks, and the threads it stats files in."""

    walker: Mailbox[Walk, SkipTally]
    readers: Mailbox[Read, list[ReadFile | Skip]]
    counter: Mailbox[Count, list[int]]
    encoding: TokenEncoding
    stats: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(2))


class _File(NamedTuple):
    """A file on its way into the snapshot."""

    read: ReadFile
    settled: bool


async def collect(
    source: Tree,
    known: Known | None,
    sources: Sources,
    pack: Pack,
    limits: Limits,
    report: Report,
    *,
    watch: Watch | None = None,
    changes: Changes | None = None,
) -> Known:
    """Return what *source* holds now; *known* itself when nothing differs.

    Everything that was written before the call is seen.  Tokens are counted once for each content of
    the pack.  *watch* goes along; with *changes* only these are looked at, else all.  Raises TooLarge
    naming the largest directories, and whatever the actors raise.  Cancelling leaves nothing but
    contents in the pack, and a watch that knows too much.
    """
    run = _Collection(source, known, sources, pack, limits, report, watch)
    async with trio.open_nursery() as warming:
        if known is None and pack.is_empty:
            warming.start_soon(sources.counter.ask, Count(pack.path, [], sources.encoding))
        await run.find(changes)
        await run.read()
        warming.cancel_scope.cancel()
    return await trio.to_thread.run_sync(run.finish, limiter=sources.stats)


class _Collection:
    """The state of one refresh."""

    def __init__(
        self,
        source: Tree,
        known: Known | None,
        sources: Sources,
        pack: Pack,
        limits: Limits,
        report: Report,
        watch: Watch | None,
    ) -> None:
        self._source, self._known, self._sources = source, known, sources
        self._pack, self._limits, self._report, self._watch = pack, limits, report, watch
        self._comparison = Comparison(source, known)
        self._gone: list[int] = []
        self._read: list[_File] = []
        self._skipped: list[Skip] = []
        self._tally = SkipTally()
        self._sizes: Counter[str] = Counter()
        self._bytes = 0
        self._done = 0
        self._counted = 0
        self._tokens: dict[str, int] = {}

    async def find(self, changes: Changes | None) -> None:
        """Find the files that *changes* are about, else all, and tell the changed from the others."""
        source, watch = self._source, self._watch
        if changes is None or watch is None:
            refs = await self._walk(partial(Walk, source.root, source.targets, source.rules, visitor=watch))
            await self._in_thread(self._comparison.expect_all)
        else:
            refs = []
            if changes.directories:
                again = tuple(changes.directories)
                refs = await self._walk(
                    partial(Walk, source.root, (), source.rules, visitor=watch, again=again)
                )
            await self._in_thread(self._comparison.expect, changes, watch.restless, watch.linked)
            self._tally = watch.tally()
        # Beside the walk it would take three times as long: both threads call the kernel for each file.
        for start in range(0, len(refs), STAT_FILES):
            await self._in_thread(self._comparison.compare, refs[start : start + STAT_FILES])
        self._gone = await self._in_thread(self._comparison.gone)
        if self._known is not None:
            files = self._known.snapshot.files
            self._bytes = self._known.snapshot.bytes - sum(files.span_at(row).length for row in self._gone)

    async def _in_thread(self, work: Callable[[*Ts], T], *arguments: *Ts) -> T:
        return await trio.to_thread.run_sync(
            work, *arguments, limiter=self._sources.stats, abandon_on_cancel=True
        )

    async def _walk(self, request: Callable[[trio.MemorySendChannel[list[FileRef]]], Walk]) -> list[FileRef]:
        out, found = trio.open_memory_channel[list[FileRef]](4)
        refs: list[FileRef] = []
        async with trio.open_nursery() as nursery, found:
            nursery.start_soon(self._ask_walker, request, out)
            async for batch in found:
                refs += batch
                self._report(Progress("walk", len(refs)))
                if len(refs) > self._limits.max_files:
                    tops = Counter(_top(ref.path) for ref in refs)
                    raise self._too_large(f"more than {self._limits.max_files} files", tops)
        return refs

    async def _ask_walker(
        self,
        request: Callable[[trio.MemorySendChannel[list[FileRef]]], Walk],
        out: trio.MemorySendChannel[list[FileRef]],
    ) -> None:
        async with out:
            self._tally = await self._sources.walker.ask(request(out))

    def _name(self, path: str) -> str:
        return path if self._source.alias is None else self._source.alias

    async def read(self) -> None:
        """Read what changed and count what is new, side by side."""
        changed = self._comparison.changed
        if not changed:
            return
        batches = _batches(changed)
        total = sum(stat.size_bytes for _, stat in changed)
        out, uncounted = trio.open_memory_channel[list[ReadFile]](COUNT_BATCHES)
        async with trio.open_nursery() as nursery:
            for _ in range(COUNTING):
                nursery.start_soon(self._count, uncounted, total)
            async with out, trio.open_nursery() as reading:
                for _ in range(self._limits.reading):
                    reading.start_soon(self._read_batches, batches, out, total)

    async def _read_batches(
        self,
        batches: Iterator[list[tuple[FileRef, FileStat]]],
        out: trio.MemorySendChannel[list[ReadFile]],
        total: int,
    ) -> None:
        for batch in batches:
            began = time.time_ns()
            answers = await self._sources.readers.ask(Read([ref for ref, _ in batch], self._pack))
            uncounted = []
            for (ref, stat), answer in zip(batch, answers, strict=True):
                if isinstance(answer, Skip):
                    self._skipped.append(answer)
                    if answer.reason in LASTING and _settled(stat, began):
                        self._comparison.refused[ref.path] = (stat, answer)
                    continue
                self._take(answer, began)
                if answer.sha256 not in self._tokens:
                    self._tokens[answer.sha256] = self._pack.tokens(answer.sha256, self._sources.encoding)
                    if self._tokens[answer.sha256] == UNCOUNTED:
                        uncounted.append(answer)
            if uncounted:
                await out.send(uncounted)
            self._done += sum(stat.size_bytes for _, stat in batch)
            self._report(Progress("read", self._done, total, "bytes"))

    def _take(self, file: ReadFile, began_ns: int) -> None:
        self._bytes += file.span.length
        self._sizes[_top(file.path)] += file.span.length
        if self._bytes > self._limits.max_bytes:
            raise self._too_large(f"more than {self._limits.max_bytes} bytes of text", self._sizes)
        self._read.append(_File(file, _settled(file.stat, began_ns)))

    async def _count(self, uncounted: trio.MemoryReceiveChannel[list[ReadFile]], total: int) -> None:
        async for first in uncounted:
            batch = first.copy()
            size = sum(file.span.length for file in batch)
            while len(batch) < COUNT_FILES and size < COUNT_BYTES:
                try:
                    more = uncounted.receive_nowait()
                except (trio.WouldBlock, trio.EndOfChannel):
                    break
                batch += more
                size += sum(file.span.length for file in more)
            items = [(file.span, file.encoding) for file in batch]
            counts = await self._sources.counter.ask(Count(self._pack.path, items, self._sources.encoding))
            for file, tokens in zip(batch, counts, strict=True):
                self._tokens[file.sha256] = tokens
                self._pack.count(file.sha256, self._sources.encoding, tokens)
            self._counted += size
            self._report(Progress("count", self._counted, max(total, self._counted), "bytes"))

    def finish(self) -> Known:
        """Put kept and read files together; runs in a thread."""
        refused = self._comparison.refused
        if self._watch is not None:
            unsettled = {file.read.path for file in self._read if not file.settled}
            linked = self._comparison.linked
            self._watch.linked = {path: each for path, each in linked.items() if path not in unsettled}
            self._watch.restless = {skip.path for skip in self._skipped if skip.path not in refused}
            self._watch.restless |= unsettled & linked.keys()
        reread = {skip.path for skip in self._skipped}
        self._skipped += [skip for path, (_, skip) in refused.items() if path not in reread]
        for skip in sorted(self._skipped, key=lambda skip: skip.path):
            self._tally.add(skip)
        if self._known is not None and not self._read and not self._gone:
            files, stamps = self._known.snapshot.files, self._known.stamps
        else:
            files, stamps = self._splice()
        if self._known is not None and _same(self._known.snapshot, files, self._tally):
            if stamps is self._known.stamps and refused == self._known.refused:
                return self._known
            snapshot = self._known.snapshot
        else:
            if len(files) > self._limits.max_files:
                tops = Counter(_top(path) for path in files.paths)
                raise self._too_large(f"more than {self._limits.max_files} files", tops)
            snapshot = take(
                self._source, files, self._tally, encoding=self._sources.encoding, pack=self._pack
            )
        return Known(snapshot, stamps, refused)

    def _splice(self) -> tuple[Files, Stamps]:
        """Put what was read among what was kept."""
        old = self._known.snapshot.files if self._known is not None else Files(())
        held = self._known.stamps if self._known is not None else Stamps((), ())
        read = sorted(self._read, key=lambda file: self._name(file.read.path))
        new = Files(
            Entry(
                self._name(file.read.path),
                file.read.sha256,
                file.read.span,
                self._tokens[file.read.sha256],
                file.read.encoding,
            )
            for file in read
        )
        stamps = Stamps([file.read.stat for file in read], [file.settled for file in read])
        order = runs(old.paths, self._gone, new.paths)
        return old.spliced(new, order), held.spliced(stamps, order)

    def _too_large(self, what: str, sizes: Counter[str]) -> TooLarge:
        largest = ", ".join(name for name, _ in sizes.most_common(LARGEST_NAMED))
        return TooLarge(
            f"{self._source.root} holds {what}.",
            f"Largest so far: {largest}. Ask about a part of it, exclude some, or raise ingest.max_files "
            "and ingest.max_bytes.",
        )


def _same(old: Snapshot, files: Files, skipped: SkipTally) -> bool:
    """Return whether nothing that a snapshot tells has changed."""
    return old.skipped == skipped and (old.files is files or old.files.tells_the_same(files))


def _settled(stat: FileStat, began_ns: int) -> bool:
    """Return whether a later change of the file would show in its stamps."""
    return max(stat.mtime_ns, stat.ctime_ns) < began_ns - GRAIN_NS


def _top(path: str) -> str:
    """Return the directory that a file counts for: the first two levels of its path."""
    return "/".join(path.split("/")[:-1][:2]) or "."


def _batches(files: list[tuple[FileRef, FileStat]]) -> Iterator[list[tuple[FileRef, FileStat]]]:
    batch: list[tuple[FileRef, FileStat]] = []
    size = 0
    for ref, stat in files:
        if batch and (len(batch) == READ_FILES or size + stat.size_bytes > READ_BYTES):
            yield batch
            batch, size = [], 0
        batch.append((ref, stat))
        size += stat.size_bytes
    if batch:
        yield batch
