"""How a run ends that could not end by itself: what it is asked at last, and what it leaves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from rlmd.answers import Limit
from rlmd.engine.prompts import prompt
from rlmd.engine.talk import Talk, cut
from rlmd.llm.values import Message

Stop = Literal[Limit, "sandbox"]

REASONS: dict[Stop, str] = {
    "usd": "the money for this question is spent",
    "tokens": "the tokens for this question are used up",
    "calls": "all calls of models and all turns are made",
    "seconds": "the time for this question is up",
    "llm": "the model gave no usable reply",
    "loop": "the same cell was run again and again with the same outcome",
    "sandbox": "no code can be run any more",
}
_BRIEF_CHARS = (8_000, 2_000)
_LAST_TURNS = 3
_SHOWN_CHARS = 3_000


def last_questions(
    talk: Talk, question: str, stop: Stop, heard: Sequence[str], window_tokens: int
) -> Iterator[tuple[Message, ...]]:
    """Yield what to ask a model at last: the whole talk, then shorter forms for those it costs too much.

    *heard* are the replies to sub-calls of a cell that was cut off.
    """
    asked = prompt("closing").format(reason=REASONS[stop])
    unseen = _numbered(heard)
    yield talk.messages(window_tokens, "\n\n".join(part for part in (unseen, asked) if part))
    for chars in _BRIEF_CHARS:
        seen = "\n\n".join(part for part in (_seen(talk), unseen) if part)
        yield Message("system", asked), Message("user", f"{question}\n\nSeen so far:\n{cut(seen, chars)}")


def remains(talk: Talk, stop: Stop, heard: Sequence[str]) -> str:
    """Return what a run leaves that nobody could put into words."""
    parts = [f"There is no whole answer: {REASONS[stop]}."]
    if seen := _seen(talk):
        parts.append(f"What the code has shown last:\n{seen}")
    if unseen := _numbered(heard):
        parts.append(unseen)
    return "\n\n".join(parts)


def _seen(talk: Talk) -> str:
    return "\n\n".join(cut(each.told, _SHOWN_CHARS) for each in talk.turns[-_LAST_TURNS:])


def _numbered(heard: Sequence[str]) -> str:
    if not heard:
        return ""
    lines = "\n".join(f"{number}. {text}" for number, text in enumerate(heard, 1))
    return f"Replies to the sub-calls of the cell that was cut off:\n{cut(lines, _SHOWN_CHARS)}"
