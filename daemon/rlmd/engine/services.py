"""What the code of a run may ask for: models within the budget, passages, runs of its own."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence

from rlmd.answers import Json
from rlmd.engine.budget import Budget, BudgetKind, Exhausted
from rlmd.engine.ledger import key_of
from rlmd.engine.spending import Spender
from rlmd.errors import RequestError
from rlmd.llm.values import FailureKind, Message, UpstreamError
from rlmd.sandbox.services import BudgetExceeded, Excerpt, NoServices, NotAvailable
from rlmd.values import Match

Search = Callable[[str, int, Sequence[str]], Awaitable[Sequence[Excerpt]]]
Child = Callable[[str, Sequence[str], str | None, str], Awaitable[str]]
MOST_HEARD = 200
BEYOND: set[FailureKind] = {"empty", "truncated", "malformed", "overflow"}
"""How a model fails that is not up to a question; a larger one may be."""
FAILURES_OF_SUB = 2


class SubRunFailed(RequestError):
    """A child run brought no whole answer; the message has what it brought."""

    code = "partial"


class RunServices(NoServices):
    """The services of one run; `turn` is the one under way.

    `refused` names the limits that a call met, `heard` holds the beginnings of this turn's
    replies, `shown` the budgets that its code asked for.
    """

    def __init__(
        self,
        spender: Spender,
        budget: Budget,
        node: str,
        search: Search,
        names: NoServices,
        child: Child,
        left: Callable[[], Mapping[str, Json]],
    ) -> None:
        self._spender = spender
        self._budget = budget
        self._node = node
        self._search = search
        self._names = names
        self._child = child
        self._left = left
        self._children: Counter[str] = Counter()
        self._failed_below = 0
        self.turn = 0
        self.refused: list[BudgetKind] = []
        self.heard: list[str] = []
        self.shown: list[Json] = []
        self._shown_before: deque[Json] = deque()

    def begin(self, turn: int, shown: Sequence[Json] = ()) -> None:
        """Begin the cell of *turn*; in a life before this one it was *shown* these budgets."""
        self.turn = turn
        self.shown = []
        self._shown_before = deque(shown)
        self._children.clear()
        self.heard.clear()

    async def llm_query(self, prompt: str, model: str | None) -> str:
        """Ask the sub-model, or the one named if it is one of ours.

        Once the sub-model has failed twice at what it was asked, what it fails at goes to the root model.
        """
        models = self._spender.models
        chosen = model or models.sub
        if chosen not in {models.root, models.sub}:
            raise NotAvailable(
                f"the model {chosen!r} is not offered; leave `model` out, or use {models.root!r}"
            )
        try:
            reply = await self._ask(prompt, chosen)
        except UpstreamError as error:
            if error.kind not in BEYOND or model is not None or models.root == models.sub:
                raise
            self._failed_below += 1
            if self._failed_below < FAILURES_OF_SUB:
                raise
            reply = await self._ask(prompt, models.root)
        if len(self.heard) < MOST_HEARD:
            self.heard.append(reply[:500])
        return reply

    async def _ask(self, prompt: str, model: str) -> str:
        asked = [Message("user", prompt)]
        try:
            return await self._spender.call(
                self._budget, asked, model=model, node=self._node, turn=self.turn, kind="call"
            )
        except Exhausted as exhausted:
            raise self._refusal(exhausted) from None

    async def rlm_query(self, question: str, paths: Sequence[str], text: str | None) -> str:
        """Have a child run answer; equal questions of one turn are told apart by their order."""
        key = key_of(question, list(paths), text or "", "text" if text is not None else "")
        self._children[key] += 1
        try:
            return await self._child(question, paths, text, f"{key[:8]}.{self._children[key]}")
        except Exhausted as exhausted:
            raise self._refusal(exhausted) from None

    async def search(self, query: str, k: int, paths: Sequence[str]) -> Sequence[Excerpt]:
        """Return the best passages."""
        return await self._search(query, k, paths)

    async def outline(self, path: str) -> str:
        """Return what a file defines, a line each."""
        return await self._names.outline(path)

    async def definitions(self, name: str) -> Sequence[Match]:
        """Return the lines that define *name*."""
        return await self._names.definitions(name)

    async def references(self, name: str) -> Sequence[Match]:
        """Return the lines that mention *name*."""
        return await self._names.references(name)

    def budget(self) -> Mapping[str, Json]:
        """Return what the run has left."""
        known = self._shown_before.popleft() if self._shown_before else None
        left = known if isinstance(known, dict) else dict(self._left())
        self.shown.append(left)
        return left

    def _refusal(self, exhausted: Exhausted) -> BudgetExceeded:
        self.refused.append(exhausted.kind)
        if exhausted.kind == "depth":
            return BudgetExceeded("runs may not go deeper; use llm_query, or work on it here")
        return BudgetExceeded(f"{exhausted}; submit the best answer there is")
