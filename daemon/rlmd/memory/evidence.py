"""From evidence that somebody cites to anchors, and from anchors to what the code says now.

Reads files and may hang on a dead mount: call it from a thread.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from rlmd.answers import Cited
from rlmd.errors import BadArgument, NotFound, RequestError
from rlmd.memory.anchor import Anchor, Finding, Status, check, context_of, digest
from rlmd.memory.ask import Item, Page, Recalled
from rlmd.memory.entry import AnchorFacts
from rlmd.redact import redact

Resolve = Callable[[str, str], str]
"""From a project and a path of one of its anchors to the file; raises RequestError for one not to be read."""

MAX_FILE_BYTES = 4 << 20
MAX_SPAN_LINES = 400
MAX_SPAN_CHARS = 16_000
_CHECKING_S = 2.0
"""After so long the rest of a page's files is looked for unchanged lines only."""
_WORST_FIRST: Sequence[Status] = ("missing", "stale", "edited", "ambiguous", "moved", "fresh")
_DOUBTFUL = frozenset({"missing", "stale", "edited"})
DOUBT = 0.5
"""What a memory's score is multiplied by where its code has changed."""


class Lines(NamedTuple):
    """A file as it is now."""

    lines: list[str]
    sha256: str


def take(cited: Cited, file: str, kept_path: str) -> tuple[Anchor, int]:
    """Anchor what *cited* names in *file*, to be kept under *kept_path*; count the secrets redacted.

    Raises NotFound, or BadArgument for lines that the file does not have or that are too many.
    """
    found = read_lines(file)
    if found is None:
        raise BadArgument(
            f"{cited.path} is no text file of up to {MAX_FILE_BYTES >> 20} MiB that can be read.",
            "Cite lines of a source or text file.",
        )
    return anchor_at(found, kept_path, cited.start_line, cited.end_line, shown=cited.path)


def anchor_at(
    found: Lines, kept_path: str, start_line: int, end_line: int, *, shown: str
) -> tuple[Anchor, int]:
    """Anchor lines *start_line* to *end_line* of a file, as `take` does."""
    lines = found.lines
    if not 1 <= start_line <= end_line <= len(lines):
        raise BadArgument(
            f"`evidence` cites lines {start_line} to {end_line} of {shown}, which has {len(lines)}.",
            "Lines count from 1, as grep -n shows them.",
        )
    span = lines[start_line - 1 : end_line]
    text = "\n".join(span)
    if len(span) > MAX_SPAN_LINES or len(text) > MAX_SPAN_CHARS:
        raise BadArgument(
            f"`evidence` cites {len(span)} lines of {shown}; it takes {MAX_SPAN_LINES} lines and "
            f"{MAX_SPAN_CHARS} characters.",
            "Cite the lines that matter.",
        )
    if not text.strip():
        raise BadArgument(f"`evidence` cites blank lines of {shown}.", "Cite the lines that matter.")
    redacted = [redact(line) for line in span]
    whole = redact(text)
    if whole.count > sum(each.count for each in redacted):
        raise BadArgument(f"`evidence` cites a private key in {shown}.", "Cite the lines around it.")
    above, below = (
        tuple(redact(line).text for line in side) for side in context_of(lines, start_line, end_line)
    )
    anchor = Anchor(
        kept_path,
        start_line,
        end_line,
        "\n".join(each.text for each in redacted),
        digest(span),
        above,
        below,
        found.sha256,
    )
    return anchor, sum(each.count for each in redacted)


def read_lines(file: str) -> Lines | None:
    """Read a regular text file whole; None for anything else, or what cannot be read."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        told = os.fstat(descriptor)
        if not stat.S_ISREG(told.st_mode) or told.st_size > MAX_FILE_BYTES:
            return None
        with open(descriptor, "rb", closefd=False) as opened:
            data = opened.read(MAX_FILE_BYTES + 1)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    if len(data) > MAX_FILE_BYTES or b"\0" in data:
        return None
    lines = data.decode("utf-8", "replace").split("\n")
    if lines[-1] == "":
        lines.pop()
    return Lines(lines, hashlib.sha256(data).hexdigest())


def judge(page: Page, resolve: Resolve, *, ranked: bool) -> Recalled:
    """Look at the code that each memory of *page* speaks of, and say what has become of it.

    Each file is read once.  Of a *ranked* page the memories whose code has changed come down.
    """
    sight = _Sight(resolve)
    items = [
        _judged(item, [(anchor, sight.find(item.project, anchor)) for anchor in anchors])
        for item, anchors in zip(page.items, page.anchors, strict=True)
    ]
    if ranked:
        items = [
            replace(item, score=item.score * DOUBT) if item.status in _DOUBTFUL else item for item in items
        ]
        items.sort(key=lambda item: -item.score)
    return Recalled(tuple(items), page.next_cursor)


def confirmed(project: str, anchors: Iterable[Anchor], resolve: Resolve) -> tuple[tuple[Anchor, ...], int]:
    """Anchor what *anchors* have become; raise NotFound where one of them is nowhere any more."""
    taken: list[Anchor] = []
    redactions = 0
    for anchor in anchors:
        file = resolve(project, anchor.path)
        found = read_lines(file)
        now = check(anchor, None if found is None else found.lines)
        if found is None or now.status in {"stale", "missing"}:
            raise NotFound(
                f"{anchor.path}:{anchor.start_line}-{anchor.end_line} is {now.status}, so there is nothing "
                "to confirm.",
                "Give `evidence` anew, or forget the memory.",
            )
        again, count = anchor_at(found, anchor.path, now.start_line, now.end_line, shown=anchor.path)
        taken.append(again)
        redactions += count
    return tuple(taken), redactions


class _Sight:
    """Looks at files, each once, within a time."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self._seen: dict[tuple[str, str], list[str] | None] = {}
        self._until = time.monotonic() + _CHECKING_S

    def find(self, project: str, anchor: Anchor) -> Finding:
        place = project, anchor.path
        if place not in self._seen:
            self._seen[place] = self._read(*place)
        return check(anchor, self._seen[place], thorough=time.monotonic() < self._until)

    def _read(self, project: str, path: str) -> list[str] | None:
        try:
            found = read_lines(self._resolve(project, path))
        except RequestError:
            return None
        return None if found is None else found.lines


def _judged(item: Item, findings: Sequence[tuple[Anchor, Finding]]) -> Item:
    """Give *item* its anchors, and the worst of their statuses."""
    if not findings:
        return item
    facts = tuple(
        AnchorFacts(anchor.path, found.start_line, found.end_line, found.status, found.diff)
        for anchor, found in findings
    )
    return replace(item, anchors=facts, status=min((each.status for each in facts), key=_WORST_FIRST.index))
