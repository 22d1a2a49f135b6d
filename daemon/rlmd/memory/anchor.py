"""Lines of a file as a memory saw them, and what has become of them since."""

from __future__ import annotations

import difflib
import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from rapidfuzz import fuzz

from rlmd.redact import MARK

Status = Literal["fresh", "moved", "ambiguous", "edited", "stale", "missing"]

_CONTEXT_LINES = 2
_CONTEXT_REACH = 4
_ALIKE = 85.0
"""Percent of a span that must have survived for its lines to count as edited (measured on trio's history)."""
_TELLING_CHARS = 40
_VOTES_PER_LINE = 8
_MOST_STARTS = 6
_SCANNED_CHARS = 2_000_000
_DIFF_CHARS = 1_200


@dataclass(frozen=True, slots=True)
class Anchor:
    """Lines `start_line` to `end_line` of `path`, as they were in the file that hashes to `file_sha256`.

    `span_hash` is of the exact lines; in `span` secrets are redacted.  `path` is relative to the
    work tree of its project, so that every worktree finds it, or absolute where it lies outside.
    """

    path: str
    start_line: int
    end_line: int
    span: str
    span_hash: bytes
    above: tuple[str, ...]
    below: tuple[str, ...]
    file_sha256: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What has become of an anchor: where its lines are now, and, if edited, how they differ.

    `stale` and `missing` keep the lines of old, because there are none now.
    """

    status: Status
    start_line: int
    end_line: int
    diff: str | None = None


def digest(lines: Sequence[str]) -> bytes:
    """Return what tells these lines from any others, white space included."""
    return hashlib.blake2b("\n".join(lines).encode(), digest_size=16).digest()


def context_of(
    lines: Sequence[str], start_line: int, end_line: int
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the few lines above and below a span, white space evened out."""
    above = lines[max(0, start_line - 1 - _CONTEXT_LINES) : start_line - 1]
    below = lines[end_line : end_line + _CONTEXT_LINES]
    return tuple(map(_even, above)), tuple(map(_even, below))


def check(anchor: Anchor, lines: list[str] | None, *, thorough: bool = True) -> Finding:
    """Say what has become of *anchor* in a file of these *lines*, None where there is no file.

    Lines are `fresh` only where they are the same to the byte and nothing speaks for another copy
    of them; a change of white space alone is `edited`.  Without being *thorough* whatever was changed
    is called `stale`, at once.
    """
    if lines is None:
        return Finding("missing", anchor.start_line, anchor.end_line)
    span = anchor.span.split("\n")
    copies = list(_copies(anchor, span, lines))
    if copies:
        return _choose(anchor, copies, lines)
    edited = _edited(anchor, span, lines) if thorough else None
    return edited or Finding("stale", anchor.start_line, anchor.end_line)


def _copies(anchor: Anchor, span: list[str], lines: list[str]) -> Iterator[int]:
    """Yield where the exact span stands, as indexes of its first line."""
    count = len(span)
    known = [(offset, line) for offset, line in enumerate(span) if MARK not in line]
    if not known:
        here = anchor.start_line - 1
        if digest(lines[here : here + count]) == anchor.span_hash:
            yield here
        return
    pivot, rarest = max(known, key=lambda each: len(each[1].strip()))
    at = pivot - 1
    while True:
        try:
            at = lines.index(rarest, at + 1)
        except ValueError:
            return
        start = at - pivot
        window = lines[start : start + count] if start >= 0 else ()
        if (
            len(window) == count
            and all(window[offset] == line for offset, line in known)
            and digest(window) == anchor.span_hash
        ):
            yield start


def _choose(anchor: Anchor, copies: list[int], lines: Sequence[str]) -> Finding:
    """Take the copy whose surroundings are most like those of old, and the old place among equals."""
    count = anchor.end_line - anchor.start_line + 1
    here = anchor.start_line - 1
    likeness = {start: _likeness(anchor, lines, start, count) for start in copies}
    most = max(likeness.values())
    best = [start for start in copies if likeness[start] == most]
    chosen = min(best, key=lambda start: abs(start - here))
    status: Status = "moved"
    if chosen == here:
        status = "fresh" if most or _tells(anchor) else "ambiguous"
    elif len(best) > 1:
        status = "ambiguous"
    return Finding(status, chosen + 1, chosen + count)


def _likeness(anchor: Anchor, lines: Sequence[str], start: int, count: int) -> int:
    above = [_even(line) for line in lines[max(0, start - _CONTEXT_REACH) : start]]
    below = [_even(line) for line in lines[start + count : start + count + _CONTEXT_REACH]]
    return sum(line in above for line in anchor.above if line) + sum(
        line in below for line in anchor.below if line
    )


def _tells(anchor: Anchor) -> bool:
    """Say whether the span is long enough to be no coincidence, or had nothing around it to compare."""
    return len("".join(anchor.span.split())) >= _TELLING_CHARS or not any(anchor.above + anchor.below)


def _edited(anchor: Anchor, span: list[str], lines: Sequence[str]) -> Finding | None:
    """Find the window most like the span: around what survived of its lines, else anywhere."""
    even = [_even(line) for line in lines]
    old = [_even(line) for line in span]
    best = _best_window(old, even, anchor.start_line - 1)
    if best is None:
        return None
    start, end = best
    diff = "\n".join(list(difflib.unified_diff(span, list(lines[start:end]), lineterm="", n=1))[2:])
    cut = diff if len(diff) <= _DIFF_CHARS else f"{diff[:_DIFF_CHARS]}\n… [cut]"
    return Finding("edited", start + 1, end, cut)


def _best_window(old: list[str], even: list[str], here: int) -> tuple[int, int] | None:
    text, count = "\n".join(old), len(old)
    starts = _starts(old, even)
    best, found = _ALIKE, None
    for start, end in _windows(starts or [here], count, len(even)):
        likeness = fuzz.ratio(text, "\n".join(even[start:end]), score_cutoff=best)
        if likeness > best or (likeness == best and found is None):
            best, found = likeness, (start, end)
    if found is None and not starts and len(even) * len(text) <= _SCANNED_CHARS:
        for start in range(max(1, len(even) - count + 1)):
            likeness = fuzz.ratio(text, "\n".join(even[start : start + count]), score_cutoff=best)
            if likeness > best or (likeness == best and found is None):
                best, found = likeness, (start, min(start + count, len(even)))
    return found


def _starts(old: list[str], even: list[str]) -> list[int]:
    """Return where the span may begin, by the vote of its surviving lines, each the more the rarer."""
    places: dict[str, list[int]] = {line: [] for line in old if len(line) > _CONTEXT_REACH - 1}
    for at, line in enumerate(even):
        if line in places:
            places[line].append(at)
    votes: Counter[int] = Counter()
    for offset, line in enumerate(old):
        found = places.get(line, ())
        for at in found[:_VOTES_PER_LINE]:
            votes[at - offset] += 1 / len(found)  # type: ignore[assignment]  # a Counter adds fractions, too
    return [start for start, _ in votes.most_common(_MOST_STARTS)]


def _windows(starts: list[int], count: int, lines: int) -> Iterator[tuple[int, int]]:
    """Yield each window of about *count* lines that begins near one of *starts*, once."""
    seen: set[tuple[int, int]] = set()
    for start in starts:
        for shift in (0, -1, 1, -2, 2):
            for length in (count, count - 1, count + 1, count + 2):
                window = start + shift, start + shift + length
                if window[0] >= 0 and length > 0 and window[1] <= lines and window not in seen:
                    seen.add(window)
                    yield window


def _even(line: str) -> str:
    return " ".join(line.split())
