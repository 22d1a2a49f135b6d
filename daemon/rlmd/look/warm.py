"""Which lines match, told from a fresh snapshot and its index, as the search without them would say."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import structlog
import trio

from rlmd.answers import GrepRequest
from rlmd.corpus.exact import Exact
from rlmd.corpus.exact_request import Query
from rlmd.corpus.keeper import Answer, Collect, Kept, Request
from rlmd.corpus.pattern import LinePattern, compile_pattern
from rlmd.corpus.snapshot import Snapshot, Tree
from rlmd.errors import RequestError
from rlmd.look.file_types import rules_of_type
from rlmd.look.grep import is_of
from rlmd.look.page import GrepResult, Page, Text
from rlmd.look.selection import batches, narrowed
from rlmd.look.steps import in_steps
from rlmd.look.texts import NotText, open_content, open_file
from rlmd.offload import OffloadError
from rlmd.roots import is_within, relative_to
from rlmd.supervision import Mailbox, ungrouped
from rlmd.values import Skip, SkipTally, WalkRules

PAUSE_FILES = 256
LEAST_BYTES = 8 << 20
"""Less text than this is scanned where it lies before a process has started."""
LEAST_PATIENCE_S = 0.25
LOOKING_BYTES_PER_S = 500e6
"""No tree is read and searched faster: a refresh that takes longer than that is given up for looking."""
log = structlog.get_logger(__name__)


@dataclass(frozen=True, eq=False)
class Warm:
    """The corpora that are held already, where they can answer for the tree as it is; owns nothing."""

    keeper: Mailbox[Request, Answer]
    exact: Exact

    async def grep(
        self,
        request: GrepRequest,
        path: str,
        *,
        rules: WalkRules,
        workspace: str | None,
        limiter: trio.CapacityLimiter,
    ) -> GrepResult | None:
        """Answer as `grep` does, from a snapshot taken now; None where that would not be quicker."""
        snapshot = await self._fresh(path, rules)
        if snapshot is None:
            return None
        search = _Search(request, path, snapshot, rules, workspace)
        try:
            found = await _grep(search, self.exact, limiter)
        except OffloadError as failed:
            log.warning("grep.without_index", reason=str(failed))
            return None
        self.exact.prepare(snapshot)
        return found

    async def prepare(self) -> None:
        """Have the corpora that are held indexed, behind whatever is asked."""
        for snapshot in await self._kept():
            if snapshot.bytes >= LEAST_BYTES:
                self.exact.prepare(snapshot)

    async def _fresh(self, path: str, rules: WalkRules) -> Snapshot | None:
        for held in reversed(await self._kept()):
            if held.bytes >= LEAST_BYTES and covers(held, path, rules):
                patience_s = LEAST_PATIENCE_S + held.bytes / LOOKING_BYTES_PER_S
                with trio.move_on_after(patience_s), suppress(RequestError):
                    fresh = await self.keeper.ask(Collect(held.root, (), rules))
                    assert isinstance(fresh, Snapshot)
                    return fresh if covers(fresh, path, rules) else None
                return None
        return None

    async def _kept(self) -> list[Snapshot]:
        kept = await self.keeper.ask(Kept())
        assert isinstance(kept, list)
        return kept


def covers(snapshot: Snapshot, path: str, rules: WalkRules) -> bool:
    """Return whether *snapshot* holds, when fresh, what a walk of the directory *path* by *rules* finds.

    A file that is too large for the corpus could still be searched, and a directory that holds
    none of its files may be one that its root ignores.
    """
    source = snapshot.source
    return (
        isinstance(source, Tree)
        and source.rules == rules
        and not source.targets
        and is_within(path, source.root)
        and not snapshot.skipped.by_reason["too_large"]
        and bool(rows_below(snapshot, path))
    )


def rows_below(snapshot: Snapshot, path: str) -> range:
    """Return the rows of the files below the directory *path*."""
    if path == snapshot.root:
        return range(len(snapshot.files))
    prefix = relative_to(path, snapshot.root) + "/"
    paths = snapshot.files.paths
    return range(bisect_left(paths, prefix), bisect_left(paths, prefix[:-1] + chr(ord("/") + 1)))


async def _grep(search: _Search, exact: Exact, limiter: trio.CapacityLimiter) -> GrepResult:
    await in_steps(search.begin(), limiter=limiter)
    counts: dict[int, int] = {}

    async def count() -> None:
        counts.update(await exact.count(search.snapshot, search.query))

    with ungrouped():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(count)
            await in_steps(search.walk(), limiter=limiter)
    await in_steps(search.run(counts), limiter=limiter)
    return search.result()


class _Search:
    """What is asked, which files are chosen, and the page that they fill."""

    def __init__(
        self, request: GrepRequest, path: str, snapshot: Snapshot, rules: WalkRules, workspace: str | None
    ) -> None:
        self._request, self._path, self.snapshot, self._workspace = request, path, snapshot, workspace
        self._page = Page(request)
        self._rules = None if request.glob is None else narrowed(rules, request.glob, path)
        self._type = None if request.file_type is None else rules_of_type(request.file_type)
        self._skipped = SkipTally()
        self._walked: list[str] | None = None

    @property
    def query(self) -> Query:
        """What is to be counted."""
        rows, asked = rows_below(self.snapshot, self._path), self._request
        return Query(asked.pattern, asked.case_insensitive, asked.fixed_strings, rows.start, rows.stop)

    def begin(self) -> Iterator[None]:
        """Compile the pattern and look where the workspace lies."""
        self._pattern: LinePattern = compile_pattern(
            self._request.pattern,
            ignore_case=self._request.case_insensitive,
            fixed_strings=self._request.fixed_strings,
        )
        self._base = None if self._workspace is None else os.path.realpath(self._workspace)
        yield

    def walk(self) -> Iterator[None]:
        """Find the files that a glob chooses; it may bring in some that the corpus leaves out."""
        if self._rules is not None:
            walked: list[str] = []
            for batch in batches(self._path, self._rules, self._skipped):
                walked += (file.absolute for file in batch)
                yield
            self._walked = sorted(walked)

    def run(self, counts: dict[int, int]) -> Iterator[None]:
        """Fill the page from what was counted, row by row."""
        for number, (text, count) in enumerate(self._texts(counts)):
            if not number % PAUSE_FILES:
                yield
            try:
                yield from self._page.search(text, self._pattern, count=count)
            except NotText as not_text:
                self._skipped.add(Skip(text.absolute, not_text.reason))
        yield from self._page.add_context()

    def result(self) -> GrepResult:
        """Return what was found, once `run` is through."""
        whole = self._path == self.snapshot.root and self._type is None and self._rules is None
        return self._page.result(self.snapshot.skipped if whole else None)

    def _texts(self, counts: dict[int, int]) -> Iterator[tuple[Text, int | None]]:
        """The texts to be searched, in the order of their paths, with their counts where they are known."""
        files, root = self.snapshot.files, self.snapshot.root
        if self._walked is None:
            chosen: Iterator[tuple[str, int | None]] = (
                (os.path.join(root, files.paths[row]), row) for row in counts
            )
        else:
            chosen = ((path, files.row(relative_to(path, root))) for path in self._walked)
        for absolute, row in chosen:
            if self._type is not None and not is_of(self._type, absolute):
                continue
            shown = relative_to(absolute, self._base)
            if row is None:
                yield Text(absolute, shown, partial(open_file, absolute)), None
            elif row in counts:
                content = partial(open_content, self.snapshot.pack, files.span_at(row))
                yield Text(absolute, shown, content), counts[row]
