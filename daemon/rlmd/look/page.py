"""One page of matches, and the counts over all pages, gathered from texts in the order of their paths."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

from rlmd.answers import GrepRequest
from rlmd.corpus.pattern import LinePattern
from rlmd.errors import BadArgument
from rlmd.look.paging import checked_limit, cursor_after, place_of
from rlmd.look.texts import NotText, Opener, pieces, shown
from rlmd.values import SkipTally

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
    `skipped` says what was not searched, None where nobody counted it.
    """

    matches: tuple[FoundLine, ...]
    files: int
    total: int
    truncated: bool
    next_cursor: str | None
    skipped: SkipTally | None


@dataclass(frozen=True, slots=True)
class Text:
    """A file to be searched: where it is, how it is shown, and how its content is opened."""

    absolute: str
    shown: str
    open: Opener


class Page:
    """The matches that one answer shows: as many as its limit, behind its cursor."""

    def __init__(self, request: GrepRequest) -> None:
        if not 0 <= request.context_lines <= MOST_CONTEXT_LINES:
            raise BadArgument(f"context_lines must be from 0 to {MOST_CONTEXT_LINES}")
        self._context = request.context_lines
        self._by_file = request.output_mode != "content"
        self._limit = checked_limit(request.limit, DEFAULT_LIMIT)
        self._after = place_of(request.cursor)
        self._lines: list[tuple[Text, FoundLine]] = []  # one more than the limit where there is a next page
        self._files = self._total = 0

    def search(self, text: Text, pattern: LinePattern, *, count: int | None = None) -> Iterator[None]:
        """Search *text*, which comes after those before; yields wherever it may pause.

        With *count*, the number of its matching lines, no more is read than the page shows.  Raises
        what opening and reading do, and nothing of the text then counts.
        """
        room, first_line = self._wanted(text.absolute)
        found = _Matches(text.shown, room, first_line)
        if count is None or room:
            yield from found.find(text, pattern, until_full=count is not None)
        count = found.count if count is None else count
        if count:
            self._files += 1
            self._total += count
            kept = (replace(each, count=count) if self._by_file else each for each in found.kept)
            self._lines += ((text, each) for each in kept)

    def add_context(self) -> Iterator[None]:
        """Read the texts of the page once more, for the lines around their matches; may pause."""
        del self._lines[self._limit + 1 :]
        if not self._context:
            return
        wanted: dict[Text, set[int]] = {}
        for text, found in self._lines:
            around = range(found.line - self._context, found.line + self._context + 1)
            wanted.setdefault(text, set()).update(around)
        lines: dict[tuple[Text, int], str] = {}
        for text, numbers in wanted.items():
            with suppress(NotText):
                yield from _collect(text, numbers, lines)
        for index, (text, found) in enumerate(self._lines):
            steps = range(1, self._context + 1)
            before = [lines.get((text, found.line - step)) for step in reversed(steps)]
            after = [lines.get((text, found.line + step)) for step in steps]
            shown_around = [tuple(each for each in side if each is not None) for side in (before, after)]
            self._lines[index] = text, replace(found, before=shown_around[0], after=shown_around[1])

    def result(self, skipped: SkipTally | None) -> GrepResult:
        """Return the page and the counts, once every text is searched."""
        page, truncated = self._lines[: self._limit], len(self._lines) > self._limit
        cursor = cursor_after((page[-1][0].absolute, page[-1][1].line)) if truncated else None
        matches = tuple(line for _, line in page)
        return GrepResult(matches, self._files, self._total, truncated, cursor, skipped)

    def _wanted(self, absolute: str) -> tuple[int, int]:
        """How many results the page still takes from a file, and the first line that may be one."""
        path, line = self._after
        room = self._limit + 1 - len(self._lines)
        if self._by_file:
            return (min(room, 1) if absolute > path else 0), 1
        return (room if absolute >= path else 0), (line + 1 if absolute == path else 1)


class _Matches:
    """The first *room* matching lines of a text, from *first_line* on, and the count of all."""

    def __init__(self, path: str, room: int, first_line: int) -> None:
        self.kept: list[FoundLine] = []
        self.count = 0
        self._path, self._room, self._first_line = path, room, first_line

    def find(self, text: Text, pattern: LinePattern, *, until_full: bool) -> Iterator[None]:
        """Read *text*, to its end or until there is no room; yields wherever it may pause."""
        passed = 0
        with text.open() as opened:
            for piece in pieces(opened):
                numbered = 0  # bytes of the piece whose lines are in `passed`
                for start, end in pattern.lines(piece):
                    self.count += 1
                    if not self.count % PAUSE_LINES:
                        yield
                    if len(self.kept) < self._room:
                        passed += piece.count(b"\n", numbered, start)
                        numbered = start
                        self._keep(passed + 1, piece[start:end])
                    elif until_full:
                        return
                if len(self.kept) < self._room:
                    passed += piece.count(b"\n", numbered)
                yield

    def _keep(self, number: int, line: bytes) -> None:
        if number >= self._first_line:
            self.kept.append(FoundLine(self._path, number, shown(line, limit_chars=LINE_CHARS)))


def _collect(text: Text, numbers: set[int], lines: dict[tuple[Text, int], str]) -> Iterator[None]:
    """Put the lines of these *numbers*, counted from 1, into *lines*."""
    passed = 0
    with text.open() as opened:
        for piece in pieces(opened):
            count = piece.count(b"\n") + (not piece.endswith(b"\n"))
            here = [number for number in numbers if passed < number <= passed + count]
            split = piece.split(b"\n") if here else []
            for number in here:
                lines[text, number] = shown(split[number - passed - 1], limit_chars=LINE_CHARS)
            passed += count
            yield
