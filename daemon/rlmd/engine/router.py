"""Which mode a question is answered in when nobody says, and why; pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
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
_JUDGE = re.compile(
    r"\b((each|every|all) (of the )?\w+|list (all|every)|for each|classify|categori[sz]e|sentiment|label"
    r"|summari[sz]e|compare|contradict\w*|inconsisten\w*|which of (the|these)|pairs? of)\b",
    re.IGNORECASE,
)
_TOKENS_PER_TURN = 6_000
_USUAL_TURNS = 6
_LEAST_RUNS = 5
_WORSE_THAN = 0.4


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What the choice depends on; `room_tokens` is what one direct call takes.

    `runs` and `whole_runs` count the latest runs that were recorded, and those that ended by themselves.
    """

    has_model: bool
    has_sandbox: bool
    tokens: int
    room_tokens: int
    runs: int = 0
    whole_runs: int = 0


@dataclass(frozen=True, slots=True)
class Route:
    """The mode, whether its code may ask models, and why, in one line."""

    mode: Chosen
    sub_calls: bool
    why: str


def kind_of(question: str) -> Kind:
    """Say what kind of work *question* asks for: to find something, to reckon, or to judge every part."""
    if _COUNT.search(question):
        return "count"
    return "judge" if _JUDGE.search(question) else "lookup"


def route(question: str, here: Circumstances) -> Route:
    """Choose the least that will do."""
    if not here.has_model:
        return Route("evidence", False, "Evidence without a model, since none is configured.")
    if here.tokens <= here.room_tokens:
        return Route("direct", False, f"All {here.tokens:,} tokens fit one call.")
    kind = kind_of(question)
    more = f"mode rlm would take some {estimate_tokens(kind, here.tokens):,} tokens"
    if kind == "lookup":
        return Route("direct", False, f"One call over the best passages, as for a thing to find; {more}.")
    if not here.has_sandbox:
        return Route("direct", False, "One call over the best passages: code cannot be confined here.")
    if here.runs >= _LEAST_RUNS and here.whole_runs < _WORSE_THAN * here.runs:
        done = f"{here.whole_runs} of {here.runs}"
        return Route(
            "direct",
            False,
            f"One call over the best passages: runs ended by themselves in {done} cases; {more}.",
        )
    asks = "to count" if kind == "count" else "to judge every part"
    return Route("rlm", True, f"Code over all {here.tokens:,} tokens, since the question asks {asks}.")


def estimate_tokens(kind: Kind, tokens: int) -> int:
    """Say about how many tokens a run takes at most: its own turns, and reading all where that is asked."""
    return _USUAL_TURNS * _TOKENS_PER_TURN + (tokens if kind == "judge" else 0)
