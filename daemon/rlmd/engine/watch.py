"""How a run is coming on, in one line: its turn, what it does, what is spent and what is left."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import trio

from rlmd.engine.budget import Budget
from rlmd.engine.spending import Tally
from rlmd.values import Progress, Report


@dataclass(frozen=True, slots=True)
class Step:
    """How far the run *node* has come, and what it waits for."""

    node: str
    turn: int
    turns: int
    doing: Literal["model", "cell"] = "model"


@dataclass(eq=False)
class Watch:
    """Reports the first run of a job whenever it takes a step or a call begins or ends."""

    report: Report
    tally: Tally
    budget: Budget
    _step: Step | None = None

    def take(self, step: Step) -> None:
        """Note a step; those of children show in the calls alone."""
        if step.node == "0":
            self._step = step
            self.show()

    def show(self) -> None:
        """Report where the run stands."""
        if (step := self._step) is not None:
            self.report(Progress("turn", step.turn, step.turns, unit="turns", note=self._said(step)))

    def _said(self, step: Step) -> str:
        tally = self.tally
        below = tally.in_flight - (step.doing == "model")
        doing = "the model writes" if step.doing == "model" else "its code runs"
        calls = f", {below} sub-calls in flight" if below > 0 else ""
        usd = "$?" if tally.usd is None else f"${tally.usd:.4f}"
        spent = f"spent {tally.calls} calls, {tally.tokens_in + tally.tokens_out:,} tokens, {usd}"
        return f"turn {step.turn} of {step.turns}: {doing}{calls}; {spent}; left {self._left()}"

    def _left(self) -> str:
        room = self.budget.room()
        shown = []
        if "calls" in room:
            shown.append(f"{int(room['calls'])} calls")
        if "tokens" in room:
            shown.append(f"{int(room['tokens']):,} tokens")
        if "usd" in room:
            shown.append(f"${room['usd']:.4f}")
        if not math.isinf(seconds := self.budget.deadline - trio.current_time()):
            shown.append(f"{max(0, int(seconds))} s")
        return ", ".join(shown) or "no limit but the turns"
