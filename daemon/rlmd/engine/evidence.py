"""Answers without a model: the passages that say most about a question, each checked against the bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import trio

from rlmd.corpus.index import stemmer
from rlmd.corpus.keeper import Answer, Request, Search
from rlmd.corpus.search import Ranked
from rlmd.corpus.snapshot import Entry, Snapshot
from rlmd.corpus.words import Terms
from rlmd.engine.citations import cite
from rlmd.engine.windows import LINE_CHARS, best_run, clip
from rlmd.sandbox.services import Excerpt
from rlmd.supervision import Mailbox
from rlmd.values import Citation, Kind, Progress, Report, ignore_progress

_SEARCHED_WIDER = 10
LEAST_CHARS, SHARE = 500, 0.25
"""Each passage is shown in a quarter of what is left of the room, and never in less than this."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Citations, best first; the stems they were found by; the files that were not searched."""

    citations: list[Citation]
    terms: Mapping[str, int]
    unindexed: list[Entry]


@dataclass(frozen=True, slots=True)
class Shown:
    """The lines of a citation that a reader is shown: `first_line` to `last_line`, long ones clipped."""

    citation: Citation
    first_line: int
    last_line: int
    lines: tuple[str, ...]


async def gather(
    keeper: Mailbox[Request, Answer],
    snapshot: Snapshot,
    question: str,
    kind: Kind,
    report: Report,
    *,
    limit: int = 20,
    deadline_s: float | None = None,
) -> Evidence:
    """Find and quote what answers *question* in *snapshot*: at least *limit* passages, of 10 files.

    Ranks what is indexed after *deadline_s* seconds and names the rest.  Raises what the keeper
    raises; cancelling leaves nothing.
    """
    ranked = await keeper.ask(Search(snapshot, question, kind, limit, report, deadline_s))
    if not isinstance(ranked, Ranked):
        raise TypeError(f"a search was answered with {type(ranked).__name__}")
    citations = await trio.to_thread.run_sync(_quote, snapshot, ranked, abandon_on_cancel=True)
    report(Progress("search", len(citations), len(citations)))
    return Evidence(citations, ranked.terms, ranked.unindexed)


async def excerpts(
    keeper: Mailbox[Request, Answer],
    snapshot: Snapshot,
    query: str,
    kind: Kind,
    k: int,
    paths: Sequence[str],
) -> list[Excerpt]:
    """Return the *k* best passages of *snapshot* with their text, below *paths* only where there are any."""
    limit = k * _SEARCHED_WIDER if paths else k
    found = await gather(keeper, snapshot, query, kind, ignore_progress, limit=limit)
    held = [
        each
        for each in found.citations
        if not paths or any(each.path == p or each.path.startswith(f"{p.rstrip('/')}/") for p in paths)
    ]
    return [Excerpt(e.path, e.start_line, e.end_line, e.quote, e.score) for e in held[:k]]


def _quote(snapshot: Snapshot, ranked: Ranked) -> list[Citation]:
    table = Terms(stemmer())
    return [cite(snapshot, found, ranked.terms, table) for found in ranked.found]


def show(citations: Sequence[Citation], terms: Mapping[str, int], room: int) -> list[Shown]:
    """Choose what fits into *room* characters of text: of each citation its most telling lines.

    Counts the lines alone, with their ends; headings are the caller's to reckon with.  A line is
    clipped at 400 characters.  Citations that do not fit are left out, the worst first.
    """
    return list(_show(citations, terms, room))


def _show(citations: Sequence[Citation], terms: Mapping[str, int], room: int) -> Iterable[Shown]:
    table = Terms(stemmer())
    for citation in citations:
        if room < LEAST_CHARS:
            return
        lines = citation.quote.split("\n")
        most = max(LEAST_CHARS, int(room * SHARE))
        start, stop = best_run(lines, terms, table, most, longest=LINE_CHARS)
        shown = tuple(clip(line) for line in lines[start:stop])
        room -= sum(len(line) + 1 for line in shown)
        yield Shown(citation, citation.start_line + start, citation.start_line + stop - 1, shown)
