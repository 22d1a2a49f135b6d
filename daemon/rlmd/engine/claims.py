"""Citations that a model claims in its answer, held against what it was shown.  Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rlmd.values import Citation

_BRACKET = re.compile(r' ?\[((?:[^\[\]\n"]|"[^"\n]{0,400}"){3,600})\]')
"""Bounded, so that no answer takes longer than its length."""
_CLAIM = re.compile(
    r'[\s;,]*([^\s;,"][^;,"]*?):(\d{1,9})(?:\s*[-\u2013]\s*(\d{1,9}))?(?:\s*"([^"]*)")?\s*(?=[;,]|$)'
)
LONGEST_RELOCATED = 8
"""Quoted words that stand elsewhere in the file are looked for in runs of so many lines."""


@dataclass(frozen=True, slots=True)
class Shown:
    """Lines of one file as the model saw them, from `start_line` on; `verified` against the snapshot."""

    path: str
    start_line: int
    lines: tuple[str, ...]
    sha256: str
    verified: bool

    @property
    def end_line(self) -> int:
        """The last of the lines."""
        return self.start_line + len(self.lines) - 1


@dataclass(frozen=True, slots=True)
class Checked:
    """An answer with the citations in it that hold, each once, and those that were taken out."""

    text: str
    citations: tuple[Citation, ...]
    dropped: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Claim:
    path: str
    start: int
    end: int
    quote: str


def check(answer: str, shown: Sequence[Shown]) -> Checked:
    """Verify each `[path:start-end "words"]` of *answer* against the passages that were *shown*.

    A claim holds when its lines were shown (it is narrowed to those that were) and its words, if it
    has any, stand there up to white space; words that stand elsewhere in the file correct its lines.
    What holds is written `[path:start-end]`; what does not is taken out of the text and reported.
    """
    by_path: dict[str, list[Shown]] = {}
    for each in shown:
        by_path.setdefault(each.path, []).append(each)
    held: dict[Citation, None] = {}
    dropped: dict[str, None] = {}

    def judged(match: re.Match[str]) -> str:
        claims = _claims(match[1])
        if claims is None:
            return match[0]
        kept = []
        for claim in claims:
            if (citation := _verified(claim, by_path)) is not None:
                held[citation] = None
                kept.append(_place(citation.path, citation.start_line, citation.end_line))
            else:
                dropped[_place(claim.path, claim.start, claim.end)] = None
        lead = match[0][: match[0].index("[")]
        return f"{lead}[{'; '.join(dict.fromkeys(kept))}]" if kept else ""

    text = _BRACKET.sub(judged, answer).strip()
    return Checked(text, tuple(held), tuple(dropped))


def _claims(inside: str) -> list[_Claim] | None:
    """Return the claims of one bracket, or None where it is no list of them."""
    claims, at = [], 0
    while at < len(inside):
        found = _CLAIM.match(inside, at)
        if found is None:
            return None
        start = int(found[2])
        path = found[1].strip().strip("`").removeprefix("./")
        claims.append(_Claim(path, start, int(found[3] or start), found[4] or ""))
        at = found.end()
    return claims


def _verified(claim: _Claim, by_path: Mapping[str, Sequence[Shown]]) -> Citation | None:
    passages = by_path.get(claim.path, ())
    wanted = _words(claim.quote)
    for each in passages:
        start, end = max(claim.start, each.start_line), min(claim.end, each.end_line)
        if start <= end and wanted in _words("\n".join(_between(each, start, end))):
            return _cited(each, start, end)
    if not wanted:
        return None
    for each in passages:
        if (lines := _located(each, wanted)) is not None:
            return _cited(each, *lines)
    return None


def _located(passage: Shown, wanted: str) -> tuple[int, int] | None:
    """Find the shortest run of lines of *passage* that holds the words *wanted*, the first of equals."""
    for size in range(1, min(LONGEST_RELOCATED, len(passage.lines)) + 1):
        for start in range(passage.start_line, passage.end_line - size + 2):
            if wanted in _words("\n".join(_between(passage, start, start + size - 1))):
                return start, start + size - 1
    return None


def _cited(passage: Shown, start: int, end: int) -> Citation:
    quote = "\n".join(_between(passage, start, end))
    return Citation(passage.path, start, end, quote, passage.sha256, verified=passage.verified, score=1.0)


def _between(passage: Shown, start: int, end: int) -> tuple[str, ...]:
    return passage.lines[start - passage.start_line : end - passage.start_line + 1]


def _place(path: str, start: int, end: int) -> str:
    return f"{path}:{start}" if start == end else f"{path}:{start}-{end}"


def _words(text: str) -> str:
    return " ".join(text.split())
