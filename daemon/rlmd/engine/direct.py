"""One call over numbered passages: all of a small corpus, or the best of a larger one.

The answer's citations are compared with what was shown, and that with the snapshot.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib import resources
from typing import TypeVar

import trio

from rlmd.answers import Analysis, Json, Limit
from rlmd.corpus.cuts import lines_of
from rlmd.corpus.snapshot import Entry, Snapshot
from rlmd.corpus.text import decode
from rlmd.engine.account import coverage, evidence_analysis
from rlmd.engine.claims import Checked, Shown, check
from rlmd.engine.evidence import Evidence
from rlmd.llm.values import Message, Reply, UpstreamError

T = TypeVar("T")
AskModel = Callable[[tuple[Message, ...]], Awaitable[Reply]]
Faults = Callable[[Json], list[str]]

UNKNOWN_WINDOW_TOKENS = 32_768
MOST_TOKENS = 100_000
"""More is not sent in one call though a window may hold it: it costs more than it helps."""
REPLY_TOKENS = 8_192
PROMPT_TOKENS = 1_000

_MENDINGS = 2
"""An answer that is not of the form is sent back so often."""
_MARGIN = 0.9
"""Our counts are of one encoding, and other models count up to a tenth more."""
_LINE_TOKENS = 4
_HEADING_TOKENS = 20
_NUMBERED = 1.4
"""Line numbers add some four tokens to the ten of a line."""
_FENCED = re.compile(r"```(?:json)?[ \t]*\n(.*?)\n?```", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Material:
    """What the model is shown; `is_whole` says that nothing of the corpus is missing from it."""

    passages: tuple[Shown, ...]
    is_whole: bool


def room_tokens(window_tokens: int | None, *, most_tokens: int = MOST_TOKENS) -> int:
    """Return the tokens of content that one call takes with a window of *window_tokens*."""
    window = window_tokens or UNKNOWN_WINDOW_TOKENS
    reply = min(REPLY_TOKENS, window // 4)
    return max(0, min(most_tokens, int(window * _MARGIN) - reply - PROMPT_TOKENS))


def fits_whole(snapshot: Snapshot, room: int) -> bool:
    """Say whether all of *snapshot*, its lines numbered, goes into *room* tokens."""
    return snapshot.tokens * _NUMBERED + len(snapshot.files) * _HEADING_TOKENS <= room


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What an answer has to be: a value without `faults`, of a form that is told as `schema`."""

    schema: str
    faults: Faults


async def answer_direct(
    snapshot: Snapshot,
    evidence: Evidence,
    question: str,
    ask_model: AskModel,
    *,
    window_tokens: int | None,
    most_tokens: int = MOST_TOKENS,
    form: Form | None = None,
) -> Analysis:
    """Answer *question* by one call, over all of *snapshot* if it fits, else over *evidence*, best first.

    When the model's window proves smaller than we were told, asks once more with what fits that.  An
    answer that is not of its *form* is sent back with its faults, twice.  A reply that was paid for and
    is of no use leaves the evidence, `partial` with the limit "llm"; any other UpstreamError is
    raised, and what *ask_model* raises.  `usage` is its caller's to add.  Cancelling ends the call.
    """
    room = room_tokens(window_tokens, most_tokens=most_tokens)
    for is_last in (False, True):
        material = await _in_thread(partial(choose_material, snapshot, evidence, room))
        try:
            return await _asked(snapshot, evidence, material, question, ask_model, form)
        except UpstreamError as error:
            if error.kind != "overflow" or is_last or not material.passages:
                if not (error.usage and error.usage.tokens_out):
                    raise
                why = f"The model's reply is of no use ({error.message})"
                return await left_evidence(snapshot, evidence, why, "llm")
            window = error.window_tokens or window_tokens
            room = min(room // 2, room_tokens(window, most_tokens=most_tokens))
    raise AssertionError("the second attempt returns or raises")


async def left_evidence(snapshot: Snapshot, evidence: Evidence, why: str, limit: Limit) -> Analysis:
    """Return the evidence as what is left of an answer that *limit* has cut off."""
    note = f"{why}; this is the evidence alone."
    analysis = await _in_thread(partial(evidence_analysis, snapshot, evidence, note))
    return replace(analysis, partial=True, limit=limit, mode="direct")


async def _asked(
    snapshot: Snapshot,
    evidence: Evidence,
    material: Material,
    question: str,
    ask_model: AskModel,
    form: Form | None,
) -> Analysis:
    talk = messages(material, question if form is None else f"{question}\n\n{_wanted(form.schema)}")
    for _ in range(1 + _MENDINGS):
        reply = await ask_model(talk)
        if form is None:
            checked = await _in_thread(partial(check, reply.text, material.passages))
            return await _in_thread(partial(_analysis, snapshot, evidence, material, checked, checked.text))
        value, said, faults = _typed(reply.text)
        faults = faults or await _in_thread(partial(form.faults, value))
        if not faults:
            checked = await _in_thread(partial(check, said, material.passages))
            return await _in_thread(partial(_analysis, snapshot, evidence, material, checked, value))
        told = "\n".join(["That was not taken:", *faults, "Mend it: one JSON value, then its citations."])
        talk = (*talk, Message("assistant", reply.text), Message("user", told))
    return await left_evidence(snapshot, evidence, "No answer of the model fits the schema", "llm")


def _wanted(schema: str) -> str:
    return (
        "Answer with one JSON value that fits this JSON schema, in a block marked ```json, and after the "
        f"block the citations that it rests on:\n{schema}"
    )


def _typed(reply: str) -> tuple[Json, str, list[str]]:
    """Return the value in *reply*, the words around it, and what is wrong where there is none."""
    found = _FENCED.search(reply)
    text, said = (found[1], _FENCED.sub("", reply, count=1)) if found else (reply, "")
    try:
        return json.loads(text), said, []
    except (ValueError, RecursionError) as exc:
        return None, said, [f"$: is no JSON: {exc}"]


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
    snapshot: Snapshot, evidence: Evidence, material: Material, checked: Checked, answer: Json
) -> Analysis:
    read = {each.path for each in material.passages}
    unread = [] if material.is_whole else [entry for entry in snapshot.files if entry.path not in read]
    analysis = evidence_analysis(snapshot, evidence, _note(snapshot, material, checked))
    if material.is_whole:  # whatever the search had not indexed was read all the same
        analysis = replace(analysis, partial=False, limit=None)
    return replace(
        analysis,
        mode="direct",
        answer=answer,
        citations=checked.citations,
        coverage=coverage(snapshot, unread),
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


async def _in_thread(work: Callable[[], T]) -> T:
    return await trio.to_thread.run_sync(work, abandon_on_cancel=True)
