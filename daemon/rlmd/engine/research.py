"""Mode `rlm`, whole: a journalled run over a snapshot, and what it came to as an analysis."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from math import inf

import trio

from rlmd.answers import Analysis, Coverage, Question
from rlmd.corpus.keeper import Answer, CollectText, Request
from rlmd.corpus.snapshot import Snapshot
from rlmd.engine.account import corpus_facts, coverage, skipped_facts
from rlmd.engine.budget import Budget, Limits, aside_for_closing
from rlmd.engine.evidence import excerpts
from rlmd.engine.journal import Note, Write
from rlmd.engine.ledger import Entry, Ledger
from rlmd.engine.model import Model
from rlmd.engine.repl import Execute
from rlmd.engine.run import Means, Outcome, Step, Task, run
from rlmd.engine.spending import Models, Rate, Spender
from rlmd.engine.typed import form
from rlmd.errors import Busy
from rlmd.llm.prices import load_prices
from rlmd.llm.providers import Endpoint
from rlmd.sandbox.services import Excerpt
from rlmd.supervision import Mailbox
from rlmd.values import Progress, Report

UNKNOWN_WINDOW_TOKENS = 32_768
_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Settings:
    """How runs go, as the settings have it."""

    turns: int = 40
    output_chars: int = 20_000
    cell_s: float = 30.0
    depth: int = 2
    calls: int = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Commission:
    """One job: its id, whose it is, what is asked, and what it did in an earlier life."""

    job: str
    project: str
    question: Question
    context: str | None = None
    known: Sequence[Entry] = ()
    used_s: float = 0.0


@dataclass(frozen=True, eq=False)
class Research:
    """Answers questions by runs; owns nothing."""

    execute: Execute
    keeper: Mailbox[Request, Answer]
    model: Model
    journal: Callable[[Note], Awaitable[None]]
    settings: Settings
    available: Callable[[], Awaitable[bool]]

    async def answer(self, snapshot: Snapshot, work: Commission, report: Report) -> Analysis:
        """Answer by a run over *snapshot*; raises what `run` does.  `usage` has all of its cost."""
        began = trio.current_time()
        endpoint = await self.model.settled()
        limits = self._limits(work.question)
        seconds = inf if limits.seconds is None else max(0.0, limits.seconds - work.used_s)
        budget = Budget(limits, deadline=began + seconds, aside=aside_for_closing(limits))
        spender = self._spender(work, endpoint, began)
        schema = work.question.schema
        task = Task(
            question=work.question.query,
            snapshot=snapshot,
            context=work.context,
            faults=None if schema is None else form(json.loads(schema)),
            form=schema or "",
        )
        outcome = await run(self._means(spender, work.question, report), task, budget)
        wall_s = work.used_s + trio.current_time() - began
        return _analysis(snapshot, outcome, spender, wall_s, work.job)

    def _limits(self, question: Question) -> Limits:
        calls, depth = question.budget_calls, question.budget_depth
        return Limits(
            usd=question.budget_usd,
            tokens=question.budget_tokens,
            calls=self.settings.calls if calls is None else calls,
            seconds=question.budget_s,
            depth=self.settings.depth if depth is None else depth,
        )

    def _spender(self, work: Commission, endpoint: Endpoint, began: float) -> Spender:
        async def keep(entry: Entry) -> None:
            wall_s = round(work.used_s + trio.current_time() - began, 3)
            note = Write(work.job, entry, spender.tally.calls, spender.tally.usd, wall_s)
            with contextlib.suppress(Busy):  # the answer does not wait for a disk that refuses
                await self.journal(note)

        sub = endpoint.sub_model or endpoint.model
        models = Models(
            root=endpoint.model,
            sub=sub,
            window_tokens=endpoint.window_tokens or UNKNOWN_WINDOW_TOKENS,
            reply_tokens=endpoint.max_result_tokens or 0,
            rates=_rates(endpoint, sub),
        )
        ledger = Ledger(keep, work.known)
        spender = Spender(self.model.ask, models, ledger, job=work.job, project=work.project)
        return spender

    def _means(self, spender: Spender, question: Question, report: Report) -> Means:
        async def search(snapshot: Snapshot, query: str, k: int, paths: Sequence[str]) -> list[Excerpt]:
            return await excerpts(self.keeper, snapshot, query, question.kind, k, paths)

        async def take_text(text: str) -> Snapshot:
            snapshot = await self.keeper.ask(CollectText(text))
            assert isinstance(snapshot, Snapshot)
            return snapshot

        def step(each: Step) -> None:
            if each.node == "0":
                report(Progress("turn", each.turn, each.turns, unit="turns"))

        return Means(
            execute=self.execute,
            spender=spender,
            search=search,
            take_text=take_text,
            report=step,
            turns=self.settings.turns,
            output_chars=self.settings.output_chars,
            cell_s=self.settings.cell_s,
        )


def _rates(endpoint: Endpoint, sub: str) -> dict[str, Rate]:
    prices = load_prices()
    found = {model: prices.find(endpoint.provider.name, model) for model in (endpoint.model, sub)}
    return {
        model: Rate(price.prompt_usd / _MILLION, price.reply_usd / _MILLION)
        for model, price in found.items()
        if price is not None
    }


def _analysis(snapshot: Snapshot, outcome: Outcome, spender: Spender, wall_s: float, job: str) -> Analysis:
    note = f"Answered by code in {outcome.turns} turns over all {snapshot.tokens:,} tokens."
    if outcome.note:
        note += f" Stopped early: {outcome.note}."
    if dropped := outcome.held.dropped:
        note += f" {len(dropped)} citations match nothing and were dropped: {', '.join(dropped[:5])}."
    return Analysis(
        job_id=job,
        state="done",
        partial=outcome.partial,
        limit=outcome.limit,
        mode="rlm",
        note=note,
        answer=outcome.answer,
        citations=outcome.held.citations,
        coverage=_coverage(snapshot, outcome),
        corpus=corpus_facts(snapshot),
        skipped=skipped_facts(snapshot),
        usage=spender.tally.facts(wall_s),
        trajectory=f"rlmd://jobs/{job}",
    )


def _coverage(snapshot: Snapshot, outcome: Outcome) -> Coverage:
    read = set(outcome.read)
    return coverage(snapshot, [entry for entry in snapshot.files if entry.path not in read])
