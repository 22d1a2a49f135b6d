"""One job that may spend: whose it is, what it may use, and how what it pays for is kept."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from math import inf

import trio

from rlmd.answers import Json, Question
from rlmd.engine.budget import NOTHING, Budget, Cost, Limits
from rlmd.engine.journal import Note, Write
from rlmd.engine.ledger import Entry, Ledger
from rlmd.engine.model import Model
from rlmd.engine.spending import Models, Rate, Spender
from rlmd.engine.typed import form
from rlmd.errors import Busy
from rlmd.llm.prices import load_prices
from rlmd.llm.providers import Endpoint

UNKNOWN_WINDOW_TOKENS = 32_768
_MILLION = 1_000_000

Faults = Callable[[Json], list[str]]


@dataclass(frozen=True, slots=True)
class Settings:
    """How runs go, as the settings have it."""

    turns: int = 40
    output_chars: int = 20_000
    cell_s: float = 30.0
    depth: int = 2
    calls: int = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Commission:
    """One job: its id, whose it is, what is asked since when, and what it did in an earlier life."""

    job: str
    project: str
    question: Question
    began: float = field(default_factory=trio.current_time)
    context: str | None = None
    known: Sequence[Entry] = ()
    used_s: float = 0.0

    @property
    def deadline(self) -> float:
        """When the time of the question is up, collecting and an earlier life included."""
        seconds = self.question.budget_s
        return inf if seconds is None else self.began + max(0.0, seconds - self.used_s)

    @property
    def wall_s(self) -> float:
        """How long it has taken so far."""
        return round(self.used_s + trio.current_time() - self.began, 3)

    def faults(self) -> Faults | None:
        """Return what tells the faults of an answer that has to be of a form."""
        schema = self.question.schema
        return None if schema is None else form(json.loads(schema))


@dataclass(frozen=True, eq=False)
class Bursar:
    """Opens what a job spends from, by what the question and the settings allow."""

    model: Model
    journal: Callable[[Note], Awaitable[None]]
    settings: Settings

    def budget(self, work: Commission, aside: Callable[[Limits], Cost] = lambda _: NOTHING) -> Budget:
        """Return the budget of a job, with what *aside* keeps back of it."""
        question = work.question
        calls, depth = question.budget_calls, question.budget_depth
        limits = Limits(
            usd=question.budget_usd,
            tokens=question.budget_tokens,
            calls=self.settings.calls if calls is None else calls,
            seconds=question.budget_s,
            depth=self.settings.depth if depth is None else depth,
        )
        return Budget(limits, deadline=work.deadline, aside=aside(limits))

    def spender(self, work: Commission, endpoint: Endpoint) -> Spender:
        """Return what asks for a job, and keeps each reply in the journal before it is used."""

        async def keep(entry: Entry) -> None:
            note = Write(work.job, entry, spender.tally.calls, spender.tally.usd, work.wall_s)
            with contextlib.suppress(Busy):  # the answer does not wait for a disk that refuses
                await self.journal(note)

        ledger = Ledger(keep, work.known)
        spender = Spender(self.model.ask, models_of(endpoint), ledger, job=work.job, project=work.project)
        return spender


def models_of(endpoint: Endpoint) -> Models:
    """Return who is asked, with the prices that are known."""
    sub = endpoint.sub_model or endpoint.model
    return Models(
        root=endpoint.model,
        sub=sub,
        window_tokens=endpoint.window_tokens or UNKNOWN_WINDOW_TOKENS,
        reply_tokens=endpoint.max_result_tokens or 0,
        rates=_rates(endpoint, sub),
    )


def _rates(endpoint: Endpoint, sub: str) -> dict[str, Rate]:
    prices = load_prices()
    found = {model: prices.find(endpoint.provider.name, model) for model in (endpoint.model, sub)}
    return {
        model: Rate(price.prompt_usd / _MILLION, price.reply_usd / _MILLION)
        for model, price in found.items()
        if price is not None
    }
