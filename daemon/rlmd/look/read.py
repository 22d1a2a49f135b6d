"""Lines of one file as it is now."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import trio

from rlmd.answers import ReadRequest
from rlmd.errors import BadArgument, NotFound, OutsideRoots
from rlmd.ingest.globs import byte_view
from rlmd.ingest.ignore import Rules
from rlmd.look.steps import in_steps
from rlmd.look.texts import NotText, open_file, pieces
from rlmd.roots import relative_to
from rlmd.values import WalkRules

LINE_MARGIN_CHARS = 8
"""What a reader's line number may add to each line."""


@dataclass(frozen=True, slots=True)
class ReadResult:
    """Lines `start_line` to `end_line` (counted from 1, both included) out of `total_lines`.

    `end_line` is before `start_line` where there is none to show.  `next_offset` is what to ask
    for next, None at the end of the file; `line_cut` says that the last line shown is longer.
    """

    path: str
    text: str
    start_line: int
    end_line: int
    total_lines: int
    truncated: bool
    next_offset: int | None
    line_cut: bool


async def read(
    request: ReadRequest, path: str, *, rules: WalkRules, workspace: str | None, limiter: trio.CapacityLimiter
) -> ReadResult:
    """Read lines of *path*, resolved and allowed, as many as `request` and its `max_chars` have room for.

    The file is streamed to its end, to count its lines, and never held whole.  UTF-16 with a byte
    order mark is transcoded; what is not UTF-8 shows as U+FFFD.  Cancelling returns at once.
    Raises BadArgument for what is no text, OutsideRoots for a file that counts as secret.
    """
    if request.offset < 0 or (request.limit is not None and request.limit < 1) or request.max_chars < 1:
        raise BadArgument("offset starts at 0, limit and max_chars at 1")
    window = _Window(request.offset, request.limit, request.max_chars)
    await in_steps(_fill(window, request.path, path, workspace, rules), limiter=limiter)
    end = request.offset + len(window.lines)
    return ReadResult(
        path=window.path,
        text="\n".join(window.lines),
        start_line=request.offset + 1,
        end_line=end,
        total_lines=window.passed,
        truncated=end < window.passed or window.line_cut,
        next_offset=end if window.lines and end < window.passed else None,
        line_cut=window.line_cut,
    )


def _fill(window: _Window, asked: str, path: str, workspace: str | None, rules: WalkRules) -> Iterator[None]:
    window.path = relative_to(path, None if workspace is None else os.path.realpath(workspace))
    if os.path.isdir(path):
        raise BadArgument(f"{asked} is a directory", "rlm_glob lists the files in it.")
    parent, name = os.path.split(path)
    if Rules.from_globs(rules.secret).verdict(byte_view(f"{parent[1:]}/"), byte_view(name), is_dir=False):
        raise OutsideRoots(
            f"{asked} counts as secret", "privacy.exclude in the settings says which files do."
        )
    try:
        with open_file(path) as file:
            for piece in pieces(file):
                window.pass_over(piece)
                yield
    except NotText as not_text:
        raise _refusal(asked, not_text) from not_text


def _refusal(asked: str, not_text: NotText) -> BadArgument | NotFound:
    match not_text.reason:
        case "vanished":
            return NotFound(f"{asked} vanished while it was opened")
        case "binary":
            return BadArgument(f"{asked} is binary: it holds a NUL byte", "Only text can be read by lines.")
        case "special":
            return BadArgument(f"{asked} is a FIFO, socket or device", "Only regular files can be read.")
        case "too_large":
            return BadArgument(f"{asked} holds a line over 64 MiB", "Only text can be read by lines.")
        case _:
            return BadArgument(f"{asked} cannot be read by this user", "Check its permissions.")


class _Window:
    """The lines wanted out of a stream of pieces, and the count of all that went by."""

    def __init__(self, offset: int, limit: int | None, max_chars: int) -> None:
        self.path = ""
        self.lines: list[str] = []
        self.passed = 0
        self.line_cut = False
        self._offset, self._limit, self._room = offset, limit, max_chars

    def pass_over(self, piece: bytes) -> None:
        """Take what is wanted of *piece*, whole lines that follow what went by."""
        count = piece.count(b"\n") + (not piece.endswith(b"\n"))
        if self.passed + count > self._offset and not self._is_full():
            first = max(0, self._offset - self.passed)
            for line in piece.split(b"\n", count - 1 if piece[-1:] != b"\n" else count)[first:count]:
                if not self._take(line):
                    break
        self.passed += count

    def _is_full(self) -> bool:
        return self._room <= 0 or (self._limit is not None and len(self.lines) >= self._limit)

    def _take(self, line: bytes) -> bool:
        """Add one line and say whether there may be room for another; a first line is cut to fit."""
        if self._is_full():
            return False
        text = line[: 4 * self._room].decode("utf-8", "replace")
        fits = len(line) <= 4 * self._room and len(text) + LINE_MARGIN_CHARS <= self._room
        if not fits and self.lines:
            self._room = 0
            return False
        self.line_cut = not fits and len(text) > self._room
        self.lines.append(text[: self._room])
        self._room -= len(text) + LINE_MARGIN_CHARS
        return self._room > 0
