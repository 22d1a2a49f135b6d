"""Hands out snapshots of trees and searches in them: the actor `corpus_keeper`.

For each tree one refresh runs at a time.  Whoever asks while one is under way waits for the next,
which all that came meanwhile share: so each sees what was written before it asked.
"""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

from rlmd.corpus.blobs import UNCOUNTED
from rlmd.corpus.bundle import CollectBundle, collect_bundle
from rlmd.corpus.collect import Limits, Sources, collect
from rlmd.corpus.follow import Follower
from rlmd.corpus.known import Known, Stamps
from rlmd.corpus.naming import Mentions, OutlineOf
from rlmd.corpus.news import News
from rlmd.corpus.pack import Pack
from rlmd.corpus.scratch import open_scratch
from rlmd.corpus.search import Ranked
from rlmd.corpus.searching import Searching
from rlmd.corpus.shelf import owned
from rlmd.corpus.snapshot import Bundle, Entry, Files, Snapshot, Source, Text, Tree, take
from rlmd.corpus.storage import Storage
from rlmd.corpus.watch import Budget
from rlmd.errors import BadArgument, NotFound, RequestError, TooLarge
from rlmd.offload import Offload
from rlmd.requests import Count
from rlmd.supervision import Actor, Flight, Handler, ungrouped
from rlmd.values import Kind, Match, Report, SkipTally, WalkRules, ignore_progress

THREADS = 4
WATCHES = 100_000
NO_RULES = WalkRules()


@dataclass(frozen=True, slots=True)
class Collect:
    """Take a snapshot of *targets* below *root*, of the root itself without any; answered with `Snapshot`.

    `root` is absolute and free of symlinks, targets are absolute or relative to it.  What was
    written before the request is in it; it is the last one itself when nothing has changed.
    """

    root: str
    targets: tuple[str, ...] = ()
    rules: WalkRules = NO_RULES
    report: Report = ignore_progress


@dataclass(frozen=True, slots=True)
class CollectFile:
    """Take a snapshot of the one file at *absolute*, called *name* in it; answered with `Snapshot`.

    Raises NotFound, BadArgument or TooLarge for a file that a walk would have skipped.
    """

    absolute: str
    name: str
    rules: WalkRules = NO_RULES
    report: Report = ignore_progress


@dataclass(frozen=True, slots=True)
class CollectText:
    """Take a snapshot of *text* as the one file *name*; answered with `Snapshot`."""

    text: str
    name: str = "text"


@dataclass(frozen=True, slots=True)
class Search:
    """Find at least *limit* passages of *snapshot* that answer *question*; answered with `Ranked`.

    Indexes first what is not indexed yet, for *deadline_s* seconds at most and a batch; what is not
    done by then is named in the answer.
    """

    snapshot: Snapshot
    question: str
    kind: Kind = "code"
    limit: int = 20
    report: Report = ignore_progress
    deadline_s: float | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """A corpus that is held: its snapshot, and how it stands to the tree.

    `fresh` says that nothing has changed since, `unwatched` why that is not known, and `age_s` for how
    many seconds it has not been known.
    """

    snapshot: Snapshot
    fresh: bool
    unwatched: str | None
    age_s: float


@dataclass(frozen=True, slots=True)
class Stock:
    """All that is held; `alone` where another daemon has the cache, so that nothing here outlives us."""

    corpora: tuple[Held, ...]
    alone: bool


@dataclass(frozen=True, slots=True)
class TakeStock:
    """Say what is held, most lately used last, and how it stands to its trees; answered with `Stock`."""


@dataclass(frozen=True, slots=True)
class Kept:
    """Name the snapshots that are held, most lately used last; answered with `list[Snapshot]`."""


@dataclass(frozen=True, slots=True)
class Shed:
    """Give up what nobody waits for and can be had again; answered with the `list` of what is left."""


Request = (
    Collect
    | CollectFile
    | CollectText
    | CollectBundle
    | Search
    | OutlineOf
    | Mentions
    | Kept
    | TakeStock
    | Shed
)
Answer = Snapshot | Ranked | list[Snapshot] | str | tuple[Match, ...] | Stock


def corpus_keeper(
    sources: Sources,
    offload: Offload,
    cache: Path,
    *,
    limits: Limits,
    snapshots: int = 8,
    most_bytes: float = math.inf,
    helpers: Sequence[Offload] = (),
    watches: int = WATCHES,
    news: News | None = None,
) -> Actor[Request, Answer]:
    """Make the actor; start it as a concurrent one.

    Contents lie below *cache*, where the next daemon finds them, or in a directory of our own while
    another daemon has that; of those that nothing needs, *most_bytes* are kept.  At most *snapshots*
    corpora are kept, the least recently used go first, never one that somebody waits for.  Up to
    *watches* of their directories are watched for changes, of which *news* hears.  Indexes are written
    by *offload*, much at a time by *helpers* too.  Cancelling the last who waits for a refresh or an
    index stops it within 100 ms.
    """
    heard = news or News()

    @asynccontextmanager
    async def keeper() -> AsyncIterator[Handler[Request, Answer]]:
        with open_scratch(cache) as scratch, owned(cache) as place:
            storage = Storage(place or scratch, private=place is None, most_bytes=most_bytes)
            try:
                async with trio.open_nursery() as refreshes:
                    refreshes.start_soon(storage.keep)
                    threads = trio.CapacityLimiter(THREADS)
                    words = (place or scratch) / "words"
                    searching = Searching(words, (offload, *helpers), threads, refreshes)
                    await searching.tidy()
                    follow = partial(Follower, budget=Budget(watches), news=heard, tasks=refreshes)
                    keep = _Keeper(sources, storage, searching, threads, refreshes, limits, snapshots, follow)
                    try:
                        yield keep.answer
                    finally:
                        keep.stop_watching()
                    refreshes.cancel_scope.cancel()
            finally:
                storage.close()

    return keeper


class _Line:
    """One corpus over time: its last snapshot, and the refreshes of it."""

    def __init__(self, follower: Follower) -> None:
        self.follower = follower
        self.as_of = trio.current_time()
        self.users = 0
        self.known: Known | None = None
        self.running: Flight[Known] | None = None
        self.next: Flight[Known] | None = None


class _Keeper:
    """The state behind the actor."""

    def __init__(
        self,
        sources: Sources,
        storage: Storage,
        searching: Searching,
        threads: trio.CapacityLimiter,
        refreshes: trio.Nursery,
        limits: Limits,
        snapshots: int,
        follow: Callable[[Source], Follower],
    ) -> None:
        self._follow = follow
        self._sources, self._storage, self._searching = sources, storage, searching
        self._threads, self._refreshes, self._limits, self._most = threads, refreshes, limits, snapshots
        self._lines: OrderedDict[Source, _Line] = OrderedDict()

    async def answer(self, request: Request) -> Answer:  # noqa: PLR0911 - one a kind of request
        match request:
            case Collect(root, targets, rules, report):
                return await self._collect(Tree(root, targets, rules), report)
            case CollectFile(absolute, name, rules, report):
                source = Tree(str(Path(absolute).parent), (absolute,), rules, alias=name)
                return _one_file(await self._collect(source, report), absolute)
            case CollectText():
                return await self._take_text(request)
            case CollectBundle():
                return await self._take_bundle(request)
            case Search() | OutlineOf() | Mentions():
                return await self._consult(request)
            case TakeStock():
                return Stock(tuple(self._held()), self._storage.private)
            case Kept() | Shed():
                if isinstance(request, Shed):
                    self._evict(to=0)
                return [line.known.snapshot for line in self._lines.values() if line.known is not None]

    def _held(self) -> Iterator[Held]:
        for line in self._lines.values():
            if line.known is not None and isinstance(line.known.snapshot.source, Tree):
                fresh, now = line.follower.is_quiet, trio.current_time()
                unwatched = None if line.follower.is_watching else line.follower.unwatched
                yield Held(line.known.snapshot, fresh, unwatched, 0.0 if fresh else now - line.as_of)

    async def _collect(self, source: Tree, report: Report) -> Snapshot:
        with self._using(source) as line:
            known, _ = await self._join(source, line).wait(report)
        return known.snapshot

    def _join(self, source: Tree, line: _Line) -> Flight[Known]:
        """Return a refresh that has not begun yet, or has begun just now."""
        if line.next is None or line.next.abandoned:
            line.next = Flight(partial(self._refresh, source, line))
            if line.running is None:
                self._refreshes.start_soon(self._fly, line)
        return line.next

    async def _fly(self, line: _Line) -> None:
        """Run the refreshes of *line*, one after another, until nobody wants a further one."""
        while line.next is not None:
            line.running, line.next = line.next, None
            await line.running.run()
            line.running = None

    async def _refresh(self, source: Tree, line: _Line, report: Report) -> Known:
        as_of = trio.current_time()
        async with self._storage.filling() as pack:
            if line.known is None:
                line.known = await self._storage.recall(source, self._sources.encoding)
            with ungrouped():
                known = await self._look(source, line, pack, report)
        line.as_of = as_of
        if known is not line.known:
            line.known = known
            self._storage.remember(source, known)
        return known

    async def _look(self, source: Tree, line: _Line, pack: Pack, report: Report) -> Known:
        """Collect what has changed, as far as that is known, else all."""
        changed = await line.follower.changes()
        if changed is None:
            watch, changes = await line.follower.begin(), None
        else:
            watch, changes = changed
            if not changes and line.known is not None:
                return line.known
        part = partial(collect, source, line.known, self._sources, pack, self._limits, report)
        try:
            known = await part(watch=watch, changes=changes)
        except BaseException:  # a cancelled collection has seen only a part, too
            line.follower.stop("its last collection failed")
            if watch is not None:
                watch.close()
            raise
        if watch is not None:
            line.follower.follow(watch)
        return known

    async def _take_text(self, request: CollectText) -> Snapshot:
        data = request.text.encode("utf-8", "replace")
        sha256 = hashlib.sha256(data).hexdigest()
        source = Text(request.name, sha256)
        encoding = self._sources.encoding
        with self._using(source) as line:
            if line.known is None:
                async with self._storage.filling() as pack:
                    add = partial(pack.add, sha256, data, "utf-8")
                    span = await trio.to_thread.run_sync(add, limiter=self._threads)
                    if pack.tokens(sha256, encoding) == UNCOUNTED:
                        count = Count(pack.path, [(span, "utf-8")], encoding)
                        (tokens,) = await self._sources.counter.ask(count)
                        pack.count(sha256, encoding, tokens)
                    files = Files([Entry(request.name, sha256, span, pack.tokens(sha256, encoding), "utf-8")])
                    snapshot = take(source, files, SkipTally(), encoding=encoding, pack=pack)
                line.known = Known(snapshot, Stamps((), ()))
            return line.known.snapshot

    async def _take_bundle(self, request: CollectBundle) -> Snapshot:
        source = Bundle(request.root, request.key)
        with self._using(source) as line:
            if line.known is None:
                async with self._storage.filling() as pack:
                    snapshot = await collect_bundle(source, request, self._sources, pack, self._threads)
                line.known = Known(snapshot, Stamps((), ()))
            return line.known.snapshot

    async def _consult(self, request: Search | OutlineOf | Mentions) -> Answer:
        with self._using(request.snapshot.source):
            if not isinstance(request, Search):
                return await self._searching.names.answer(request)
            return await self._searching.search(
                request.snapshot,
                request.question,
                request.kind,
                request.limit,
                request.report,
                request.deadline_s,
            )

    @contextmanager
    def _using(self, source: Source) -> Iterator[_Line]:
        """Keep the line of *source* for the length of the block, as the one used last."""
        line = self._lines.get(source)
        if line is None:
            line = _Line(self._follow(source))
            self._lines[source] = line
        self._lines.move_to_end(source)
        line.users += 1
        try:
            yield line
        finally:
            line.users -= 1
            self._evict(to=self._most)

    def _evict(self, *, to: int) -> None:
        idle = [source for source, line in self._lines.items() if not line.users]
        for source in idle[: max(0, len(self._lines) - to)]:
            self._lines.pop(source).follower.stop("it was evicted")
            self._searching.forget(source)

    def stop_watching(self) -> None:
        """Watch no corpus any more."""
        for line in self._lines.values():
            line.follower.stop("the daemon ends")


def _one_file(snapshot: Snapshot, absolute: str) -> Snapshot:
    """Return *snapshot* if it has its file, or raise why it has not."""
    if len(snapshot.files):
        return snapshot
    reason = next(iter(snapshot.skipped.by_reason), "vanished")
    refusals: dict[str, type[RequestError]] = {"vanished": NotFound, "too_large": TooLarge}
    raise refusals.get(reason, BadArgument)(
        f"{absolute} cannot be asked about: {reason}.", "Name a readable text file."
    )
