"""Calls out of a cell: read, counted against the session's allowance, and passed to the services."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rlmd.errors import RequestError
from rlmd.sandbox.contents import Shared
from rlmd.sandbox.outcome import Violation, whole
from rlmd.sandbox.requests import Allowance, CallKind, Limits
from rlmd.sandbox.services import BudgetExceeded, NotAvailable, Services
from rlmd.sandbox.wire import Frame, Op

CALLS = frozenset(
    {Op.LLM_QUERY, Op.RLM_QUERY, Op.SEARCH, Op.OUTLINE, Op.DEFINITIONS, Op.REFERENCES, Op.BUDGET}
)
MOST_ROWS = 1_000
LONGEST_QUERY_CHARS = 10_000
LONGEST_REPLY_CHARS = 4 << 20


class Refusal(Exception):
    """A call is answered with an error: `kind` chooses its class in the cell."""

    def __init__(self, kind: CallKind, text: str) -> None:
        super().__init__(text)
        self.kind = kind


def charge(frame: Frame, allowance: Allowance, limits: Limits) -> None:
    """Take what a call to a model costs from *allowance*; raise Refusal where that does not suffice."""
    if frame.op not in {Op.LLM_QUERY, Op.RLM_QUERY}:
        return
    size = sum(map(len, frame.parts))
    if size > limits.prompt_chars:
        raise Refusal("failed", f"a prompt of {size:,} characters, where {limits.prompt_chars:,} are allowed")
    if allowance.calls < 1:
        raise Refusal("budget", "all sub-calls of this session are made")
    if allowance.prompt_bytes < size:
        raise Refusal(
            "budget", f"prompts may have {allowance.prompt_bytes:,} characters more in this session"
        )
    allowance.calls -= 1
    allowance.prompt_bytes -= size


async def answer(frame: Frame, services: Services, allowance: Allowance) -> list[str]:
    """Return the parts of the answer; raise Refusal, or Violation for a call that is none."""
    try:
        return await _answer(Op(frame.op), list(frame.parts), services, allowance)
    except RequestError as refused:
        raise _refusal(refused) from None
    except BudgetExceeded as refused:
        raise Refusal("budget", str(refused)) from None
    except NotAvailable as refused:
        raise Refusal("not_available", str(refused)) from None


async def bring(frame: Frame, shared: Shared) -> list[str]:
    """Have contents there; raise as `answer` does."""
    if len(frame.parts) != 2:  # noqa: PLR2004  # the first block and how many
        raise Violation("a call has the wrong arguments")
    first, count = map(whole, frame.parts)
    try:
        await shared.bring(first, count)
    except RequestError as refused:
        raise _refusal(refused) from None
    return []


def _refusal(refused: RequestError) -> Refusal:
    return Refusal("failed", f"{refused.code}: {refused.message}. {refused.hint}".rstrip(" .") + ".")


async def _answer(op: Op, parts: list[str], services: Services, allowance: Allowance) -> list[str]:
    match op, parts:
        case Op.LLM_QUERY, [model, prompt]:
            return [_short(await services.llm_query(prompt, model or None))]
        case Op.RLM_QUERY, [question, given, text, *paths]:
            return [_short(await services.rlm_query(question, paths, text if given else None))]
        case Op.SEARCH, [query, k, *paths]:
            wanted = min(max(1, whole(k)), MOST_ROWS)
            found = await services.search(query[:LONGEST_QUERY_CHARS], wanted, paths)
            return [part for row in found[:MOST_ROWS] for part in _texts(row)]
        case Op.OUTLINE, [path]:
            return [_short(await services.outline(path))]
        case ((Op.DEFINITIONS | Op.REFERENCES), [name]):
            find = services.definitions if op == Op.DEFINITIONS else services.references
            lines = await find(name[:LONGEST_QUERY_CHARS])
            return [part for row in lines[:MOST_ROWS] for part in _texts((row.path, row.line, row.text))]
        case Op.BUDGET, []:
            left = {"calls": allowance.calls, "prompt_chars": allowance.prompt_bytes}
            return [json.dumps({**left, **services.budget()})]
    raise Violation("a call has the wrong arguments")


def _texts(row: Sequence[str | float]) -> list[str]:
    return [str(value) for value in row]


def _short(text: str) -> str:
    return text[:LONGEST_REPLY_CHARS]
