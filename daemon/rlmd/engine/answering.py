"""The story of an analysis: collect, search, and answer in the mode that fits; one page."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import outcome
import trio

from rlmd.answers import Analysis, CorpusFacts, Json, Mode, Question
from rlmd.corpus.bundle import CollectBundle
from rlmd.corpus.keeper import (
    Answer,
    Collect,
    CollectFile,
    CollectText,
    Request,
    Stock,
    TakeStock,
)
from rlmd.corpus.snapshot import Snapshot
from rlmd.engine.account import evidence_analysis
from rlmd.engine.archive import Record
from rlmd.engine.commission import Bursar, Commission, models_of
from rlmd.engine.desk import Desk
from rlmd.engine.direct import PROMPT_TOKENS, REPLY_TOKENS, room_tokens
from rlmd.engine.evidence import Evidence, gather
from rlmd.engine.jobs import Job, Jobs, new_name
from rlmd.engine.journal import Begin
from rlmd.engine.once import ask_once
from rlmd.engine.patience import patience, while_patient
from rlmd.engine.research import Research
from rlmd.engine.router import NO_MODEL, Chosen, Circumstances, Price, Route, estimate, route
from rlmd.errors import BudgetExhausted, JobCancelled, NoLlm
from rlmd.supervision import Mailbox
from rlmd.values import Progress, Report

Target = Collect | CollectFile | CollectText | CollectBundle

PASSAGES = 40
NO_LLM = NoLlm(
    "This mode needs a model, and none is configured.",
    "Set llm.base_url and llm.model in config.toml (or RLMD_LLM__BASE_URL, RLMD_LLM__MODEL), "
    'or a key with `rlmd auth set`; mode "evidence" needs none.',
)
WITHOUT = Circumstances(has_model=False, has_sandbox=False, tokens=0, room_tokens=0)
EVIDENCE = Route("evidence", "", NO_MODEL)
INDEX_WAIT_S = 20.0
"""An answer waits so long for its index; then it stands on what is indexed, and says so."""


@dataclass(frozen=True, eq=False)
class Answering:
    """Answers questions, each in a job of its own; without a `bursar` there is no model, only evidence."""

    keeper: Mailbox[Request, Answer]
    jobs: Jobs[Analysis]
    bursar: Bursar | None = None
    research: Research | None = None
    desk: Desk | None = None

    async def analyze(
        self, target: Target, question: Question, project: str, report: Report, *, request: Json = None
    ) -> Analysis:
        """Answer *question* over *target*, or hand back the job that goes on after `wait_s` or with `detach`.

        A job that was running before we asked may not have seen what was written since: then the
        answer says that it is not fresh.  *request* is JSON that says how to begin it again.
        """
        asked_at = trio.current_time()
        if question.mode in {"direct", "rlm"} and self.bursar is None:
            raise NO_LLM
        begin = Begin(
            id=new_name(), project=project, query=question.query, mode=question.mode, request=request
        )
        job = self._start(target, question, begin, None)
        job.detached = job.detached or question.detach
        if question.detach or not await self.jobs.wait(job, question.wait_s, report):
            return Analysis(job_id=job.id, state="running", mode=self._expected(question.mode))
        found = replace(_result(job), job_id=job.id, fresh=job.started_at >= asked_at)
        return replace(found, corpus=await self._aged(found.corpus, job.started_at))

    async def _aged(self, corpus: CorpusFacts | None, taken_at: float) -> CorpusFacts | None:
        """Say how old *corpus* is, which was taken after *taken_at*."""
        if corpus is None or not corpus.root:  # a text that came with its question does not age
            return corpus
        stock = await self.keeper.ask(TakeStock())
        assert isinstance(stock, Stock)
        is_fresh = any(
            held.fresh and (held.snapshot.root, held.snapshot.id) == (corpus.root, corpus.snapshot)
            for held in stock.corpora
        )
        return replace(corpus, age_s=0.0 if is_fresh else round(trio.current_time() - taken_at, 3))

    def resume(self, record: Record, target: Target, question: Question) -> None:
        """Go on with a job that the daemon's death has cut off."""
        begin = Begin(
            id=record.job_id,
            project=record.project,
            query=record.query,
            mode=record.mode,
            request=record.request,
        )
        self._start(target, question, begin, record).detached = True

    def _start(
        self, target: Target, question: Question, begin: Begin, record: Record | None
    ) -> Job[Analysis]:
        async def work(report: Report) -> Analysis:
            answer = partial(self._answer, target, question, begin, record, report)
            if self.desk is None:
                return await answer()
            if record is not None or (self.bursar is not None and question.mode != "evidence"):
                return await self.desk.see_through(begin, answer, is_new=record is None)
            return await self.desk.keep(begin, await answer())

        key = (target, question, begin.project)
        return self.jobs.start(key, work, name=begin.id, query=question.query, mode=question.mode)

    def _expected(self, mode: Mode) -> Chosen:
        """Say in which mode a running job will probably answer."""
        if mode == "auto":
            return "evidence" if self.bursar is None else "direct"
        return mode

    async def _answer(
        self, target: Target, question: Question, begin: Begin, record: Record | None, report: Report
    ) -> Analysis:
        work = Commission(job=begin.id, project=begin.project, question=question, context=_context(target))
        if record is not None and self.desk is not None:
            entries = await self.desk.archive.entries(record.job_id)
            work = replace(work, known=entries, used_s=record.wall_s)
        snapshot = await self._collect(target, work, report)
        patience().bytes = snapshot.bytes
        chosen = await self._choose(work, snapshot)
        if chosen.mode != "evidence":
            report(Progress("search", 0, note=f"before anything is spent: {chosen.why}"))
        if chosen.mode == "rlm" and self.research is not None:
            found = await self.research.answer(snapshot, work, report, sub_calls=chosen.sub_calls)
        else:
            evidence = await self._gather(snapshot, work, report)
            if chosen.mode == "direct" and self.bursar is not None:
                found = await ask_once(self.bursar, work, snapshot, evidence)
            else:
                found = await trio.to_thread.run_sync(
                    evidence_analysis, snapshot, evidence, "", abandon_on_cancel=True
                )
        note = f"{chosen.why} {found.note}".strip()
        found = _cut_short(replace(found, note=note))
        return replace(found, usage=replace(found.usage, wall_s=work.wall_s))

    async def _choose(self, work: Commission, snapshot: Snapshot) -> Route:
        """Choose a mode where nobody did, and say what the one that was chosen will take."""
        question = work.question
        if self.bursar is None or question.mode == "evidence":
            return route(question.query, WITHOUT) if question.mode == "auto" else EVIDENCE
        here = await self._circumstances(self.bursar, question, snapshot)
        if question.mode == "auto":
            return route(question.query, here)
        expected = estimate(question.mode, question.query, here)
        return Route(question.mode, f"Mode {question.mode} was asked for ({expected}).", expected)

    async def _circumstances(self, bursar: Bursar, question: Question, snapshot: Snapshot) -> Circumstances:
        models = models_of(await bursar.model.settled())
        rate = models.rates.get(models.root)
        runs, whole_runs = (0, 0) if self.desk is None else await self.desk.archive.runs()
        most = {
            "most_calls": question.budget_calls,
            "most_tokens": question.budget_tokens,
            "most_usd": question.budget_usd,
        }
        return Circumstances(
            has_model=True,
            has_sandbox=self.research is not None and await self.research.available(),
            tokens=snapshot.tokens,
            room_tokens=room_tokens(models.window_tokens),
            overhead_tokens=PROMPT_TOKENS,
            reply_tokens=models.reply_tokens or REPLY_TOKENS,
            runs=runs,
            whole_runs=whole_runs,
            price=None if rate is None else Price(rate.prompt_usd, rate.reply_usd),
            **{name: limit for name, limit in most.items() if limit is not None},
        )

    async def _gather(self, snapshot: Snapshot, work: Commission, report: Report) -> Evidence:
        question = work.question
        deadline_s = min(INDEX_WAIT_S, max(0.0, work.deadline - trio.current_time()))
        search = partial(gather, self.keeper, snapshot, question.query, question.kind, report, limit=PASSAGES)
        with while_patient() as cut:
            evidence = await search(deadline_s=deadline_s)
        if cut.cancelled_caught:
            evidence = await search(deadline_s=0.0)
        if evidence.unindexed:
            self._finish_index(snapshot, question)
        return evidence

    def _finish_index(self, snapshot: Snapshot, question: Question) -> None:
        """Let what did not fit the wait be indexed for whoever asks next."""

        async def finish(report: Report) -> Analysis:
            patience().bytes = snapshot.bytes
            with while_patient():
                await gather(self.keeper, snapshot, question.query, question.kind, report, limit=1)
            return Analysis(job_id="", state="done", mode="evidence")

        self.jobs.start(("index", snapshot.source), finish).detached = True

    async def _collect(self, target: Target, work: Commission, report: Report) -> Snapshot:
        """Collect within the time of the question; what was read by then is read for whoever asks next."""
        request = target if isinstance(target, CollectText) else replace(target, report=report)
        with trio.move_on_at(work.deadline):
            snapshot = await self.keeper.ask(request)
            assert isinstance(snapshot, Snapshot)
            return snapshot
        raise BudgetExhausted(
            f"The files could not all be read within budget.seconds ({work.question.budget_s:g} s).",
            "Ask again: what was read is kept. Or allow more seconds, or ask over fewer paths.",
        )


def _cut_short(answer: Analysis) -> Analysis:
    """Say so where the job was ended early from outside; its answer is what it had by then."""
    if not (why := patience().why):
        return answer
    note = f"{answer.note} {why}".strip()
    return replace(answer, partial=True, limit=answer.limit or "seconds", note=note)


def _context(target: Target) -> str | None:
    """Return the name of the one text that is asked about, if it is one."""
    return None if isinstance(target, Collect) else target.name


def _result(job: Job[Analysis]) -> Analysis:
    if job.ended is None:
        raise JobCancelled(f"The analysis {job.id} was cancelled.", "Ask again.")
    if isinstance(job.ended, outcome.Error):  # an outcome unwraps only once, and many may wait
        raise job.ended.error
    return job.ended.value
