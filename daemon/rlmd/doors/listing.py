"""What rlm_read, rlm_grep and rlm_glob found, as text: as much as fits, and how to get the rest."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import accumulate, groupby

from rlmd.answers import OutputMode
from rlmd.doors.render import cut
from rlmd.look.glob import GlobResult
from rlmd.look.page import FoundLine, GrepResult
from rlmd.look.read import ReadResult
from rlmd.sandbox.requests import ExecResult

FOOTER_CHARS = 400
"""Room kept for the last lines: counts, and a cursor, which holds a path."""
HEAD_CHARS = 120


def room_for_lines(max_chars: int) -> int:
    """Return how much of *max_chars* is left for the numbered lines of a file."""
    return max(max_chars - HEAD_CHARS, 1)


def lines(found: ReadResult, max_chars: int) -> str:
    """Write numbered lines, as `cat -n` does."""
    if not found.total_lines:
        return "The file is empty."
    if found.end_line < found.start_line:
        return f"No line there: the file has {found.total_lines:,} lines."
    head = f"Lines {found.start_line}-{found.end_line} of {found.total_lines}"
    if found.next_offset is not None:
        head += f"; the rest: offset={found.next_offset}"
    if found.line_cut:
        head += "; the last line is cut: raise max_chars"
    numbered = (f"{number}\t{line}" for number, line in enumerate(found.text.split("\n"), found.start_line))
    return cut("\n".join([f"{head}.", *numbered]), max_chars)


def fitting_matches(found: GrepResult, mode: OutputMode, max_chars: int) -> int:
    """Return how many of the matches have room in *max_chars*; one always has."""
    costs: list[int] = []
    path = None
    for match in found.matches:
        if mode == "content":
            head = 0 if match.path == path else len(match.path) + 2
            around = sum(len(line) + 10 for line in (*match.before, *match.after)) + 3
            costs.append(head + len(match.text) + 10 + around)
        else:
            costs.append(len(match.path) + 10)
        path = match.path
    return _fitting(costs, max_chars)


def matches(found: GrepResult, mode: OutputMode, max_chars: int) -> str:
    """Write matching lines below the path of their file, or one line for each file."""
    if not found.matches:
        return f"No matches{_beyond(found.total)}.{_skipped(found)}"
    match mode:
        case "content":
            body = "\n".join(_by_file(found.matches))
        case "count":
            body = "\n".join(f"{each.path}:{each.count}" for each in found.matches)
        case "files_with_matches":
            body = "\n".join(each.path for each in found.matches)
    counts = f"{found.total:,} matching lines in {found.files:,} files."
    return _with_footer(body, counts, found.next_cursor, max_chars)


def fitting_paths(found: GlobResult, max_chars: int) -> int:
    """Return how many of the paths have room in *max_chars*; one always has."""
    return _fitting([len(path) + 1 for path in found.paths], max_chars)


def paths(found: GlobResult, max_chars: int) -> str:
    """Write one path a line."""
    if not found.paths:
        return f"No file matches{_beyond(found.total)}."
    return _with_footer("\n".join(found.paths), f"{found.total:,} files.", found.next_cursor, max_chars)


def _fitting(costs: list[int], max_chars: int) -> int:
    return max(sum(total <= max_chars - FOOTER_CHARS for total in accumulate(costs)), 1)


def _with_footer(body: str, counts: str, cursor: str | None, max_chars: int) -> str:
    footer = counts if cursor is None else f"{counts} For the rest: cursor={cursor}"
    return cut(f"{cut(body, max(max_chars - len(footer) - 2, 0))}\n\n{footer}", max_chars)


def _by_file(found: Iterable[FoundLine]) -> Iterator[str]:
    for path, group in groupby(found, key=lambda match: match.path):
        yield path
        yield from _numbered(list(group))


def _numbered(found: list[FoundLine]) -> Iterator[str]:
    """Number matches with `:` and the lines around them with `-`, as grep does, each line once."""
    written: dict[int, str] = {}
    for match in found:
        for number, text in enumerate(match.before, match.line - len(match.before)):
            written[number] = f"{number}-{text}"
        for number, text in enumerate(match.after, match.line + 1):
            written[number] = f"{number}-{text}"
    has_context = bool(written)
    written |= {match.line: f"{match.line}:{match.text}" for match in found}
    previous = None
    for number in sorted(written):
        if has_context and previous is not None and number > previous + 1:
            yield "--"
        yield written[number]
        previous = number


def cell(found: ExecResult, max_chars: int) -> str:
    """Write what a cell came to: its output, head and tail, then how it ended and what it defined."""
    ends = [f"session {found.session}, {found.wall_s:.2f} s"]
    if found.killed is not None:
        ends.append(f"killed: {found.killed}; the variables are lost")
    if found.error is not None:
        ends.append(found.error.rstrip())
    if found.submitted:
        ends.append(f"answer: {json.dumps(found.answer, ensure_ascii=False)}")
    if found.variables:
        ends.append("variables: " + ", ".join(f"{v.name}: {v.type}[{v.size}]" for v in found.variables))
    tail = middle_cut("\n".join(ends), max_chars // 2)
    return "\n".join(part for part in (middle_cut(found.stdout, max_chars - len(tail) - 1), tail) if part)


def middle_cut(text: str, max_chars: int) -> str:
    """Return *text*, or its head and tail with how much is missing between, in at most *max_chars*."""
    if len(text) <= max_chars:
        return text
    mark = f"\n… [{len(text) - max_chars:,} of {len(text):,} characters left out] …\n"
    half = max(max_chars - len(mark), 0) // 2
    return f"{text[:half]}{mark}{text[len(text) - half :]}"[:max_chars]


def _beyond(total: int) -> str:
    return f" behind this cursor ({total:,} in all)" if total else ""


def _skipped(found: GrepResult) -> str:
    tally = found.skipped
    if tally is None or not tally.files + tally.dirs:
        return ""
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in tally.by_reason.items())
    return f" Not searched: {tally.files:,} files and {tally.dirs:,} directories ({reasons})."
