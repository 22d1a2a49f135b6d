"""Mode `rlm`, whole: a journalled run over a snapshot, and what it came to as an analysis."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from rlmd.answers import Analysis, Coverage, Question
from rlmd.corpus.keeper import Answer, CollectText, Request
from rlmd.corpus.snapshot import Snapshot
from rlmd.engine.account import corpus_facts, coverage, skipped_facts
from rlmd.engine.budget import Budget, aside_for_closing
from rlmd.engine.commission import Bursar, Commission
from rlmd.engine.evidence import excerpts
from rlmd.engine.names import Names
from rlmd.engine.repl import Execute
from rlmd.engine.run import run
from rlmd.engine.spending import Spender
from rlmd.engine.task import Means, Outcome, Task
from rlmd.engine.watch import Watch
from rlmd.sandbox.services import Excerpt
from rlmd.supervision import Mailbox
from rlmd.values import Report


@dataclass(frozen=True, eq=False)
class Research:
    """Answers questions by runs; owns nothing."""

    execute: Execute
    keeper: Mailbox[Request, Answer]
    bursar: Bursar
    available: Callable[[], Awaitable[bool]]

    async def answer(
        self, snapshot: Snapshot, work: Commission, report: Report, *, sub_calls: bool = True
    ) -> Analysis:
        """Answer by a run over *snapshot*; raises what `run` does.  `usage` has all of its cost."""
        spender = self.bursar.spender(work, await self.bursar.model.settled())
        task = Task(
            question=work.question.query,
            snapshot=snapshot,
            context=work.context,
            faults=work.faults(),
            form=work.question.schema or "",
            sub_calls=sub_calls,
        )
        budget = self.bursar.budget(work, aside_for_closing)
        outcome = await run(self._means(spender, budget, work.question, report), task, budget)
        return _analysis(snapshot, outcome, spender, work)

    def _means(self, spender: Spender, budget: Budget, question: Question, report: Report) -> Means:
        async def search(snapshot: Snapshot, query: str, k: int, paths: Sequence[str]) -> list[Excerpt]:
            return await excerpts(self.keeper, snapshot, query, question.kind, k, paths)

        async def take_text(text: str) -> Snapshot:
            snapshot = await self.keeper.ask(CollectText(text))
            assert isinstance(snapshot, Snapshot)
            return snapshot

        watch = Watch(report, spender.tally, budget)
        spender.moved = watch.show
        settings = self.bursar.settings
        return Means(
            execute=self.execute,
            spender=spender,
            search=search,
            names=partial(Names, self.keeper),
            take_text=take_text,
            report=watch.take,
            turns=settings.turns,
            output_chars=settings.output_chars,
            cell_s=settings.cell_s,
        )


def _analysis(snapshot: Snapshot, outcome: Outcome, spender: Spender, work: Commission) -> Analysis:
    note = f"Answered by code in {outcome.turns} turns over all {snapshot.tokens:,} tokens."
    if outcome.note:
        note += f" Stopped early: {outcome.note}."
    if dropped := outcome.held.dropped:
        note += f" {len(dropped)} citations match nothing and were dropped: {', '.join(dropped[:5])}."
    return Analysis(
        job_id=work.job,
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
        usage=spender.tally.facts(work.wall_s),
    )


def _coverage(snapshot: Snapshot, outcome: Outcome) -> Coverage:
    read = set(outcome.read)
    return coverage(snapshot, [entry for entry in snapshot.files if entry.path not in read])
