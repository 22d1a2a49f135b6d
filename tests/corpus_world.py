"""A corpus keeper over real files, with an offload that needs no process and a counter that is cheap."""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from rlmd.corpus.collect import Limits, Sources
from rlmd.corpus.keeper import Answer, Collect, Request, Search, corpus_keeper
from rlmd.corpus.news import News
from rlmd.corpus.search import Ranked
from rlmd.corpus.snapshot import Snapshot
from rlmd.ingest.readers import reader_pool
from rlmd.ingest.walker import walker
from rlmd.requests import Count, Read
from rlmd.supervision import Mailbox, open_supervisor
from rlmd.values import Kind, ReadFile, Report, Skip, ignore_progress

BYTES_PER_TOKEN = 4


class ThreadOffload:
    """Runs named functions in a thread of this process, one at a time, and remembers their arguments."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.called = trio.Event()
        self.failing: list[Exception] = []
        self.spare = 0
        self.gate = trio.Event()
        self.gate.set()
        self._turn = trio.Lock()

    async def call(self, function: str, *args: object, timeout_s: float = float("inf")) -> object:
        module, _, name = function.partition(":")
        async with self._turn:
            self.calls.append(args)
            self.called.set()
            await self.gate.wait()
            if self.failing and self.spare:
                self.spare -= 1
            elif self.failing:
                raise self.failing.pop(0)
            return await trio.to_thread.run_sync(getattr(importlib.import_module(module), name), *args)


@dataclass
class World:
    """The keeper's mailbox, and what was asked of those behind it."""

    keeper: Mailbox[Request, Answer]
    offload: ThreadOffload
    read: list[str] = field(default_factory=list)
    counted: int = 0
    warmed: int = 0
    may_warm: trio.Event = field(default_factory=trio.Event)
    broken: bool = False
    reading: trio.Event = field(default_factory=trio.Event)
    may_read: trio.Event = field(default_factory=trio.Event)

    async def collect(
        self, root: Path, targets: Sequence[str] = (), report: Report = ignore_progress
    ) -> Snapshot:
        snapshot = await self.keeper.ask(Collect(str(root), tuple(targets), report=report))
        assert isinstance(snapshot, Snapshot)
        return snapshot

    async def search(
        self,
        snapshot: Snapshot,
        question: str,
        kind: Kind = "code",
        limit: int = 20,
        deadline_s: float | None = None,
    ) -> Ranked:
        ranked = await self.keeper.ask(Search(snapshot, question, kind, limit, deadline_s=deadline_s))
        assert isinstance(ranked, Ranked)
        return ranked


@asynccontextmanager
async def open_world(
    cache: Path,
    *,
    max_files: int = 100_000,
    max_bytes: int = 1 << 30,
    snapshots: int = 8,
    most_bytes: float = float("inf"),
    shards: int = 1,
    watches: int = 100_000,
    news: News | None = None,
) -> AsyncIterator[World]:
    """Start walker, readers, a counter of four bytes a token, and the keeper behind them."""
    world = World(None, ThreadOffload())  # type: ignore[arg-type]
    world.may_read.set()
    world.may_warm.set()

    @asynccontextmanager
    async def readers():
        async with reader_pool(max_file_bytes=1 << 30, read_timeout_s=5, open_files=4)() as read:

            async def noted(request: Read) -> list[ReadFile | Skip]:
                world.reading.set()
                await world.may_read.wait()
                if world.broken:
                    raise ZeroDivisionError
                world.read += [ref.path for ref in request.files]
                return await read(request)

            yield noted

    @asynccontextmanager
    async def counter():
        async def count(request: Count) -> list[int]:
            world.counted += len(request.items)
            if not request.items:
                world.warmed += 1
                await world.may_warm.wait()
            await trio.lowlevel.checkpoint()
            return [span.length // BYTES_PER_TOKEN for span, _ in request.items]

        yield count

    async with open_supervisor(grace=1) as supervisor:
        sources = Sources(
            await supervisor.start("walker", walker(threads=4), workers=4),
            await supervisor.start("reader_pool", readers, workers=4),
            await supervisor.start_concurrent("token_counter", counter),
            "o200k_base",
        )
        limits = Limits(max_files, max_bytes)
        actor = corpus_keeper(
            sources,
            world.offload,  # type: ignore[arg-type]
            cache,
            limits=limits,
            snapshots=snapshots,
            most_bytes=most_bytes,
            helpers=[world.offload] * (shards - 1),  # type: ignore[list-item]
            watches=watches,
            news=news,
        )
        world.keeper = await supervisor.start_concurrent("corpus_keeper", actor)
        yield world
