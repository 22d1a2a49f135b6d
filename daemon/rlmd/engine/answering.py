"""The story of an analysis: collect, search, and answer in the mode that fits; one page."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import outcome
import trio

from rlmd.answers import Analysis, Json, Mode, Question
from rlmd.corpus.keeper import Answer, Collect, CollectFile, CollectText, Request
from rlmd.corpus.snapshot import Snapshot
from rlmd.engine.account import evidence_analysis
from rlmd.engine.archive import Record
from rlmd.engine.desk import Desk
from rlmd.engine.direct import answer_direct, room_tokens
from rlmd.engine.evidence import Evidence, gather
from rlmd.engine.jobs import Job, Jobs, new_name
from rlmd.engine.journal import Begin
from rlmd.engine.model import Model
from rlmd.engine.patience import patience, while_patient
from rlmd.engine.research import Commission, Research
from rlmd.engine.router import Chosen, Circumstances, Route, route
from rlmd.errors import JobCancelled, NoLlm
from rlmd.supervision import Mailbox
from rlmd.values import Report

Target = Collect | CollectFile | CollectText

PASSAGES = 40
NO_LLM = NoLlm(
    "This mode needs a model, and none is configured.",
    "Set llm.base_url and llm.model in config.toml (or RLMD_LLM__BASE_URL, RLMD_LLM__MODEL), "
    'or a key with `rlmd auth set`; mode "evidence" needs none.',
)
INDEX_WAIT_S = 20.0
"""An answer waits so long for its index; then it stands on what is indexed, and says so."""


@dataclass(frozen=True, eq=False)
class Answering:
    """Answers questions, each in a job of its own; without a `model` by evidence alone."""

    keeper: Mailbox[Request, Answer]
    jobs: Jobs[Analysis]
    model: Model | None
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
        if question.mode in {"direct", "rlm"} and self.model is None:
            raise NO_LLM
        begin = Begin(
            id=new_name(), project=project, query=question.query, mode=question.mode, request=request
        )
        job = self._start(target, question, begin, None)
        job.detached = job.detached or question.detach
        if question.detach or not await self.jobs.wait(job, question.wait_s, report):
            return Analysis(job_id=job.id, state="running", mode=self._expected(question.mode))
        return replace(_result(job), job_id=job.id, fresh=job.started_at >= asked_at)

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
            if record is not None or (self.research is not None and question.mode in {"auto", "rlm"}):
                return await self.desk.see_through(begin, answer, is_new=record is None)
            analysis = await answer()
            await self.desk.keep_if_left(begin, analysis)
            return analysis

        key = (target, question, begin.project)
        return self.jobs.start(key, work, name=begin.id, query=question.query, mode=question.mode)

    def _expected(self, mode: Mode) -> Chosen:
        """Say in which mode a running job will probably answer."""
        if mode == "auto":
            return "evidence" if self.model is None else "direct"
        return mode

    async def _choose(self, question: Question, snapshot: Snapshot, window_tokens: int | None) -> Route:
        if question.mode == "auto":
            runs, whole_runs = (0, 0) if self.desk is None else await self.desk.archive.runs()
            here = Circumstances(
                has_model=self.model is not None,
                has_sandbox=self.research is not None and await self.research.available(),
                tokens=snapshot.tokens,
                room_tokens=room_tokens(window_tokens),
                runs=runs,
                whole_runs=whole_runs,
            )
            return route(question.query, here)
        return Route(question.mode, True, "")

    async def _answer(
        self, target: Target, question: Question, begin: Begin, record: Record | None, report: Report
    ) -> Analysis:
        began = trio.current_time()
        snapshot = await self._collect(target, report)
        patience().bytes = snapshot.bytes
        window = None
        if self.model is not None and question.mode != "evidence":
            window = (await self.model.settled()).window_tokens
        chosen = await self._choose(question, snapshot, window)
        if chosen.mode == "rlm" and self.research is not None:
            context = _context(target)
            work = Commission(job=begin.id, project=begin.project, question=question, context=context)
            if record is not None and self.desk is not None:
                entries = await self.desk.archive.entries(record.job_id)
                work = replace(work, known=entries, used_s=record.wall_s)
            answer = await self.research.answer(snapshot, work, report)
            return _cut_short(replace(answer, note=f"{chosen.why} {answer.note}".strip()))
        evidence = await self._gather(snapshot, question, began, report)
        found = None
        if chosen.mode == "direct":
            with while_patient(trio.current_time() + _left_s(question, began)):
                found = await self._ask_model(snapshot, evidence, question, begin.project)
        if found is None:
            found = await self._evidence(snapshot, evidence, question, chosen.mode)
        found = _cut_short(found)
        return replace(found, usage=replace(found.usage, wall_s=round(trio.current_time() - began, 3)))

    async def _ask_model(
        self, snapshot: Snapshot, evidence: Evidence, question: Question, project: str
    ) -> Analysis:
        assert self.model is not None
        endpoint = await self.model.settled()
        return await answer_direct(
            snapshot,
            evidence,
            question.query,
            self.model.asker(endpoint, job=question.query, project=project),
            window_tokens=endpoint.window_tokens,
        )

    async def _evidence(
        self, snapshot: Snapshot, evidence: Evidence, question: Question, mode: Chosen
    ) -> Analysis:
        """Answer by evidence alone: because that was asked for, or because the time for more ran out."""
        note = ""
        if mode == "direct":
            note = "The model did not answer within budget.seconds; this is the evidence alone."
        elif question.mode == "auto":
            note = "Evidence without a model, since none is configured."
        answer = await trio.to_thread.run_sync(
            evidence_analysis, snapshot, evidence, note, abandon_on_cancel=True
        )
        return replace(answer, mode=mode, partial=True, limit="seconds") if mode == "direct" else answer

    async def _gather(self, snapshot: Snapshot, question: Question, began: float, report: Report) -> Evidence:
        deadline_s = min(INDEX_WAIT_S, _left_s(question, began))
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

    async def _collect(self, target: Target, report: Report) -> Snapshot:
        request = target if isinstance(target, CollectText) else replace(target, report=report)
        snapshot = await self.keeper.ask(request)
        assert isinstance(snapshot, Snapshot)
        return snapshot


def _cut_short(answer: Analysis) -> Analysis:
    """Say so where the job was ended early from outside; its answer is what it had by then."""
    if not (why := patience().why):
        return answer
    note = f"{answer.note} {why}".strip()
    return replace(answer, partial=True, limit=answer.limit or "seconds", note=note)


def _context(target: Target) -> str | None:
    """Return the name of the one text that is asked about, if it is one."""
    return None if isinstance(target, Collect) else target.name


def _left_s(question: Question, began: float) -> float:
    """Return the seconds that are left of the question's budget; without one there is no end to them."""
    budget_s = float("inf") if question.budget_s is None else question.budget_s
    return max(0.0, began + budget_s - trio.current_time())


def _result(job: Job[Analysis]) -> Analysis:
    if job.ended is None:
        raise JobCancelled(f"The analysis {job.id} was cancelled.", "Ask again.")
    if isinstance(job.ended, outcome.Error):  # an outcome unwraps only once, and many may wait
        raise job.ended.error
    return job.ended.value
