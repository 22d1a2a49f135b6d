"""Which mode a question is answered in when nobody says, and why; pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import inf
from typing import Literal

Chosen = Literal["evidence", "direct", "rlm"]
Kind = Literal["lookup", "count", "judge"]

# Published comparisons agree that moving content out of the prompt is most of what a REPL gains, that
# sub-calls pay where every part has to be read and judged, and that short content is answered best
# by one plain call.
_COUNT = re.compile(
    r"\b(how (many|often)|number of|count|most (common|frequent|often)|least (common|frequent)|average"
    r"|median|total|sum of|longest|largest|smallest|per (file|day|hour|user|module)"
    r"|distribution|histogram|top \d+)\b",
    re.IGNORECASE,
)
_EACH = re.compile(
    r"\b((each|every|all) (of the )?\w+|list (all|every)|for each|which of (the|these)|pairs? of)\b",
    re.IGNORECASE,
)
_MEANING = re.compile(
    r"\b(classify|categori[sz]e|sentiments?|label(led)? as|summari[sz]e|compare|contradict\w*|inconsisten\w*"
    r"|positive|negative|topics?|opinions?|tone|intent\w*|express\w*|complain\w*)\b",
    re.IGNORECASE,
)
_TOKENS_PER_TURN = 6_000
_USUAL_TURNS = 6
_REPLY_SHARE = 0.15
"""Of what a run sends and receives so much is replies, at most."""
_LEAST_RUNS = 5
_WORSE_THAN = 0.4
_CALLS_OF_A_RUN = 3


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per token of the root model, sent and received."""

    prompt_usd: float
    reply_usd: float


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What the choice depends on; `room_tokens` is what one direct call takes, its prompt and reply apart.

    `runs` and `whole_runs` count the latest runs that were recorded, and those that ended by themselves.
    `most` is what the caller allows, by kind; `price` is None where nobody knows it.
    """

    has_model: bool
    has_sandbox: bool
    tokens: int
    room_tokens: int
    overhead_tokens: int = 1_000
    reply_tokens: int = 8_192
    runs: int = 0
    whole_runs: int = 0
    price: Price | None = None
    most_calls: float = inf
    most_tokens: float = inf
    most_usd: float = inf


@dataclass(frozen=True, slots=True)
class Estimate:
    """What an answer usually takes at most, said before anything is spent; `usd` None where unknown."""

    tokens: int
    usd: float | None

    def __str__(self) -> str:
        price = "price unknown" if self.usd is None else f"≤ ${self.usd:.4f}"
        return f"≤ {self.tokens:,} tokens, {price}"


NO_MODEL = Estimate(0, 0.0)


@dataclass(frozen=True, slots=True)
class Route:
    """The mode, why in one line, and what it will take; whether code may ask models about what it finds."""

    mode: Chosen
    why: str
    estimate: Estimate
    sub_calls: bool = True


def kind_of(question: str) -> Kind:
    """Say what kind of work *question* asks for: to find something, to reckon, or to judge every part."""
    if _MEANING.search(question):
        return "judge"
    if _COUNT.search(question):
        return "count"
    return "judge" if _EACH.search(question) else "lookup"


def estimate(mode: Chosen, question: str, here: Circumstances) -> Estimate:
    """Say what *question* takes in *mode*: of a run its usual turns, and all content where all is judged."""
    if mode == "evidence":
        return NO_MODEL
    if mode == "direct":
        sent = min(here.tokens * 3 // 2, here.room_tokens) + here.overhead_tokens
        return _priced(sent, here.reply_tokens, here.price)
    return _run(here.tokens if kind_of(question) == "judge" else 0, here.price)


def route(question: str, here: Circumstances) -> Route:
    """Choose the least that will do, and that the caller's budget allows."""
    if not here.has_model:
        return Route("evidence", "Evidence without a model, since none is configured.", NO_MODEL)
    direct, run = estimate("direct", question, here), estimate("rlm", question, here)
    if here.most_calls < 1:
        why = f"Evidence, since the budget allows no call; mode direct would take {direct}."
        return Route("evidence", why, NO_MODEL)
    mode, why = _choice(question, here, run)
    if mode == "rlm" and kind_of(question) == "count":
        more = _run(here.tokens, here.price)
        return Route("rlm", f"{why} ({run}); with sub-calls over all of it {more}.", run, sub_calls=False)
    if mode == "rlm":
        return Route("rlm", f"{why} ({run}).", run)
    return Route("direct", f"{why} ({direct}); mode rlm would take {run}.", direct)


def _choice(question: str, here: Circumstances, run: Estimate) -> tuple[Chosen, str]:
    if here.tokens <= here.room_tokens:
        return "direct", f"One call, since all {here.tokens:,} tokens fit it"
    kind = kind_of(question)
    if against := _against(kind, here, run):
        return "direct", f"One call over the best passages, {against}"
    if kind == "count":
        return "rlm", f"Code alone over all {here.tokens:,} tokens, since the question asks to count"
    return "rlm", f"Code over all {here.tokens:,} tokens, since the question asks to judge every part"


def _against(kind: Kind, here: Circumstances, run: Estimate) -> str:
    """Say what speaks against a run; nothing where it may be."""
    if kind == "lookup":
        return "as for a thing to find"
    if not here.has_sandbox:
        return "since code cannot be confined here"
    if here.runs >= _LEAST_RUNS and here.whole_runs < _WORSE_THAN * here.runs:
        return f"since runs ended by themselves in {here.whole_runs} of {here.runs} cases"
    return "since the budget does not cover a run" if _exceeds(run, here) else ""


def _exceeds(run: Estimate, here: Circumstances) -> bool:
    return (
        here.most_calls < _CALLS_OF_A_RUN
        or run.tokens > here.most_tokens
        or (run.usd is not None and run.usd > here.most_usd)
    )


def _run(read_tokens: int, price: Price | None) -> Estimate:
    """Return what a run takes whose sub-calls read *read_tokens*."""
    tokens = _USUAL_TURNS * _TOKENS_PER_TURN + read_tokens
    replies = int(tokens * _REPLY_SHARE)
    return _priced(tokens - replies, replies, price)


def _priced(sent: int, received: int, price: Price | None) -> Estimate:
    usd = None if price is None else sent * price.prompt_usd + received * price.reply_usd
    return Estimate(sent + received, usd)
