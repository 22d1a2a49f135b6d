"""A regular expression as a tree that says which lines match, and what can be told from it.  Pure.

Which part of a line matched, and in which group, is nobody's question here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rlmd.corpus import charset
from rlmd.corpus.charset import Ranges

MOST_NEEDLES = 8
SHORTEST_NEEDLE = 2

Edge = Literal["line_start", "line_end", "word_edge", "word_inside", "ascii_word_edge", "ascii_word_inside"]


@dataclass(frozen=True, slots=True)
class Chars:
    """One character out of a set."""

    ranges: Ranges


@dataclass(frozen=True, slots=True)
class At:
    """A position, no character."""

    edge: Edge


@dataclass(frozen=True, slots=True)
class Repeat:
    """*low* to *high* times; None is without end."""

    node: Node
    low: int
    high: int | None


@dataclass(frozen=True, slots=True)
class Sequence:
    """One after the other; empty matches everywhere."""

    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Either:
    """Any of them."""

    nodes: tuple[Node, ...]


Node = Chars | At | Repeat | Sequence | Either


def character(char: str, *, ignore_case: bool = False) -> Chars:
    """The node that matches *char*, in its other cases too if so asked."""
    ranges = ((ord(char), ord(char)),)
    return Chars(charset.fold(ranges) if ignore_case else ranges)


def literal(text: str, *, ignore_case: bool = False) -> Node:
    """The tree that matches *text* as it stands."""
    return Sequence(tuple(character(char, ignore_case=ignore_case) for char in text))


def plain_text(node: Node) -> bytes | None:
    """The one text that the tree matches, as UTF-8; None where there are several, or positions."""
    match node:
        case Chars(ranges=((low, high),)) if low == high:
            return chr(low).encode()
        case Sequence(nodes=nodes):
            texts = [plain_text(each) for each in nodes]
            return None if None in texts else b"".join(text for text in texts if text is not None)
        case _:
            return None


def needles(node: Node) -> tuple[bytes, ...]:
    """Texts of which every matching line holds at least one, as UTF-8; empty when none are known."""
    text = plain_text(node)
    if text is not None:
        return (text,) if len(text) >= SHORTEST_NEEDLE else ()
    match node:
        case Sequence(nodes=nodes):
            return max(_choices(nodes), key=lambda each: min(map(len, each), default=0), default=())
        case Repeat(node=repeated, low=low) if low:
            return needles(repeated)
        case Either(nodes=nodes):
            found = [needles(each) for each in nodes]
            texts = tuple(dict.fromkeys(text for each in found for text in each))
            return texts if all(found) and len(texts) <= MOST_NEEDLES else ()
        case _:
            return ()


def _choices(nodes: tuple[Node, ...]) -> list[tuple[bytes, ...]]:
    """The needles of each stretch of a sequence; a position does not part the text around it."""
    choices, run = [], b""
    for node in nodes:
        text = plain_text(node)
        if text is not None:
            run += text
        elif not isinstance(node, At):
            choices += [needles(node), (run,)]
            run = b""
    return [each for each in (*choices, (run,)) if each and min(map(len, each)) >= SHORTEST_NEEDLE]


def has_word_edges(node: Node) -> bool:
    """Whether a position depends on what Unicode calls a word."""
    match node:
        case At(edge=edge):
            return edge in ("word_edge", "word_inside")
        case Repeat(node=repeated):
            return has_word_edges(repeated)
        case Sequence(nodes=nodes) | Either(nodes=nodes):
            return any(has_word_edges(each) for each in nodes)
        case _:
            return False


def matches_nothing(node: Node) -> bool:
    """Whether the tree matches the empty text anywhere, and so every line."""
    match node:
        case Repeat(node=repeated, low=low):
            return low == 0 or matches_nothing(repeated)
        case Sequence(nodes=nodes):
            return all(matches_nothing(each) for each in nodes)
        case Either(nodes=nodes):
            return any(matches_nothing(each) for each in nodes)
        case _:
            return False


def write(node: Node, edges: dict[Edge, str]) -> str:
    """Write the tree in the syntax that RE2 and `regex` share, positions as *edges* spells them."""
    match node:
        case Chars(ranges=ranges):
            return charset.class_text(ranges)
        case At(edge=edge):
            return edges[edge]
        case Repeat(node=repeated, low=low, high=high):
            return f"(?:{write(repeated, edges)})" + _times(low, high)
        case Sequence(nodes=nodes):
            return "".join(write(each, edges) for each in nodes)
        case Either(nodes=nodes):
            return "(?:" + "|".join(write(each, edges) for each in nodes) + ")"


def _times(low: int, high: int | None) -> str:
    match low, high:
        case 0, None:
            return "*"
        case 1, None:
            return "+"
        case 0, 1:
            return "?"
        case _:
            return f"{{{low},{'' if high is None else high}}}"
