"""Mode `direct`, whole: one call within the budget of the question, and what is left without it."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from rlmd.answers import Analysis, Limit
from rlmd.corpus.snapshot import Snapshot
from rlmd.engine.budget import Budget, Exhausted
from rlmd.engine.closing import REASONS
from rlmd.engine.commission import Bursar, Commission
from rlmd.engine.direct import MOST_TOKENS, Form, answer_direct, left_evidence
from rlmd.engine.evidence import Evidence
from rlmd.engine.patience import while_patient
from rlmd.engine.spending import Spender
from rlmd.errors import BudgetExhausted
from rlmd.llm.values import Message, Reply


async def ask_once(bursar: Bursar, work: Commission, snapshot: Snapshot, evidence: Evidence) -> Analysis:
    """Answer by one call (more where its answer has to be mended), `usage` included.

    When the time is up, or the budget after something was paid for, the evidence is left, `partial`;
    a budget that pays for no call at all raises BudgetExhausted.  Raises what `answer_direct` does.
    """
    endpoint = await bursar.model.settled()
    spender, budget = bursar.spender(work, endpoint), bursar.budget(work)
    faults = work.faults()
    form = None if faults is None else Form(schema=work.question.schema or "", faults=faults)
    with while_patient(work.deadline) as cut:
        try:
            found = await answer_direct(
                snapshot,
                evidence,
                work.question.query,
                _Asking(spender, budget),
                window_tokens=endpoint.window_tokens,
                most_tokens=int(min(MOST_TOKENS, spender.affordable_tokens(budget))),
                form=form,
            )
        except Exhausted as exhausted:
            stop = cast("Limit", exhausted.kind)  # one call has no depth
            if not spender.tally.answered:
                raise BudgetExhausted(
                    f"The budget pays for no call: {REASONS[stop]}.", "Allow more, or ask in mode `evidence`."
                ) from None
            found = await left_evidence(snapshot, evidence, _said(stop), stop)
    if cut.cancelled_caught:
        found = await left_evidence(snapshot, evidence, _said("seconds"), "seconds")
    return replace(found, usage=spender.tally.facts(work.wall_s))


class _Asking:
    """Asks the root model, each time as another turn."""

    def __init__(self, spender: Spender, budget: Budget) -> None:
        self._spender, self._budget = spender, budget
        self._turn = 0

    async def __call__(self, messages: tuple[Message, ...]) -> Reply:
        self._turn += 1
        model = self._spender.models.root
        return await self._spender.reply(
            self._budget, messages, model=model, node="0", turn=self._turn, kind="root"
        )


def _said(stop: Limit) -> str:
    return f"The model did not answer in time or within its budget: {REASONS[stop]}"
