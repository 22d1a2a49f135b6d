"""A model that says what it was told to say: for tests of ours and of anybody who builds on us.

A script is a list of steps.  Steps without `when` are replayed in order, each once; a step with
`when` answers every chat whose last message contains it, before the list is looked at.  As a file a
script has one JSON object a line:

    {"reply": "first answer"}
    {"reply": "42", "when": "how many", "after_s": 0.2, "tokens_out": 1}
    {"error": "rate_limited", "message": "slow down", "status": 429, "retry_after_s": 2}
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import get_args

import trio

from rlmd.errors import BadArgument
from rlmd.llm.values import Chat, FailureKind, RateInfo, Reply, UpstreamError, Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One answer, or with `error` one failure, `after_s` seconds after it was asked for."""

    reply: str = ""
    when: str | None = None
    after_s: float = 0.0
    finish_reason: str = "stop"
    tokens_in: int = 0
    tokens_out: int = 0
    usd: float | None = 0.0
    error: FailureKind | None = None
    message: str = "the script says so"
    status: int | None = None
    retry_after_s: float | None = None
    rates: RateInfo = field(default_factory=RateInfo)

    def play(self, chat: Chat) -> tuple[Reply, RateInfo]:
        """Answer *chat*, or raise what the step says."""
        usage = Usage(self.tokens_in, self.tokens_out, usd=self.usd)
        if self.error is not None:
            raise UpstreamError(
                self.error,
                self.message,
                status=self.status,
                retry_after_s=self.retry_after_s,
                usage=usage if usage.tokens_in or usage.tokens_out else None,
                rates=self.rates,
            )
        return Reply(self.reply, self.finish_reason, usage, chat.model), self.rates


class Scripted:
    """An Upstream that plays *steps*, then *otherwise* for ever; without that it fails as bad_request.

    `asked` holds every chat in the order of arrival, `cancelled` those whose asker left, and
    `most_in_flight` how many were answered at one time.
    """

    def __init__(
        self, steps: Iterable[Step | str] = (), *, otherwise: Step | str | None = None, name: str = "scripted"
    ) -> None:
        told = [_step(each) for each in steps]
        self._replayed = [step for step in told if step.when is None]
        self._matching = [step for step in told if step.when is not None]
        self._otherwise = None if otherwise is None else _step(otherwise)
        self._played = 0
        self._name = name
        self.asked: list[Chat] = []
        self.cancelled: list[Chat] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.closed = False

    @property
    def name(self) -> str:
        """The endpoint as status shows it."""
        return self._name

    async def complete(self, chat: Chat) -> tuple[Reply, RateInfo]:
        """Play the next step that is meant for *chat*; a cancelled one is used up all the same."""
        self.asked.append(chat)
        step = self._next(chat)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await trio.sleep(step.after_s)
        except trio.Cancelled:
            self.cancelled.append(chat)
            raise
        finally:
            self.in_flight -= 1
        return step.play(chat)

    async def aclose(self) -> None:
        """End the play."""
        self.closed = True

    def _next(self, chat: Chat) -> Step:
        said = chat.messages[-1].content if chat.messages else ""
        for step in self._matching:
            if step.when is not None and step.when in said:
                return step
        if self._played < len(self._replayed):
            self._played += 1
            return self._replayed[self._played - 1]
        if self._otherwise is not None:
            return self._otherwise
        raise UpstreamError(
            "bad_request",
            f"the script has {len(self._replayed)} steps, and none is left for: {said[:200]!r}",
            hint="Add a step, or one with `when` that matches.",
        )


def parse_script(text: str) -> list[Step]:
    """Read a script; raise BadArgument with the number of the first line that is none."""
    steps = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            try:
                steps.append(_parse(json.loads(line)))
            except (TypeError, ValueError) as exc:
                raise BadArgument(f"line {number} of the script: {exc}", _LINE_HINT) from exc
    return steps


_LINE_HINT = 'A line is a JSON object such as {"reply": "text"} or {"error": "rate_limited"}.'


def _parse(line: object) -> Step:
    if not isinstance(line, Mapping) or not line.keys() & {"reply", "error"}:
        raise ValueError("has neither `reply` nor `error`")
    if line.get("error") not in (None, *get_args(FailureKind)):
        raise ValueError(f"`error` is one of {', '.join(get_args(FailureKind))}")
    if unknown := line.keys() - _KEYS:
        raise ValueError(f"unknown key {min(unknown)!r}")
    return Step(**line)


_KEYS = {
    "reply",
    "when",
    "after_s",
    "finish_reason",
    "tokens_in",
    "tokens_out",
    "usd",
    "error",
    "message",
    "status",
    "retry_after_s",
}


def _step(told: Step | str) -> Step:
    return Step(reply=told) if isinstance(told, str) else told
