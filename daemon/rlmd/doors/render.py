"""Results as text for a model to read: the best first, within a length, and how to get the rest."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from rlmd.answers import Analysis, Json
from rlmd.values import Citation

QUOTE_SHARE = 6
"""A passage may take a sixth of the room (or MIN_QUOTE_CHARS), so that one long one hides no others."""
MIN_QUOTE_CHARS = 240
MIN_VALUE_CHARS = 20
CUT_VALUE = "… [cut: recall it by key, with a larger value_chars]"


def analysis(found: Analysis, max_chars: int) -> str:
    """Write an answer with its passages, then what was read and skipped, in at most *max_chars*."""
    if found.state == "running":
        return cut(
            f"The analysis {found.job_id} is running. rlm_job wait gets its answer.",
            max_chars,
        )
    tail = "\n".join(_account(found))
    head = [part for part in (found.note, _answer(found.answer)) if part]
    if not found.citations and found.answer is None:
        head.append('Nothing found. Try other words, kind "any", or rlm_grep for an exact string.')
    room = max_chars - len(tail) - 2
    answer = cut("\n\n".join(head), max(room, 0))
    body = _passages([*found.citations, *_uncited(found)], room - len(answer) - 2)
    return cut("\n\n".join(part for part in (answer, body, tail) if part), max_chars)


def fit(facts: dict[str, Json], max_chars: int) -> tuple[dict[str, Json], str] | None:
    """Cut the longest texts of *facts* until their JSON has at most *max_chars*.

    Returns the cut facts and their JSON, or None where even short values do not fit.
    """
    longest = max_chars
    while longest >= MIN_VALUE_CHARS:
        shorter = _shorten(facts, longest)
        if len(text := dump(shorter)) <= max_chars:
            return shorter, text
        longest = longest * 2 // 3
    return None


def dump(facts: Json) -> str:
    """Return *facts* as compact JSON with its letters as they are."""
    return json.dumps(facts, ensure_ascii=False, separators=(",", ":"))


def cut(text: str, max_chars: int) -> str:
    """Return *text*, or its start and how much is missing, in at most *max_chars*."""
    if len(text) <= max_chars:
        return text
    mark = f"… [{len(text) - max_chars:,} more characters; raise max_chars]"
    return f"{text[: max_chars - len(mark)]}{mark}" if len(mark) < max_chars else text[:max_chars]


def _uncited(found: Analysis) -> list[Citation]:
    """Return the evidence that no citation is taken from and that some word of the question reaches."""
    cited = {(cited.path, line) for cited in found.citations for line in (cited.start_line, cited.end_line)}
    return [
        each
        for each in found.evidence
        if each.score > 0
        and not any(path == each.path and each.start_line <= line <= each.end_line for path, line in cited)
    ]


def _answer(answer: Json) -> str:
    return (
        answer
        if isinstance(answer, str)
        else ""
        if answer is None
        else json.dumps(answer, ensure_ascii=False)
    )


def _passages(passages: Sequence[Citation], room: int) -> str:
    """Quote the best, and name the places of those that found no room."""
    share = max(room // QUOTE_SHARE, MIN_QUOTE_CHARS)
    written: list[str] = []
    for index, passage in enumerate(passages):
        block = _quote(passage, share)
        rest = _places(passages[index + 1 :], room // 4)
        if room - len(block) - len(rest) - 4 < 0:
            return (
                "\n\n".join([*written, _places(passages[index:], room)]) if room > 0 else "\n\n".join(written)
            )
        room -= len(block) + 2
        written.append(block)
    return "\n\n".join(written)


def _quote(passage: Citation, most: int) -> str:
    head = f"{passage.path}:{passage.start_line}-{passage.end_line}"
    lines = passage.quote.splitlines()
    kept: list[str] = []
    for line in lines:
        if kept and sum(map(len, kept)) + 3 * len(kept) + len(line) > most:
            break
        kept.append(line[:most])
    missing = len(lines) - len(kept)
    if missing:
        offset = passage.start_line - 1 + len(kept)
        kept.append(f"… {missing} more lines: rlm_read offset={offset} limit={missing}")
    return "\n".join([head, *(f"> {line}" for line in kept)])


def _places(passages: Sequence[Citation], most: int) -> str:
    text = ""
    for count, passage in enumerate(passages):
        place = f"{passage.path}:{passage.start_line}-{passage.end_line}"
        more = f" and {len(passages) - count} more (raise max_chars)"
        joined = f"{text}, {place}" if text else f"Also: {place}"
        if len(joined) + len(more) > most:
            return text + more if text else ""
        text = joined
    return text


def _account(found: Analysis) -> list[str]:
    """Say in a line or two what the answer stands on."""
    coverage, skipped = found.coverage, found.skipped
    lines = []
    if found.corpus is not None:
        lines.append(
            f"Corpus {found.corpus.root}: {coverage.files_read:,} of {coverage.files:,} files read, "
            f"{found.corpus.tokens:,} tokens. Paths are relative to it; rlm_read shows more of a file."
        )
        if found.corpus.age_s:
            lines.append(f"As of {found.corpus.age_s:,.1f} s ago; what has changed since is not known.")
    if skipped.files or skipped.dirs:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in skipped.by_reason.items())
        lines.append(f"Skipped {skipped.files:,} files and {skipped.dirs:,} directories: {reasons}.")
    if not found.fresh:
        lines.append("The tree has changed since this snapshot; ask again for the present state.")
    if found.partial:
        lines.append(
            f"Partial: the limit of {found.limit or 'the budget'} was reached before everything was examined."
        )
    lines.append(_cost(found))
    return lines


def _cost(found: Analysis) -> str:
    """Say what the answer has cost, and where it can be read how it came about."""
    usage = found.usage
    usd = "price unknown" if usage.usd is None else f"${usage.usd:.4f}"
    calls = f"{usage.calls} calls of {usage.model or 'a model'}" if usage.calls else "no model call"
    spent = f"{calls}, {usage.tokens_in + usage.tokens_out:,} tokens, {usd}" if usage.calls else calls
    link = f" How it came about: {found.trajectory}." if found.trajectory else ""
    return f"Cost: {spent}, {usage.wall_s:.1f} s.{link}"


def _shorten(value: Any, longest: int) -> Any:
    match value:
        case str() if len(value) > longest:
            return f"{value[:longest]}{CUT_VALUE}"
        case dict():
            return {name: _shorten(inner, longest) for name, inner in value.items()}
        case list() | tuple():
            return [_shorten(inner, longest) for inner in value]
        case _:
            return value
