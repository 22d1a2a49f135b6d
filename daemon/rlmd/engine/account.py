"""What an analysis says of itself: what it stands on, what was left out, what it cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rlmd.answers import Analysis, CorpusFacts, Coverage, SkippedExample, SkippedFacts, Unexamined
from rlmd.corpus.snapshot import Entry, Snapshot
from rlmd.engine.evidence import Evidence, show
from rlmd.values import Citation

SHOWN_CHARS = 8_000
NOT_EXAMINED_NAMED = 100


def evidence_analysis(snapshot: Snapshot, evidence: Evidence, note: str) -> Analysis:
    """Return the answer that *evidence* alone gives; the job's id and cost are its caller's to add.

    `citations` are the most telling lines of the best passages, what a reader of SHOWN_CHARS
    characters is shown; `evidence` are the passages whole, all of them.  A passage that no word of
    the question reaches is cited nowhere: without any other, nothing was found.  Blocks for a few ms.
    """
    citations = tuple(_narrowed(evidence, SHOWN_CHARS))
    partial = bool(evidence.unindexed)
    return Analysis(
        job_id="",
        state="done",
        partial=partial,
        limit="seconds" if partial else None,
        mode="evidence",
        note=note,
        answer=_answer(citations),
        citations=citations,
        evidence=tuple(evidence.citations),
        coverage=coverage(snapshot, evidence.unindexed),
        corpus=corpus_facts(snapshot),
        skipped=skipped_facts(snapshot),
    )


def coverage(snapshot: Snapshot, unexamined: Sequence[Entry]) -> Coverage:
    """Say how much of *snapshot* was searched, naming the largest files that were not."""
    left_bytes = sum(entry.size_bytes for entry in unexamined)
    largest = sorted(unexamined, key=lambda entry: (-entry.size_bytes, entry.path))
    return Coverage(
        files=len(snapshot.files),
        files_read=len(snapshot.files) - len(unexamined),
        bytes=snapshot.bytes,
        bytes_read=snapshot.bytes - left_bytes,
        not_examined=tuple(Unexamined(e.path, e.size_bytes) for e in largest[:NOT_EXAMINED_NAMED]),
    )


def corpus_facts(snapshot: Snapshot) -> CorpusFacts:
    """Name the snapshot that was asked."""
    return CorpusFacts(
        snapshot=snapshot.id,
        root=snapshot.root,
        files=len(snapshot.files),
        bytes=snapshot.bytes,
        tokens=snapshot.tokens,
        encoding=snapshot.encoding,
    )


def skipped_facts(snapshot: Snapshot) -> SkippedFacts:
    """Say what the walk and the readers left out."""
    tally = snapshot.skipped
    examples = tuple(SkippedExample(skip.path, skip.reason) for skip in tally.examples)
    return SkippedFacts(tally.files, tally.dirs, dict(tally.by_reason), examples)


def _narrowed(evidence: Evidence, room: int) -> list[Citation]:
    narrowed = []
    reached = [citation for citation in evidence.citations if citation.score > 0]
    for shown in show(reached, evidence.terms, room):
        whole = shown.citation
        first = shown.first_line - whole.start_line
        quote = "\n".join(whole.quote.split("\n")[first : first + len(shown.lines)])
        narrowed.append(replace(whole, start_line=shown.first_line, end_line=shown.last_line, quote=quote))
    return narrowed


def _answer(citations: Sequence[Citation]) -> str | None:
    """Name the files that the passages come from, best first; None where there is no passage."""
    if not citations:
        return None
    files = list(dict.fromkeys(citation.path for citation in citations))
    return f"{len(citations)} passages from {len(files)} files, best first: {', '.join(files)}."
