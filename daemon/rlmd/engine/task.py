"""What a run is given, what it shares with the other runs of its job, and what it comes to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from rlmd.answers import Json, Limit
from rlmd.corpus.snapshot import Snapshot
from rlmd.engine.budget import Budget
from rlmd.engine.manifest import manifest
from rlmd.engine.quotes import Held
from rlmd.engine.repl import Execute
from rlmd.engine.spending import Spender
from rlmd.engine.talk import left
from rlmd.engine.watch import Step
from rlmd.sandbox.services import NO_SERVICES, Excerpt, NoServices


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Task:
    """What a run is to answer, over which files.

    *context* names the file that is bound as `context`.  *faults* tells what is wrong with an answer
    that has to be of a form, *form* is that form as the model is told it.
    """

    question: str
    snapshot: Snapshot
    context: str | None = None
    faults: Callable[[Json], list[str]] | None = None
    form: str = ""
    sub_calls: bool = True


@dataclass(frozen=True, kw_only=True, eq=False)
class Means:
    """What all runs of one job share."""

    execute: Execute
    spender: Spender
    search: Callable[[Snapshot, str, int, Sequence[str]], Awaitable[Sequence[Excerpt]]]
    take_text: Callable[[str], Awaitable[Snapshot]]
    report: Callable[[Step], None]
    names: Callable[[Snapshot], NoServices] = lambda _: NO_SERVICES
    turns: int = 40
    output_chars: int = 20_000
    cell_s: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run came to: `read` are the files that its code looked into, children's not counted."""

    answer: Json
    held: Held
    limit: Limit | None
    partial: bool
    note: str
    turns: int
    read: tuple[str, ...]


def opening(means: Means, task: Task, budget: Budget) -> str:
    """Return the first message: the question, what there is, and what may be spent.

    Blocks: reads the beginning of a file.
    """
    parts = [f"The question:\n{task.question}", manifest(task.snapshot, task.context)]
    if task.form:
        parts.append(f"The answer has to be a value that fits this JSON schema:\n{task.form}")
    if not task.sub_calls:
        parts.append("llm_query and rlm_query are not to be had: answer by code alone.")
    seconds = budget.limits.seconds
    parts.append(left(1, means.turns, budget.room(), seconds))
    return "\n\n".join(parts)
