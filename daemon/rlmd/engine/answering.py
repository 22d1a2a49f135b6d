"""The story of an analysis: collect, search, and answer in the mode that fits; one page."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import outcome
import trio

from rlmd.answers import Analysis, Mode, Question
from rlmd.corpus.keeper import Answer, Collect, CollectFile, CollectText, Request
from rlmd.corpus.snapshot import Snapshot
from rlmd.engine.account import evidence_analysis
from rlmd.engine.direct import answer_direct
from rlmd.engine.evidence import Evidence, gather
from rlmd.engine.jobs import Job, Jobs
from rlmd.engine.model import Model
from rlmd.errors import BadArgument, JobCancelled, NoLlm
from rlmd.supervision import Mailbox
from rlmd.values import Report

Target = Collect | CollectFile | CollectText
Chosen = Literal["evidence", "direct"]

PASSAGES = 40
INDEX_WAIT_S = 20.0
"""An answer waits so long for its index; then it stands on what is indexed, and says so."""


@dataclass(frozen=True, eq=False)
class Answering:
    """Answers questions, each in a job of its own; without a `model` by evidence alone."""

    keeper: Mailbox[Request, Answer]
    jobs: Jobs[Analysis]
    model: Model | None

    async def analyze(self, target: Target, question: Question, project: str, report: Report) -> Analysis:
        """Answer *question* over *target*, or hand back the job that goes on after `wait_s` or with `detach`.

        A job that was running before we asked may not have seen what was written since: then the
        answer says that it is not fresh.
        """
        asked_at = trio.current_time()
        mode = self._choose(question.mode)
        key = (target, question.query, question.kind, question.budget_s, mode, project)
        job = self.jobs.start(key, partial(self._answer, target, question, mode, project))
        job.detached = job.detached or question.detach
        if question.detach or not await self.jobs.wait(job, question.wait_s, report):
            return Analysis(job_id=job.id, state="running", mode=mode)
        return replace(_result(job), job_id=job.id, fresh=job.started_at >= asked_at)

    def _choose(self, mode: Mode) -> Chosen:
        match mode:
            case "evidence":
                return "evidence"
            case "auto":
                return "direct" if self.model else "evidence"
            case "direct" if self.model:
                return "direct"
            case "rlm" if self.model:
                raise BadArgument('mode "rlm" is not available yet', 'Use "direct" or "evidence".')
            case _:
                raise NoLlm(
                    "This mode needs a model, and none is configured.",
                    "Set llm.base_url and llm.model in config.toml (or RLMD_LLM__BASE_URL, RLMD_LLM__MODEL), "
                    'or a key with `rlmd auth set`; mode "evidence" needs none.',
                )

    async def _answer(
        self, target: Target, question: Question, mode: Chosen, project: str, report: Report
    ) -> Analysis:
        began = trio.current_time()
        snapshot = await self._collect(target, report)
        evidence = await self._gather(snapshot, question, began, report)
        answer = None
        if mode == "direct":
            with trio.move_on_after(_left_s(question, began)):
                answer = await self._ask_model(snapshot, evidence, question, project)
        if answer is None:
            answer = await self._evidence(snapshot, evidence, question, mode)
        return replace(answer, usage=replace(answer.usage, wall_s=round(trio.current_time() - began, 3)))

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
        evidence = await gather(
            self.keeper,
            snapshot,
            question.query,
            question.kind,
            report,
            limit=PASSAGES,
            deadline_s=deadline_s,
        )
        if evidence.unindexed:
            self._finish_index(snapshot, question)
        return evidence

    def _finish_index(self, snapshot: Snapshot, question: Question) -> None:
        """Let what did not fit the wait be indexed for whoever asks next."""

        async def finish(report: Report) -> Analysis:
            await gather(self.keeper, snapshot, question.query, question.kind, report, limit=1)
            return Analysis(job_id="", state="done", mode="evidence")

        self.jobs.start(("index", snapshot.source), finish).detached = True

    async def _collect(self, target: Target, report: Report) -> Snapshot:
        request = target if isinstance(target, CollectText) else replace(target, report=report)
        snapshot = await self.keeper.ask(request)
        assert isinstance(snapshot, Snapshot)
        return snapshot


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
