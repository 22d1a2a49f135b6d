"""The talk with a root model, kept short enough for its window; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rlmd.answers import Json
from rlmd.llm.values import Message
from rlmd.sandbox.requests import ExecResult

COMPACT_AT = 0.6
"""The share of the window at which earlier turns are shortened."""
_BYTES_PER_TOKEN = 3
_WHOLE_TURNS = 2
_KEPT_CHARS = (600, 200, 60)
_MALFORMED_CHARS = 1_000
_VARIABLES = 30


@dataclass(frozen=True, slots=True)
class Exchange:
    """What the model said, and what it was told then."""

    reply: str
    told: str


@dataclass(slots=True)
class Talk:
    """The rules, the question, and the turns so far.

    `shortened` counts the turns of which the model no longer sees everything.
    """

    rules: str
    opening: str
    turns: list[Exchange] = field(default_factory=list)
    shortened: int = 0

    def add(self, reply: str, told: str) -> None:
        """Take in a turn."""
        self.turns.append(Exchange(reply, told))

    def add_malformed(self, reply: str, told: str) -> None:
        """Take in a reply without a cell, of which the beginning will do."""
        self.turns.append(Exchange(cut(reply, _MALFORMED_CHARS) or "(nothing)", told))

    def messages(self, window_tokens: int, asked: str = "") -> tuple[Message, ...]:
        """Return the talk as it fits *window_tokens*, followed by *asked*.

        The latest turns stay whole; earlier ones keep their beginnings, fewer characters the less
        room there is.
        """
        room = int(window_tokens * COMPACT_AT) * _BYTES_PER_TOKEN
        exchanges = self.turns
        self.shortened = 0
        for chars in (None, *_KEPT_CHARS):
            if chars is not None:
                self.shortened = max(0, len(self.turns) - _WHOLE_TURNS)
                exchanges = [_short(each, chars) for each in self.turns[: self.shortened]]
                exchanges += self.turns[self.shortened :]
            said = [self.rules, self.opening, asked, *(part for e in exchanges for part in (e.reply, e.told))]
            if sum(len(each.encode()) for each in said) <= room:
                break
        return self._joined(exchanges, asked)

    def history(self) -> list[Json]:
        """Return every turn whole, as `history` in the session has it."""
        return [{"reply": each.reply, "told": each.told} for each in self.turns]

    def _joined(self, exchanges: list[Exchange], asked: str) -> tuple[Message, ...]:
        messages = [Message("system", self.rules), Message("user", self.opening)]
        for each in exchanges:
            messages += [Message("assistant", each.reply), Message("user", each.told)]
        if asked:  # turns alternate, since the templates of some local models refuse anything else
            last = messages.pop()
            messages.append(Message("user", f"{last.content}\n\n{asked}"))
        return tuple(messages)


def told_of(result: ExecResult, *, output_chars: int) -> str:
    """Say what a cell came to."""
    parts = [f"Output:\n{cut(result.stdout, output_chars)}" if result.stdout else "There was no output."]
    if result.error:
        parts.append(f"It raised:\n{result.error}")
    if result.killed:
        parts.append(f"The session was ended: {result.killed}. All variables are lost.")
    elif result.variables:
        named = ", ".join(
            f"{each.name}: {each.type}" + (f" ({each.size:,})" if each.size else "")
            for each in result.variables[:_VARIABLES]
        )
        parts.append(f"Variables: {named}")
    return "\n".join(parts)


def left(turn: int, turns: int, room: Mapping[str, float], seconds: float | None) -> str:
    """Say in one line how much of the budget is left."""
    shown = [f"turn {turn} of {turns}"]
    if "calls" in room:
        shown.append(f"{int(room['calls'])} calls of models")
    if "tokens" in room:
        shown.append(f"{int(room['tokens']):,} tokens")
    if "usd" in room:
        shown.append(f"${room['usd']:.4f}")
    if seconds is not None:
        shown.append(f"{max(0, int(seconds))} s")
    return f"Next is {', '.join(shown[:1])}. Left: {', '.join(shown[1:]) or 'no limit but the turns'}."


def cut(text: str, most: int) -> str:
    """Return *text*, or its head and tail with its true length between them."""
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]}\n[… of {len(text):,} characters {most:,} are shown …]\n{text[-half:]}"


def _short(exchange: Exchange, chars: int) -> Exchange:
    return Exchange(_beginning(exchange.reply, chars), _beginning(exchange.told, chars))


def _beginning(text: str, chars: int) -> str:
    return text if len(text) <= chars else f"{text[:chars]}\n[… shortened; `history` has the whole]"
