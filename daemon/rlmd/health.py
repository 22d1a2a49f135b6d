"""How the daemon is, put together from those who know."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import trio

from rlmd import __version__
from rlmd.answers import Analysis
from rlmd.corpus.keeper import Answer, Held, Request, Stock, TakeStock
from rlmd.engine.jobs import Jobs
from rlmd.llm.meter import Meter
from rlmd.memory.ask import iso
from rlmd.memory.recall import Recaller
from rlmd.metrics import exposition
from rlmd.observe import Timings
from rlmd.process import process_facts
from rlmd.sandbox.requests import Description
from rlmd.status import (
    ActorFacts,
    CorpusState,
    DoorFacts,
    JobCounts,
    MemoryFacts,
    Problem,
    SandboxFacts,
    Status,
)
from rlmd.supervision import ActorError, ActorStats, Mailbox, Supervisor

T = TypeVar("T")

PATIENCE_S = 5.0
NO_SANDBOX = Description(SandboxFacts(), "its pool does not say how it is")


@dataclass(eq=False)
class Health:
    """What a status is made of.

    `doubts` are what boot found wrong with the model endpoint, `settings` what a reload could not do.
    `integrity` is what the check of the memory file at boot has found so far; `tools` and `stages`
    know how long calls and actors take.
    """

    supervisor: Supervisor
    keeper: Mailbox[Request, Answer]
    recaller: Recaller
    jobs: Jobs[Analysis]
    draining: trio.Event
    started_at: float
    meter: Meter
    describe_sandbox: Callable[[], Awaitable[Description]]
    doors: Callable[[], DoorFacts] = DoorFacts
    tools: Timings = field(default_factory=Timings)
    stages: Timings = field(default_factory=Timings)
    settings: Callable[[], tuple[Problem, ...]] = tuple
    doubts: tuple[Problem, ...] = ()
    memory_bytes: int = 0
    integrity: str = "being checked"
    checked_at: str | None = None

    async def check_memory(self) -> None:
        """Read the whole memory file once; a large one takes a while."""
        self.integrity = "; ".join(await self.recaller.integrity()) or "ok"
        self.checked_at = iso(time.time_ns())

    async def status(self, *, check: bool) -> Status:
        """Describe every part as it is now; *check* reads the memory file anew before.

        A part that crashes of the question, or does not answer in PATIENCE_S, shows as unknown.
        """
        if check:
            await self.check_memory()
        holdings = await self.recaller.holdings()
        sandbox = await _or(NO_SANDBOX, self.describe_sandbox)
        stock = await _or(Stock((), alone=False), self._stock)
        actors = self.supervisor.stats()
        problems = tuple(self._problems(actors, sandbox, stock))
        return Status(
            version=__version__,
            pid=os.getpid(),
            uptime_s=round(trio.current_time() - self.started_at, 3),
            state=self._state(actors),
            actors=tuple(
                ActorFacts(a.name, a.workers, a.busy, a.waiting, a.restarts, a.last_error) for a in actors
            ),
            llm=self.meter.facts(),
            corpora=tuple(map(_corpus_state, stock.corpora)),
            memory=MemoryFacts(
                holdings.items,
                holdings.bytes,
                holdings.wal_bytes,
                self.integrity,
                self.checked_at,
                iso(holdings.checkpointed_ns),
            ),
            jobs=JobCounts(running=self.jobs.running, done=self.jobs.finished),
            sandbox=sandbox.facts,
            doors=self.doors(),
            process=process_facts(own_bytes=self.memory_bytes),
            problems=problems,
        )

    async def metrics(self) -> str:
        """Write all figures as Prometheus reads them."""
        return exposition(
            await self.status(check=False),
            tools=self.tools.summary(),
            stages=self.stages.summary(),
            usd_by_project=self.meter.usd_by_project,
        )

    async def _stock(self) -> Stock:
        stock = await self.keeper.ask(TakeStock())
        assert isinstance(stock, Stock)
        return stock

    def _state(self, actors: list[ActorStats]) -> Literal["draining", "degraded", "ready"]:
        if self.draining.is_set():
            return "draining"
        return "degraded" if any(actor.degraded for actor in actors) else "ready"

    def _problems(self, actors: list[ActorStats], sandbox: Description, stock: Stock) -> Iterator[Problem]:
        yield from self.doubts
        if stock.alone:
            yield Problem(
                "another daemon owns the cache: what is read here is kept until this daemon ends only",
                "Stop the other one, or give this one a cache of its own by RLMD_CACHE_DIR.",
            )
        yield from self.settings()
        if sandbox.problem is not None:
            yield Problem(
                f"no code can run: {sandbox.problem}",
                "Ask in the modes evidence and direct.",
            )
        for actor in actors:
            if actor.degraded:
                yield Problem(f"{actor.name} crashed: {actor.last_error}", "Look into the daemon's log.")
        if self.integrity not in {"ok", "being checked"}:
            yield Problem(f"memory.db is damaged: {self.integrity}", "Copy the state directory first of all.")


async def _or(unknown: T, ask: Callable[[], Awaitable[T]]) -> T:
    """Return what *ask* returns, or *unknown* where its actor is at fault: status has to come through."""
    with suppress(ActorError), trio.move_on_after(PATIENCE_S):
        return await ask()
    return unknown


def _corpus_state(held: Held) -> CorpusState:
    """Describe a corpus that is held."""
    return CorpusState(
        root=held.snapshot.root,
        snapshot=held.snapshot.id,
        files=len(held.snapshot.files),
        bytes=held.snapshot.bytes,
        tokens=held.snapshot.tokens,
        fresh=held.fresh,
        age_s=round(held.age_s, 3),
        unwatched=held.unwatched,
    )
