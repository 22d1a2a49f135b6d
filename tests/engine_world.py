"""Runs over texts that a test names, with a scripted model and the real sandbox."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from llm_world import open_caller
from rlmd.answers import Json
from rlmd.corpus.snapshot import Snapshot
from rlmd.engine.budget import Budget, Limits, aside_for_closing
from rlmd.engine.ledger import Entry, Ledger
from rlmd.engine.run import run
from rlmd.engine.spending import Models, Spender
from rlmd.engine.task import Means, Outcome, Task
from rlmd.engine.typed import form
from rlmd.llm.retry import Retry
from rlmd.llm.scripted import Scripted, Step
from rlmd.llm.values import Chat, RateInfo, Reply
from rlmd.sandbox.pool import sandbox_pool
from rlmd.sandbox.requests import Limits as SandboxLimits
from rlmd.sandbox.services import Excerpt
from rlmd.supervision import open_supervisor
from snapshots import snapshot_of

NO_LIMITS = Limits()


def cell(code: str) -> str:
    """Return a reply that asks for *code*."""
    return f"I look.\n\n```repl\n{code}\n```\n"


class Cast:
    """A model that plays two parts: *root* to root calls, *sub* to sub-calls."""

    name = "cast"

    def __init__(self, root: Scripted, sub: Scripted) -> None:
        self.root, self.sub = root, sub

    async def complete(self, chat: Chat) -> tuple[Reply, RateInfo]:
        return await (self.root if chat.model == "root" else self.sub).complete(chat)

    async def aclose(self) -> None:
        await self.root.aclose()
        await self.sub.aclose()

    @property
    def asked(self) -> list[Chat]:
        return self.root.asked + self.sub.asked


@dataclass(eq=False)
class World:
    """What a test asks, and what it looks at afterwards."""

    place: Path
    model: Cast
    execute: Callable
    ask: Callable
    window_tokens: int = 32_768
    rates: dict = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    steps: list = field(default_factory=list)
    turns: int = 40
    spender: Spender | None = None
    ledger: Ledger | None = None
    budget: Budget | None = None
    packs: list = field(default_factory=list)

    async def answer(
        self,
        question: str,
        texts: Mapping[str, str],
        limits: Limits = NO_LIMITS,
        *,
        context: str | None = None,
        schema: Json = None,
        sub_calls: bool = True,
        known: Iterable[Entry] = (),
        only_recalls: bool = False,
        project: str = "p",
    ) -> Outcome:
        """Run once."""
        snapshot = self.snapshot(texts)
        self.ledger = Ledger(self.keep, known, only_recalls=only_recalls)
        models = Models("root", "sub", window_tokens=self.window_tokens, rates=self.rates)
        self.spender = Spender(self.ask, models, self.ledger, job="j", project=project)
        means = Means(
            execute=self.execute,
            spender=self.spender,
            search=search,
            take_text=self.take_text,
            report=self.steps.append,
            turns=self.turns,
            cell_s=5,
        )
        seconds = float("inf") if limits.seconds is None else limits.seconds
        self.budget = Budget(limits, deadline=trio.current_time() + seconds, aside=aside_for_closing(limits))
        faults = None if schema is None else form(schema)
        task = Task(
            question=question,
            snapshot=snapshot,
            context=context,
            faults=faults,
            form=str(schema or ""),
            sub_calls=sub_calls,
        )
        return await run(means, task, self.budget)

    async def keep(self, entry: Entry) -> None:
        await trio.lowlevel.checkpoint()
        self.entries.append(entry)

    async def take_text(self, text: str) -> Snapshot:
        return self.snapshot({"text": text})

    def snapshot(self, texts: Mapping[str, str]) -> Snapshot:
        snapshot = snapshot_of(self.place, texts)
        self.packs.append(snapshot.pack)
        return snapshot

    def told(self, turn: int) -> str:
        """Return what the root model was told after *turn*."""
        return self.roots()[turn].messages[-1].content

    def roots(self) -> list:
        return self.model.root.asked

    def subs(self) -> list[str]:
        return [chat.messages[0].content for chat in self.model.sub.asked]


async def search(snapshot: Snapshot, query: str, k: int, paths: Sequence[str]) -> list[Excerpt]:
    """Find the lines that hold a word of *query*."""
    await trio.lowlevel.checkpoint()
    found = []
    for entry in snapshot.files:
        text = snapshot.pack.read(entry.span).decode()
        for number, line in enumerate(text.split("\n"), 1):
            if any(word in line for word in re.findall(r"\w+", query)):
                found.append(Excerpt(entry.path, number, number, line, 1.0))
    return found[:k]


@asynccontextmanager
async def open_world(
    place: Path,
    root: Iterable[Step | str],
    sub: Iterable[Step | str] = (),
    *,
    otherwise: Step | str | None = None,
    sessions: int = 8,
    sandbox: SandboxLimits | None = None,
    **limits,
) -> AsyncIterator[World]:
    """Start a caller over a script and a sandbox."""
    model = Cast(Scripted(root, otherwise=otherwise), Scripted(sub, otherwise=otherwise))
    async with (
        open_caller(model, retry=Retry(limit=0), **limits) as caller,
        open_supervisor(grace=1) as supervisor,
    ):
        pool = sandbox_pool(sandbox or SandboxLimits(), sessions=sessions, warm=0)
        box = await supervisor.start_concurrent("sandbox_pool", pool, limit=64)
        world = World(place, model, box.ask, caller.ask)
        try:
            yield world
        finally:
            for pack in world.packs:
                pack.close()
