r"""Where the lines end that match a pattern, in bulk: the engines of exact search.  Runs in a worker process.

On ASCII lines bytes are characters, so Hyperscan, which knows only bytes, says what Unicode rules
would.  The other lines are read by `pattern`, and so is everything where Hyperscan is not
installed or does not take the pattern.  Both are linear in the text; `re` would not be.
"""

from __future__ import annotations

from array import array

import numpy as np
import numpy.typing as npt

from rlmd.corpus import charset
from rlmd.corpus.demand import Demand, demand
from rlmd.corpus.pattern import compile_tree, read_pattern
from rlmd.corpus.regex_tree import At, Chars, Edge, Either, Node, Repeat, Sequence, write

try:
    import hyperscan
except ImportError:  # no wheel for this platform: RE2 alone is exact too, two to six times slower in bulk
    hyperscan = None  # type: ignore[assignment]

MOST_POSITIONS = 2_000
"""Larger patterns may take Hyperscan seconds to compile."""

Numbers = npt.NDArray[np.int64]

_EDGES: dict[Edge, str] = {
    "line_start": "^",
    "line_end": "$",
    "word_edge": r"\b",
    "word_inside": r"\B",
    "ascii_word_edge": r"\b",
    "ascii_word_inside": r"\B",
}
_ASCII = ((0, charset.ASCII_END - 1),)
_NEVER = Either(())
"""Matches nothing, not even the empty text."""


class Matcher:
    """A pattern, ready to be run over text; `demanded` is what every matching line holds."""

    def __init__(self, pattern: str, *, ignore_case: bool, fixed_strings: bool) -> None:
        tree = read_pattern(pattern, ignore_case=ignore_case, fixed_strings=fixed_strings)
        self.demanded: Demand = demand(tree)
        self._pattern = compile_tree(tree)
        self._ascii = ascii_part(tree)
        self._program = None if self._pattern.every_line else _compile(self._ascii)

    def ends(self, text: memoryview, odd: Numbers) -> Numbers:
        r"""Return where each matching line ends, behind its "\n".

        *text* is whole lines; *odd* has start and end of those that are not ASCII.  Raises what
        `LinePattern.lines` does.
        """
        if self._pattern.every_line:
            return np.flatnonzero(np.frombuffer(text, np.uint8) == ord("\n")) + 1
        found = self._ends_by_bytes(text)
        if not len(odd):
            return found
        found = found[~np.isin(found, odd[:, 1])]
        return np.concatenate((found, self._odd_ends(text, odd)))

    def count(self, text: bytes) -> int:
        """Return how many lines of *text*, which is UTF-8, match; raises what `LinePattern.lines` does."""
        return sum(1 for _ in self._pattern.lines(text))

    def _ends_by_bytes(self, text: memoryview) -> Numbers:
        """Return the ends that hold for lines of ASCII, whatever they say of others."""
        if self._program is not None:
            return _scan(self._program, text)
        if self._ascii == _NEVER:
            return np.zeros(0, np.int64)
        return np.fromiter((end + 1 for _, end in self._pattern.lines(bytes(text))), np.int64)

    def _odd_ends(self, text: memoryview, odd: Numbers) -> Numbers:
        gathered = b"".join(text[start:end] for start, end in odd.tolist())
        begins = np.cumsum(odd[:, 1] - odd[:, 0])
        starts = np.fromiter((start for start, _ in self._pattern.lines(gathered)), np.int64)
        ends: Numbers = odd[np.searchsorted(begins, starts, "right"), 1]
        return ends


def _scan(program: hyperscan.Database, text: memoryview) -> Numbers:
    ends = array("q")
    add = ends.append
    # Its stubs know only str and bytes; it takes whatever has a buffer.
    program.scan(text, match_event_handler=lambda _id, _from, to, _flags, _context: add(to))  # type: ignore[type-var]
    return np.frombuffer(ends, np.int64) if ends else np.zeros(0, np.int64)


def _compile(tree: Node) -> hyperscan.Database | None:
    """Compile *tree* so that each line that matches is one event, at its end; None where that cannot be."""
    if hyperscan is None or tree == _NEVER or _positions(tree) > MOST_POSITIONS:
        return None
    program = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    try:
        program.compile(expressions=[line_text(tree).encode()], flags=[hyperscan.HS_FLAG_MULTILINE])
    except hyperscan.error:  # positions in the middle, or too large
        return None
    return program


def ascii_part(tree: Node) -> Node:
    """Return what of *tree* can match in a line that is all ASCII; an empty `Either` when nothing can."""
    match tree:
        case Chars(ranges=ranges):
            kept = charset.intersection(ranges, _ASCII)
            return Chars(kept) if kept else _NEVER
        case Sequence(nodes=nodes):
            parts = tuple(map(ascii_part, nodes))
            return _NEVER if _NEVER in parts else Sequence(parts)
        case Either(nodes=nodes):
            return Either(tuple(part for part in map(ascii_part, nodes) if part != _NEVER))
        case Repeat(node=node, low=low, high=high):
            part = ascii_part(node)
            if part != _NEVER:
                return Repeat(part, low, high)
            return _NEVER if low else Sequence(())
        case _:
            return tree


def line_text(tree: Node) -> str:
    r"""Write *tree* and the rest of its line, "\n" included: all matches of a line end at one place.

    An edge of the line at the end becomes the line end itself, since engines allow none in the middle.
    """
    match tree:
        case At(edge="line_end"):
            return r"\n"
        case Sequence(nodes=(*before, last)):
            return write(Sequence(tuple(before)), _EDGES) + line_text(last)
        case Either(nodes=nodes):
            return "(?:" + "|".join(map(line_text, nodes)) + ")"
        case _:
            return write(tree, _EDGES) + r"[^\n]*\n"


def _positions(tree: Node) -> int:
    match tree:
        case Repeat(node=node, low=low, high=high):
            return _positions(node) * max(low, high or 1, 1)
        case Sequence(nodes=nodes) | Either(nodes=nodes):
            return sum(map(_positions, nodes))
        case _:
            return 1
