"""Which lines match now: an exact search over the tree as it is, without any index."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from operator import attrgetter

import trio

from rlmd.answers import GrepRequest
from rlmd.corpus.pattern import LinePattern, compile_pattern
from rlmd.errors import BadArgument
from rlmd.ingest.globs import byte_view
from rlmd.ingest.ignore import Rules
from rlmd.look.file_types import rules_of_type
from rlmd.look.paging import checked_limit, cursor_after, place_of
from rlmd.look.selection import batches, narrowed
from rlmd.look.steps import in_steps
from rlmd.look.texts import NotText, open_file, pieces, shown
from rlmd.roots import relative_to
from rlmd.values import FileRef, Skip, SkipTally, WalkRules

DEFAULT_LIMIT = 100
LINE_CHARS = 500
MOST_CONTEXT_LINES = 20
PAUSE_LINES = 1024  # some 3 ms of matches


@dataclass(frozen=True, slots=True)
class FoundLine:
    """One matching line, its text cut at `LINE_CHARS`; in the file modes the first one of its file.

    `count` says how many lines of the file match, in the file modes only.  `before` and `after`
    are the lines around it, up to the context asked for.
    """

    path: str
    line: int
    text: str
    count: int | None = None
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GrepResult:
    """One page of matches, by path (code points) and line.

    `total` counts the matching lines and `files` the files that hold them, on all pages together;
    `skipped` says what was not searched.
    """

    matches: tuple[FoundLine, ...]
    files: int
    total: int
    truncated: bool
    next_cursor: str | None
    skipped: SkipTally


async def grep(
    request: GrepRequest, path: str, *, rules: WalkRules, workspace: str | None, limiter: trio.CapacityLimiter
) -> GrepResult:
    """Find the lines that `rg -n --hidden -g '!.git'` finds below *path*, resolved and allowed.

    A glob is relative to *path*; `file_type` holds beside it.  A page holds matching lines, or in
    the modes `files_with_matches` and `count` files.  A file counts as the walk finds it and as it
    reads then; one that fails or turns out binary half-way counts as not searched.  Cancelling
    returns at once.  Raises BadArgument for every argument that cannot be used.
    """
    search = _Search(request, path, rules, workspace)
    await in_steps(search.run(), limiter=limiter)
    return search.result()


class _Search:
    """One pass over the files, and the page that it fills."""

    def __init__(self, request: GrepRequest, path: str, rules: WalkRules, workspace: str | None) -> None:
        if not 0 <= request.context_lines <= MOST_CONTEXT_LINES:
            raise BadArgument(f"context_lines must be from 0 to {MOST_CONTEXT_LINES}")
        self._request, self._path, self._workspace = request, path, workspace
        self._by_file = request.output_mode != "content"
        self._limit = checked_limit(request.limit, DEFAULT_LIMIT)
        self._after = place_of(request.cursor)
        self._rules = rules if request.glob is None else narrowed(rules, request.glob, path)
        self._type = None if request.file_type is None else rules_of_type(request.file_type)
        self._page: list[tuple[FileRef, FoundLine]] = []  # one more than the limit where there is a next page
        self._files = self._total = 0
        self._skipped = SkipTally()

    def run(self) -> Iterator[None]:
        """Search, yielding wherever it may pause."""
        pattern = compile_pattern(
            self._request.pattern,
            ignore_case=self._request.case_insensitive,
            fixed_strings=self._request.fixed_strings,
        )
        workspace = None if self._workspace is None else os.path.realpath(self._workspace)
        yield
        found: list[FileRef] = []
        for batch in batches(self._path, self._rules, self._skipped):
            found += batch if self._type is None else [each for each in batch if _is_of(self._type, each)]
            yield
        found.sort(key=attrgetter("absolute"))
        yield
        for file in found:
            try:
                yield from self._search_file(file, relative_to(file.absolute, workspace), pattern)
            except NotText as not_text:
                self._skipped.add(Skip(file.path, not_text.reason))
        del self._page[self._limit + 1 :]
        if self._request.context_lines:
            yield from self._add_context()

    def result(self) -> GrepResult:
        """What was found, once `run` is through."""
        page, truncated = self._page[: self._limit], len(self._page) > self._limit
        cursor = cursor_after((page[-1][0].absolute, page[-1][1].line)) if truncated else None
        return GrepResult(
            matches=tuple(line for _, line in page),
            files=self._files,
            total=self._total,
            truncated=truncated,
            next_cursor=cursor,
            skipped=self._skipped,
        )

    def _search_file(self, file: FileRef, path: str, pattern: LinePattern) -> Iterator[None]:
        room, first_line = self._wanted(file)
        kept: list[FoundLine] = []
        count = passed = 0
        with open_file(file.absolute) as opened:
            for piece in pieces(opened):
                numbered = 0  # bytes of the piece whose lines are in `passed`
                for start, end in pattern.lines(piece):
                    count += 1
                    if not count % PAUSE_LINES:
                        yield
                    if len(kept) < room:
                        passed += piece.count(b"\n", numbered, start)
                        numbered = start
                        if passed + 1 >= first_line:
                            text = shown(piece[start:end], limit_chars=LINE_CHARS)
                            kept.append(FoundLine(path, passed + 1, text))
                if len(kept) < room:
                    passed += piece.count(b"\n", numbered)
                yield
        if count:
            self._files += 1
            self._total += count
            self._page += ((file, replace(each, count=count) if self._by_file else each) for each in kept)

    def _wanted(self, file: FileRef) -> tuple[int, int]:
        """How many results the page still takes from *file*, and the first line that may be one."""
        path, line = self._after
        room = self._limit + 1 - len(self._page)
        if self._by_file:
            return (min(room, 1) if file.absolute > path else 0), 1
        return (room if file.absolute >= path else 0), (line + 1 if file.absolute == path else 1)

    def _add_context(self) -> Iterator[None]:
        """Read the files of the page once more, for the lines around their matches."""
        reach = self._request.context_lines
        wanted: dict[str, set[int]] = {}
        for file, found in self._page:
            wanted.setdefault(file.absolute, set()).update(range(found.line - reach, found.line + reach + 1))
        lines: dict[tuple[str, int], str] = {}
        for absolute, numbers in wanted.items():
            with suppress(NotText):
                yield from _collect(absolute, numbers, lines)
        for index, (file, found) in enumerate(self._page):
            around = [lines.get((file.absolute, found.line + step)) for step in range(-reach, reach + 1)]
            before = tuple(text for text in around[:reach] if text is not None)
            after = tuple(text for text in around[reach + 1 :] if text is not None)
            self._page[index] = file, replace(found, before=before, after=after)


def _collect(absolute: str, numbers: set[int], lines: dict[tuple[str, int], str]) -> Iterator[None]:
    """Put the lines of these *numbers*, counted from 1, into *lines*."""
    passed = 0
    with open_file(absolute) as opened:
        for piece in pieces(opened):
            count = piece.count(b"\n") + (not piece.endswith(b"\n"))
            here = [number for number in numbers if passed < number <= passed + count]
            split = piece.split(b"\n") if here else []
            for number in here:
                lines[absolute, number] = shown(split[number - passed - 1], limit_chars=LINE_CHARS)
            passed += count
            yield


def _is_of(file_type: Rules, file: FileRef) -> bool:
    return bool(file_type.verdict("", byte_view(file.path.rpartition("/")[2]), is_dir=False))
