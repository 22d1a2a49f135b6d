"""One call over numbered passages: all of a small corpus, or the best of a larger one.

The answer's citations are compared with what was shown, and that with the snapshot.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib import resources
from typing import TypeVar

import trio

from rlmd.answers import Analysis, UsageFacts
from rlmd.corpus.cuts import lines_of
from rlmd.corpus.snapshot import Entry, Snapshot
from rlmd.corpus.text import decode
from rlmd.engine.account import coverage, evidence_analysis
from rlmd.engine.claims import Checked, Shown, check
from rlmd.engine.evidence import Evidence
from rlmd.llm.values import Message, Reply, UpstreamError, Usage

T = TypeVar("T")
AskModel = Callable[[tuple[Message, ...], int], Awaitable[Reply]]
"""Asks the model *messages*, of which the first *n* are a prefix that many calls have in common."""

UNKNOWN_WINDOW_TOKENS = 32_768
MOST_TOKENS = 100_000
"""More is not sent in one call though a window may hold it: it costs more than it helps."""

_PROMPT_TOKENS = 1_000
_REPLY_TOKENS = 8_192
_MARGIN = 0.9
"""Our counts are of one encoding, and other models count up to a tenth more."""
_LINE_TOKENS = 4
_HEADING_TOKENS = 20
_NUMBERED = 1.4
"""Line numbers add some four tokens to the ten of a line."""


@dataclass(frozen=True, slots=True)
class Material:
    """What the model is shown; `is_whole` says that nothing of the corpus is missing from it."""

    passages: tuple[Shown, ...]
    is_whole: bool


def room_tokens(window_tokens: int | None, *, most_tokens: int = MOST_TOKENS) -> int:
    """Return the tokens of content that one call takes with a window of *window_tokens*."""
    window = window_tokens or UNKNOWN_WINDOW_TOKENS
    reply = min(_REPLY_TOKENS, window // 4)
    return max(0, min(most_tokens, int(window * _MARGIN) - reply - _PROMPT_TOKENS))


def fits_whole(snapshot: Snapshot, room: int) -> bool:
    """Say whether all of *snapshot*, its lines numbered, goes into *room* tokens."""
    return snapshot.tokens * _NUMBERED + len(snapshot.files) * _HEADING_TOKENS <= room


async def answer_direct(
    snapshot: Snapshot,
    evidence: Evidence,
    question: str,
    ask_model: AskModel,
    *,
    window_tokens: int | None,
    most_tokens: int = MOST_TOKENS,
) -> Analysis:
    """Answer *question* by one call, over all of *snapshot* if it fits, else over *evidence*, best first.

    When the model's window proves smaller than we were told, asks once more with what fits that.  A
    reply that was paid for and is of no use leaves the evidence, `partial` with the limit "llm"; any
    other UpstreamError is raised.  `usage` lacks the wall time.  Cancelling ends the call.
    """
    room = room_tokens(window_tokens, most_tokens=most_tokens)
    lost = Usage()
    for attempt in (1, 2):
        material = await _in_thread(partial(choose_material, snapshot, evidence, room))
        try:
            reply = await ask_model(messages(material, question), 2)
        except UpstreamError as error:
            if error.kind == "overflow" and attempt == 1 and material.passages:
                lost = error.usage or lost
                room = min(
                    room // 2, room_tokens(error.window_tokens or window_tokens, most_tokens=most_tokens)
                )
                continue
            if not (error.usage and error.usage.tokens_out):
                raise
            analysis = await _in_thread(partial(evidence_analysis, snapshot, evidence, _failed(error)))
            usage = _facts(error.usage, None, calls=attempt)
            return replace(analysis, partial=True, limit="llm", mode="direct", usage=usage)
        checked = await _in_thread(partial(check, reply.text, material.passages))
        usage = _facts(_sum(lost, reply.usage), reply.model, calls=0 if reply.cached else attempt)
        return await _in_thread(partial(_analysis, snapshot, evidence, material, checked, usage))
    raise AssertionError("the second attempt returns or raises")


def choose_material(snapshot: Snapshot, evidence: Evidence, room: int) -> Material:
    """Take all files in path order if they fit *room* tokens, else the best passages.  Blocks: reads files.

    Passages are whole or left out; the same corpus makes the same text, so that providers' caches hold.
    """
    if fits_whole(snapshot, room):
        return Material(tuple(_whole(snapshot, entry) for entry in snapshot.files if entry.size_bytes), True)
    chosen: list[Shown] = []
    for each in evidence.citations:
        entry = snapshot.entry(each.path)
        lines = tuple(each.quote.split("\n"))
        cost = _HEADING_TOKENS + _LINE_TOKENS * len(lines) + _tokens(entry, each.quote)
        if cost <= room:
            room -= cost
            chosen.append(Shown(each.path, each.start_line, lines, each.sha256, each.verified))
    return Material(tuple(chosen), False)


def messages(material: Material, question: str) -> tuple[Message, ...]:
    """Return the talk: rules and passages, the same for every question, then *question*.

    Turns alternate, since the templates of some local models refuse anything else.
    """
    prompt = resources.files("rlmd.engine").joinpath("prompts/direct.md").read_text("utf-8")
    passages = "\n\n".join(_numbered(n, each) for n, each in enumerate(material.passages, 1))
    scope = "These are all of the files." if material.is_whole else "These are the passages that fit best."
    return (
        Message("system", prompt),
        Message("user", f"{passages or '(no passages)'}\n\n{scope}"),
        Message("assistant", "I have read the passages. What is the question?"),
        Message("user", question),
    )


def _numbered(number: int, passage: Shown) -> str:
    heading = f"Passage {number}: {passage.path}:{passage.start_line}-{passage.end_line}"
    lines = (f"{n}| {line}".rstrip() for n, line in enumerate(passage.lines, passage.start_line))
    return "\n".join([heading, *lines])


def _whole(snapshot: Snapshot, entry: Entry) -> Shown:
    data = snapshot.pack.read(entry.span)
    lines = tuple(lines_of(decode(data, entry.encoding)))
    verified = hashlib.sha256(data).hexdigest() == entry.sha256
    return Shown(entry.path, 1, lines, entry.sha256, verified)


def _tokens(entry: Entry | None, quote: str) -> int:
    """Return the tokens of *quote* by the share that it has of its file, at least one for each 8 bytes."""
    size = len(quote.encode())
    share = entry.tokens * size // max(1, entry.size_bytes) if entry else size // 3
    return max(share, size // 8)


def _analysis(
    snapshot: Snapshot, evidence: Evidence, material: Material, checked: Checked, usage: UsageFacts
) -> Analysis:
    read = {each.path for each in material.passages}
    unread = [] if material.is_whole else [entry for entry in snapshot.files if entry.path not in read]
    analysis = evidence_analysis(snapshot, evidence, _note(snapshot, material, checked))
    if material.is_whole:  # whatever the search had not indexed was read all the same
        analysis = replace(analysis, partial=False, limit=None)
    return replace(
        analysis,
        mode="direct",
        answer=checked.text,
        citations=checked.citations,
        coverage=coverage(snapshot, unread),
        usage=usage,
    )


def _note(snapshot: Snapshot, material: Material, checked: Checked) -> str:
    if material.is_whole:
        note = f"Answered by one call over all {snapshot.tokens:,} tokens."
    else:
        note = (
            f"Answered by one call over the {len(material.passages)} best passages: "
            f"all {snapshot.tokens:,} tokens do not fit one call."
        )
    if checked.dropped:
        note += (
            f" {len(checked.dropped)} claimed citations match nothing and were dropped: "
            f"{', '.join(checked.dropped)}."
        )
    return note


def _failed(error: UpstreamError) -> str:
    return f"The model's reply is of no use ({error.message}); this is the evidence alone."


def _facts(usage: Usage, model: str | None, *, calls: int) -> UsageFacts:
    return UsageFacts(
        calls=calls,
        tokens_in=usage.tokens_in,
        tokens_out=usage.tokens_out,
        cached_tokens=usage.cached_tokens,
        usd=usage.usd,
        model=model,
    )


def _sum(first: Usage, second: Usage) -> Usage:
    """Add what two calls were counted for; a cost that is unknown leaves the sum unknown."""
    if first == Usage():
        return second
    usd = None if first.usd is None or second.usd is None else first.usd + second.usd
    return Usage(
        first.tokens_in + second.tokens_in,
        first.tokens_out + second.tokens_out,
        first.cached_tokens + second.cached_tokens,
        usd,
    )


async def _in_thread(work: Callable[[], T]) -> T:
    return await trio.to_thread.run_sync(work, abandon_on_cancel=True)
