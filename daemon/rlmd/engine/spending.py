"""Asking models within a budget: reserve, ask, settle, keep."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Literal, cast

import trio

from rlmd.answers import UsageFacts
from rlmd.engine.budget import Budget, Cost, Exhausted, Reservation
from rlmd.engine.ledger import Body, Entry, Ledger, key_of
from rlmd.errors import RequestError
from rlmd.llm.values import Ask, Chat, FailureKind, Message, Reply, UpstreamError, Usage

LEAST_REPLY_TOKENS = 256
"""A reply that could not be longer is not asked for."""
USUAL_REPLY_TOKENS = 8_192
_BYTES_PER_TOKEN = 2
"""Few texts have more tokens than a half of their bytes."""
_USUAL_BYTES_PER_TOKEN = 4
_PROMPT_SHARE = 0.6
_MESSAGE_TOKENS = 16


@dataclass(frozen=True, slots=True)
class Rate:
    """US dollars per token, sent and received."""

    prompt_usd: float
    reply_usd: float


@dataclass(frozen=True, slots=True)
class Models:
    """Who is asked: the models of root turns and of sub-calls, and what is known of them.

    `reply_tokens` bounds each reply, 0 = as long as the provider lets it; `rates` are by model.
    """

    root: str
    sub: str
    window_tokens: int = 32_768
    reply_tokens: int = 0
    rates: dict[str, Rate] = field(default_factory=dict)


@dataclass(slots=True)
class Tally:
    """What the calls of a job came to; `usd` is None once the price of one is unknown."""

    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cached_tokens: int = 0
    usd: float | None = 0.0
    model: str | None = None
    in_flight: int = 0
    answered: int = 0

    def count(self, usage: Usage) -> None:
        """Add one call."""
        self.calls += 1
        self.tokens_in += usage.tokens_in
        self.tokens_out += usage.tokens_out
        self.cached_tokens += usage.cached_tokens
        self.usd = None if self.usd is None or usage.usd is None else self.usd + usage.usd

    def facts(self, wall_s: float) -> UsageFacts:
        """Return the totals as they are shown."""
        return UsageFacts(
            calls=self.calls,
            tokens_in=self.tokens_in,
            tokens_out=self.tokens_out,
            cached_tokens=self.cached_tokens,
            usd=None if self.usd is None else round(self.usd, 9),
            wall_s=round(wall_s, 3),
            model=self.model,
        )


class NotRecorded(RequestError):
    """A replay came to something that its record does not hold."""

    code = "not_found"


@dataclass(eq=False)
class Spender:
    """Asks on behalf of one job, for all of its runs.

    What the ledger knows is not asked again, but counted as it was.  `moved` is called whenever a call
    begins or ends.
    """

    ask: Callable[[Ask], Awaitable[Reply]]
    models: Models
    ledger: Ledger
    job: str
    project: str
    interactive: bool = True
    moved: Callable[[], None] = lambda: None
    tally: Tally = field(default_factory=Tally)
    _freed: trio.lowlevel.ParkingLot = field(default_factory=trio.lowlevel.ParkingLot)
    _dearest_usd: float | None = None

    async def call(
        self,
        budget: Budget,
        messages: Sequence[Message],
        *,
        model: str,
        node: str,
        turn: int,
        kind: Literal["root", "call"],
    ) -> str:
        """Return the text of the reply to *messages*; as `reply` otherwise."""
        reply = await self.reply(budget, messages, model=model, node=node, turn=turn, kind=kind)
        return reply.text

    async def reply(
        self,
        budget: Budget,
        messages: Sequence[Message],
        *,
        model: str,
        node: str,
        turn: int,
        kind: Literal["root", "call"],
    ) -> Reply:
        """Return the reply to *messages* once it is kept, waiting for calls under way to free budget.

        Raises Exhausted where the budget has no room, and what the caller of models raises.
        Cancelling closes the call, which is then taken to have cost its prompt.
        """
        key = key_of(model, *([each.role, each.content] for each in messages))
        if (body := self.ledger.recall(node, turn, kind, key)) is not None:
            return self._again(budget, body)
        if self.ledger.only_recalls:
            raise NotRecorded(f"The record has no {kind} {key} in turn {turn} of {node}.")
        began = trio.current_time()
        body = await self._pay(budget, messages, model, kind)
        body["s"] = round(trio.current_time() - began, 3)
        body["prompt"] = messages[-1].content if kind == "call" else ""
        await self.ledger.keep(Entry(node, turn, kind, key, body))
        return _told(body)

    async def _pay(self, budget: Budget, messages: Sequence[Message], model: str, kind: str) -> Body:
        """Make the call; return what came of it, a failure too, as it is kept."""
        held, prompt, most = await self._reserve(budget, messages, model)
        cost = Cost(1, prompt.tokens, prompt.usd)
        self.tally.in_flight += 1
        self.moved()
        try:
            prefix = min(2, len(messages)) if kind == "root" else 0
            chat = Chat(messages=tuple(messages), model=model, max_tokens=most, cache_prefix=prefix)
            reply = await self.ask(
                Ask(chat=chat, job=self.job, interactive=self.interactive, project=self.project)
            )
        except UpstreamError as error:
            usage = error.usage or Usage(usd=0.0)
            cost = self._cost(usage, model, held)
            self._count(usage, model, answered=error.usage is not None)
            told: Body = {"error": error.kind, "message": error.message, "hint": error.hint}
            if error.window_tokens is not None:
                told["window_tokens"] = error.window_tokens
            return told | _plain(usage)
        except RequestError:  # it was not sent
            cost = Cost()
            raise
        except trio.Cancelled:
            self.tally.calls += 1
            raise
        else:
            cost = self._cost(reply.usage, model, held)
            self._count(reply.usage, reply.model, answered=True)
            self._learn(reply.usage)
            return {"text": reply.text, "model": reply.model, **_plain(reply.usage)}
        finally:
            self.tally.in_flight -= 1
            budget.settle(held, cost)
            self._freed.unpark_all()
            self.moved()

    async def _reserve(
        self, budget: Budget, messages: Sequence[Message], model: str
    ) -> tuple[Reservation, Cost, int | None]:
        """Set aside what the call may cost at most; return that, its prompt's part, and its longest reply."""
        size = sum(len(each.content.encode()) for each in messages)
        tokens = size // _BYTES_PER_TOKEN + _MESSAGE_TOKENS * len(messages)
        while True:
            prompt, whole, most = self._most(budget, tokens, model)
            if (held := budget.reserve(whole)) is not None:
                return held, prompt, most
            await self._freed.park()

    def affordable_tokens(self, budget: Budget) -> float:
        """Return how long a prompt to the root model may be so that a reply can be paid for as well.

        In tokens of usual texts; half of what is left, since we reckon with twice as many.
        """
        room = budget.room()
        kinds = [float(room.get("tokens", inf))]
        if (rate := self._rate(self.models.root)) is not None and rate.prompt_usd:
            kinds.append(room.get("usd", inf) / rate.prompt_usd)
        return max(0.0, min(kinds) * _PROMPT_SHARE * _BYTES_PER_TOKEN / _USUAL_BYTES_PER_TOKEN)

    def _most(self, budget: Budget, tokens: int, model: str) -> tuple[Cost, Cost, int | None]:
        room = budget.room()
        wanted = self.models.reply_tokens or USUAL_REPLY_TOKENS
        most = wanted if self.models.reply_tokens or {"usd", "tokens"} & room.keys() else None
        if "tokens" in room:
            most = _least(int(room["tokens"]) - tokens, wanted, "tokens")
        prompt_usd = usd = 0.0
        if "usd" in room:
            rate = self._rate(model)
            if rate is None:  # until a price is known, one call at a time may take all that is left
                prompt_usd = usd = room["usd"]
                if usd <= 0:
                    raise Exhausted("usd")
            else:
                prompt_usd = tokens * rate.prompt_usd
                if rate.reply_usd:
                    most = _least(int((room["usd"] - prompt_usd) / rate.reply_usd), most or wanted, "usd")
                usd = prompt_usd + (most or wanted) * rate.reply_usd
        return Cost(1, tokens, prompt_usd), Cost(1, tokens + (most or 0), usd), most

    def _rate(self, model: str) -> Rate | None:
        """Return the price of *model*; without one, the dearest that a reply of this job had."""
        if (rate := self.models.rates.get(model)) is not None:
            return rate
        return None if self._dearest_usd is None else Rate(self._dearest_usd, self._dearest_usd)

    def _learn(self, usage: Usage) -> None:
        if usage.usd is not None and (tokens := usage.tokens_in + usage.tokens_out):
            self._dearest_usd = max(self._dearest_usd or 0.0, usage.usd / tokens)

    def _cost(self, usage: Usage, model: str, held: Reservation) -> Cost:
        """Return what a call cost; one that nobody can price, what was set aside for it."""
        usd = usage.usd
        if usd is None and (rate := self.models.rates.get(model)) is not None:
            usd = usage.tokens_in * rate.prompt_usd + usage.tokens_out * rate.reply_usd
        return Cost(1, usage.tokens_in + usage.tokens_out, held.cost.usd if usd is None else usd)

    def _count(self, usage: Usage, model: str, *, answered: bool) -> None:
        self.tally.count(usage)
        self.tally.answered += answered
        self.tally.model = self.tally.model or model

    def _again(self, budget: Budget, body: Body) -> Reply:
        usage = _usage(body)
        budget.charge(Cost(1, usage.tokens_in + usage.tokens_out, usage.usd or 0.0))
        self._count(usage, str(body.get("model") or self.models.root), answered="text" in body)
        self._learn(usage)
        return _told(body)


def _least(room: int, wanted: int, kind: Literal["usd", "tokens"]) -> int:
    if room < LEAST_REPLY_TOKENS:
        raise Exhausted(kind)
    return min(room, wanted)


def _plain(usage: Usage) -> Body:
    return {
        "tokens_in": usage.tokens_in,
        "tokens_out": usage.tokens_out,
        "cached_tokens": usage.cached_tokens,
        "usd": usage.usd,
    }


def _usage(body: Body) -> Usage:
    return Usage(
        cast("int", body["tokens_in"]),
        cast("int", body["tokens_out"]),
        cast("int", body["cached_tokens"]),
        cast("float | None", body["usd"]),
    )


def _told(body: Body) -> Reply:
    """Return a reply as it was kept, or raise the failure that was kept instead."""
    if "text" in body:
        return Reply(str(body["text"]), "stop", _usage(body), str(body["model"]))
    raise UpstreamError(
        cast("FailureKind", body["error"]),
        str(body["message"]),
        hint=str(body["hint"]),
        window_tokens=cast("int | None", body.get("window_tokens")),
        usage=_usage(body),
    )
