"""Which texts a line must hold before a pattern can match it, told from the pattern's tree.  Pure.

Texts are case-folded, so that one index of folded text serves every pattern.  What is demanded is
never more than what holds: a filter by it leaves out no line that matches.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass

from rlmd.corpus.charset import Ranges
from rlmd.corpus.regex_tree import At, Chars, Either, Node, Repeat, Sequence, plain_text

SHORTEST_BYTES = 3
LONGEST_CHARS = 256
MOST_COPIES = 16
MOST_CASES = 8
MOST_TEXTS = 256
_BASIC_END = 0x1F000
"""Beyond it no character has another case."""


@dataclass(frozen=True, slots=True)
class Every:
    """All of the parts are demanded; without any, nothing is."""

    parts: tuple[Demand, ...]


@dataclass(frozen=True, slots=True)
class Some:
    """At least one of the parts is demanded."""

    parts: tuple[Demand, ...]


Demand = bytes | Every | Some

NOTHING = Every(())


def fold(text: str) -> str:
    """Fold the case of each character that has a single folded one."""
    return text.translate(_folding())


@functools.cache
def _folding() -> dict[int, str]:
    pairs = ((point, chr(point), chr(point).casefold()) for point in range(_BASIC_END))
    return {point: folded for point, char, folded in pairs if len(folded) == 1 and folded != char}


def demand(tree: Node) -> Demand:
    r"""Return what every matching line holds, as folded UTF-8 of at least three bytes each.

    A text may begin or end with "\n", which stands for the line's own beginning or end.
    """
    whole = _of((tree,))
    return whole if _count(whole) <= MOST_TEXTS else NOTHING


def _of(nodes: Iterable[Node]) -> Demand:
    texts = _Texts()
    for node in nodes:
        texts.take(node)
    texts.cut()
    return texts.found[0] if len(texts.found) == 1 else Every(tuple(texts.found))


class _Texts:
    """Reads a sequence from left to right and keeps the stretches of plain text in it."""

    def __init__(self) -> None:
        self.found: list[Demand] = []
        self._run = ""

    def cut(self, rest: str = "") -> None:
        """End the stretch in hand; what follows begins with *rest*."""
        text = self._run[:LONGEST_CHARS].encode()
        if len(text) >= SHORTEST_BYTES:
            self.found.append(text)
        self._run = rest

    def take(self, node: Node) -> None:
        match node:
            case Chars(ranges=ranges):
                self._take_character(ranges)
            case Sequence(nodes=nodes):
                for each in nodes:
                    self.take(each)
            case At(edge="line_start"):
                self.cut("\n")
            case At(edge="line_end"):
                self._run += "\n"
                self.cut("\n")
            case At():
                pass  # a position between words takes no room in the text around it
            case Repeat():
                self._take_repeat(node)
            case Either(nodes=nodes):
                self.cut()
                choices = tuple(_of((each,)) for each in nodes)
                if NOTHING not in choices:
                    self.found.append(Some(choices))

    def _take_character(self, ranges: Ranges) -> None:
        size = sum(high - low + 1 for low, high in ranges)
        folded = (
            {fold(chr(p)) for low, high in ranges for p in range(low, high + 1)} if size <= MOST_CASES else ()
        )
        if len(folded) == 1:
            self._run += folded.pop()
        else:
            self.cut()

    def _take_repeat(self, repeat: Repeat) -> None:
        if not repeat.low:
            self.cut()
            return
        is_text = isinstance(repeat.node, Chars) or plain_text(repeat.node) is not None
        for _ in range(min(repeat.low, MOST_COPIES) if is_text else 1):
            self.take(repeat.node)
        if repeat.high != repeat.low or repeat.low > (MOST_COPIES if is_text else 1):
            self.cut()
            if is_text:
                self.take(repeat.node)  # the last one stands beside what follows


def _count(demanded: Demand) -> int:
    return 1 if isinstance(demanded, bytes) else sum(map(_count, demanded.parts))
