"""One run: a root model writes cells, the sandbox runs them, until one submits or a limit is met.

A run always answers once something was paid for: on a limit it closes from what was kept back, and
where even that fails, from what it has seen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

import structlog
import trio

from rlmd.answers import Json, Limit
from rlmd.engine.apart import Apart, open_apart
from rlmd.engine.budget import Budget, Exhausted, Limits, seconds_for_closing
from rlmd.engine.closing import REASONS, Stop, last_questions, remains
from rlmd.engine.ledger import Body, Entry, key_of
from rlmd.engine.patience import while_patient
from rlmd.engine.prompts import prompt
from rlmd.engine.quotes import hold
from rlmd.engine.repl import Repl, open_repl
from rlmd.engine.services import RunServices, SubRunFailed
from rlmd.engine.subset import subset
from rlmd.engine.talk import Talk, left, told_of
from rlmd.engine.task import Means, Outcome, Task, opening
from rlmd.engine.turn import ENOUGH, Code, Malformed, Repetition, parse
from rlmd.engine.typed import as_text
from rlmd.engine.watch import Step
from rlmd.errors import BudgetExhausted, Busy, RequestError, SandboxUnavailable
from rlmd.llm.values import UpstreamError
from rlmd.sandbox.requests import ExecResult
from rlmd.supervision import ActorError

log = structlog.get_logger(__name__)

MALFORMED_IN_A_ROW = 3
_LONGEST_CLOSING_S = 120.0
_CLOSING_CELL_S = 5.0
_RETOLD = {"truncated", "empty", "filtered"}
"""A reply that fails so was paid for, and the model may do better once it is told."""
_LIMITS = ("usd", "tokens", "calls")
_NO_CELL = "malformed"


@dataclass(frozen=True, slots=True)
class _Submitted:
    result: ExecResult


async def run(means: Means, task: Task, budget: Budget, node: str = "0") -> Outcome:
    """Answer *task* within *budget*, as the run *node* of its job.

    Raises Busy and SandboxUnavailable before anything is spent, and what the model's failure or the
    budget is when no call was answered; after that there is always an Outcome.  Cancelling leaves
    nothing running.
    """
    first = await trio.to_thread.run_sync(opening, means, task, budget, abandon_on_cancel=True)
    async with (
        open_apart() as apart,
        open_repl(means.execute, task.snapshot, task.context, cell_s=means.cell_s) as repl,
    ):
        return await _Run(means, task, budget, node, repl, apart, first).answer()


class _Run:
    """A run in progress."""

    def __init__(
        self, means: Means, task: Task, budget: Budget, node: str, repl: Repl, apart: Apart, first: str
    ) -> None:
        self._means, self._task, self._budget, self._node = means, task, budget, node
        self._repl, self._apart = repl, apart
        self._ledger = means.spender.ledger
        self._talk = Talk(prompt("root"), first)
        self._window = means.spender.models.window_tokens
        self._repetition = Repetition()
        self._turn = 0
        search, names = partial(means.search, task.snapshot), means.names(task.snapshot)
        self._services = RunServices(means.spender, budget, node, search, names, self._child, self._left)

    async def answer(self) -> Outcome:
        """Work until there is an answer or a limit; then close."""
        now = trio.current_time()
        closing_s = seconds_for_closing(self._budget.deadline - now)
        ended: _Submitted | Stop = "seconds"
        with while_patient(deadline=self._budget.deadline - closing_s):
            ended = await self._work()
        if isinstance(ended, _Submitted):
            refused = [kind for kind in self._services.refused if kind in _LIMITS]
            limit = cast("Limit | None", refused[0] if refused else None)
            return await self._outcome(ended.result, limit)
        log.info("run.stopped", node=self._node, limit=ended, turn=self._turn)
        if not self._means.spender.tally.answered:
            raise BudgetExhausted(
                f"Nothing was answered yet: {REASONS[ended]}.", "Allow more, or ask in mode `evidence`."
            )
        return await self._close(ended)

    async def _work(self) -> _Submitted | Stop:
        try:
            return await self._turns()
        except Exhausted as exhausted:
            return cast("Stop", exhausted.kind)
        except (UpstreamError, ActorError):
            if not self._means.spender.tally.answered:
                raise
            return "llm"
        except (Busy, SandboxUnavailable):
            return "sandbox"

    async def _turns(self) -> _Submitted | Stop:
        malformed = 0
        for turn in range(1, self._means.turns + 1):
            self._turn = turn
            self._means.report(Step(self._node, turn, self._means.turns))
            reply, parsed = await self._ask()
            if isinstance(parsed, Code):
                malformed = 0
                if (ended := await self._cell(reply, parsed.source)) is not None:
                    return ended
                continue
            malformed += 1
            if malformed == MALFORMED_IN_A_ROW:
                return "llm"
            known = self._ledger.recall(self._node, turn, "cell", _NO_CELL)
            body = known or {"code": "", "told": parsed.reason, "left": self._shown_left()}
            if known is None:
                await self._ledger.keep(Entry(self._node, turn, "cell", _NO_CELL, body))
            self._talk.add_malformed(reply, f"{body['told']}\n{body['left']}")
        return "calls"

    async def _ask(self) -> tuple[str, Code | Malformed]:
        """Ask the root model for a cell; a window that proves smaller is believed and asked once more."""
        for is_last in (False, True):
            shortened = self._talk.shortened
            messages = self._talk.messages(self._window)
            if self._talk.shortened != shortened:
                await self._repl.set_history(self._talk.history())
            try:
                reply = await self._means.spender.call(
                    self._budget,
                    messages,
                    model=self._means.spender.models.root,
                    node=self._node,
                    turn=self._turn,
                    kind="root",
                )
            except UpstreamError as error:
                if error.kind in _RETOLD:
                    return "", Malformed(f"Your reply could not be used: {error.message}.")
                if error.kind != "overflow" or is_last:
                    raise
                self._window = min(error.window_tokens or self._window, self._window // 2)
            else:
                return reply, parse(reply)
        raise AssertionError("the second attempt returns or raises")

    async def _cell(self, reply: str, code: str) -> _Submitted | Stop | None:
        """Run *code*, tell the model what it came to, and keep that."""
        key = key_of(code)
        known = self._ledger.recall(self._node, self._turn, "cell", key) or {}
        shown = known.get("shown")
        self._services.begin(self._turn, shown if isinstance(shown, list) else ())
        self._means.report(Step(self._node, self._turn, self._means.turns, "cell"))
        result = await self._repl.run(code, self._services)
        if result.killed is None:
            await self._repl.note_touched()
        faults = self._faults(result)
        told = "\n".join([told_of(result, output_chars=self._means.output_chars), *faults])
        count = self._repetition.note(code, told)
        if count > 1:
            told += "\nThis cell had the same outcome before. Do something else, or submit."
        after = str(known.get("left") or self._shown_left())
        if known and known.get("told") != told:
            self._ledger.differing += 1
            log.info("cell.differs", node=self._node, turn=self._turn)
        is_final = result.submitted and not faults
        body: Body = {"code": code, "told": told, "left": after, "shown": self._services.shown}
        body |= {"s": result.wall_s, "submitted": is_final}
        if not known:
            await self._ledger.keep(Entry(self._node, self._turn, "cell", key, body))
        if is_final:
            return _Submitted(result)
        if count >= ENOUGH:
            return "loop"
        self._talk.add(reply, f"{known.get('told') or told}\n{after}")
        self._services.heard.clear()
        return None

    def _faults(self, result: ExecResult) -> list[str]:
        if not result.submitted or self._task.faults is None:
            return []
        faults = self._task.faults(result.answer)
        return ["The answer was not taken:", *faults, "Mend it and submit again."] if faults else []

    async def _child(self, question: str, paths: Sequence[str], text: str | None, name: str) -> str:
        """Answer by a run of its own over part of the files; raises SubRunFailed for a partial answer."""
        budget = self._budget.child(Limits(depth=self._budget.limits.depth), trio.current_time())
        node = f"{self._node}/{self._turn}.{name}"

        async def work() -> str:
            if text is None:
                snapshot = await trio.to_thread.run_sync(subset, self._task.snapshot, paths)
            else:
                snapshot = await self._means.take_text(text)
            context = None if text is None else snapshot.files.paths[0]
            task = Task(question=question, snapshot=snapshot, context=context)
            outcome = await run(self._means, task, budget, node)
            answer = as_text(outcome.answer)
            body: Body = {"question": question, "answer": answer, "limit": outcome.limit}
            if self._ledger.recall(self._node, self._turn, "child", name) is None:
                await self._ledger.keep(Entry(self._node, self._turn, "child", name, {**body, "node": node}))
            if outcome.partial:
                raise SubRunFailed(f"The child run stopped early ({outcome.note}). It has this: {answer}")
            return answer

        return await self._apart(work)

    async def _close(self, stop: Stop) -> Outcome:
        """Make the best of what there is, within what was kept back."""
        self._budget.release()
        limit = None if stop == "sandbox" else stop
        answer: Json = None if self._task.faults else remains(self._talk, stop, self._services.heard)
        deadline = min(self._budget.deadline, trio.current_time() + _LONGEST_CLOSING_S)
        if stop != "llm":
            with trio.move_on_at(deadline):
                try:
                    said = await self._last_words(stop)
                except (Exhausted, RequestError, ActorError) as failed:
                    log.info("run.not_closed", node=self._node, reason=str(failed))
                else:
                    if isinstance(said, _Submitted):
                        return await self._outcome(said.result, limit, stop)
                    answer = answer if said is None else said
        return await self._outcome(ExecResult(answer=answer), limit, stop)

    async def _last_words(self, stop: Stop) -> _Submitted | str | None:
        """Ask once more, for a cell that submits or for plain words; None where neither came."""
        spender = self._means.spender
        reply = None
        for messages in last_questions(
            self._talk, self._task.question, stop, self._services.heard, self._window
        ):
            try:
                reply = await spender.call(
                    self._budget,
                    messages,
                    model=spender.models.root,
                    node=self._node,
                    turn=self._turn + 1,
                    kind="root",
                )
                break
            except Exhausted:
                continue
        if reply is None:
            return None
        parsed = parse(reply)
        if isinstance(parsed, Malformed):
            return None if self._task.faults else reply
        result = ExecResult()
        with trio.move_on_after(_CLOSING_CELL_S):
            result = await self._repl.run(parsed.source)
        return _Submitted(result) if result.submitted and not self._faults(result) else None

    async def _outcome(self, result: ExecResult, limit: Limit | None, stop: Stop | None = None) -> Outcome:
        read = tuple(self._repl.read())
        held = await trio.to_thread.run_sync(
            hold, self._task.snapshot, result.citations, read, abandon_on_cancel=True
        )
        reason = stop or limit
        return Outcome(
            answer=result.answer,
            held=held,
            limit=limit,
            partial=reason is not None,
            note=REASONS[reason] if reason else "",
            turns=self._turn,
            read=read,
        )

    def _left(self) -> Mapping[str, Json]:
        seconds = self._seconds()
        return {
            **self._budget.room(),
            "seconds": None if seconds is None else round(seconds, 1),
            "depth": self._budget.limits.depth,
            "turns": self._means.turns - self._turn,
        }

    def _shown_left(self) -> str:
        return left(self._turn + 1, self._means.turns, self._budget.room(), self._seconds())

    def _seconds(self) -> float | None:
        seconds = self._budget.deadline - trio.current_time()
        return None if math.isinf(seconds) else seconds
