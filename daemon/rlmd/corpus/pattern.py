r"""Which lines of a text match a pattern, exactly as ripgrep would say.

A pattern is Rust-regex text.  It becomes a tree (`regex_syntax`), the tree becomes a program of
RE2, which is linear in the text and runs without the interpreter's lock.  RE2 knows only ASCII
words, so `\b` and `\B` on lines with other bytes are decided by `regex`, under a deadline.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import re2
import regex  # type: ignore[import-untyped]

from rlmd.corpus import charset
from rlmd.corpus.regex_syntax import parse
from rlmd.corpus.regex_tree import (
    Edge,
    Node,
    has_word_edges,
    literal,
    matches_nothing,
    needles,
    plain_text,
    write,
)
from rlmd.errors import BadArgument

ENGINE_BYTES = 64 << 20
LONGEST_PATTERN = 64 << 10
WASTED_TRY_BYTES = 1 << 10  # what the engine scans in the time of one line tried in vain
FREE_TRIES_BYTES = 4 << 10
WORD_LINE_S = 0.05  # what `regex` may spend on one line

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class LinePattern:
    """A pattern, ready to be run over texts; may be shared between threads."""

    needles: tuple[bytes, ...]
    """Every matching line holds one of these; empty when nothing is known."""
    every_line: bool
    _program: re2._Regexp | None
    """Matches from the first match of a line to its end; None when the one needle says it all."""
    _words: _WordEdges | None

    def lines(self, text: bytes) -> Iterator[Span]:
        r"""Yield where each matching line starts and ends (without its "\n"), in order.

        *text* begins at the beginning of a line; "\n" ends one.  Raises BadArgument when a line
        is too hard for `\b` beside non-ASCII letters.
        """
        if self.every_line:
            return _all_lines(text)
        if self.needles and not any(needle in text for needle in self.needles):
            return iter(())
        if self._words is not None and not text.isascii():
            return self._words.lines(text)
        if self._program is None or len(self.needles) == 1:
            return self._lines_by_needle(text, self.needles[0])
        return _lines_by_program(self._program, text)

    def _lines_by_needle(self, text: bytes, needle: bytes) -> Iterator[Span]:
        program, start, in_vain = self._program, 0, 0
        while (found := text.find(needle, start)) >= 0:
            start = text.rfind(b"\n", start, found) + 1 or start
            end = text.find(b"\n", found)
            end = len(text) if end < 0 else end
            if program is None or program.search(text, start, end):
                yield start, end
            else:
                in_vain += 1
            start = end + 1
            if program is not None and in_vain * WASTED_TRY_BYTES > start + FREE_TRIES_BYTES:
                yield from ((start + a, start + b) for a, b in _lines_by_program(program, text[start:]))
                return


@dataclass(frozen=True, slots=True)
class _WordEdges:
    r"""A pattern with `\b` or `\B`, for texts that are not all ASCII."""

    superset: re2._Regexp
    """The pattern as if its word edges held everywhere."""
    ascii: re2._Regexp
    unicode: regex.Pattern[str]

    def lines(self, text: bytes) -> Iterator[Span]:
        for start, end in _lines_by_program(self.superset, text):
            line = text[start:end]
            if line.isascii():
                if self.ascii.search(line):
                    yield start, end
            elif self._matches(line.decode("utf-8", "surrogateescape")):
                yield start, end

    def _matches(self, line: str) -> bool:
        try:
            return self.unicode.search(line, timeout=WORD_LINE_S, concurrent=True) is not None
        except TimeoutError:
            raise BadArgument(
                "pattern takes too long on a line that is not ASCII",
                r"Leave out \b and \B, or write (?-u:\b) for ASCII words.",
            ) from None


def _all_lines(text: bytes) -> Iterator[Span]:
    start = 0
    while (end := text.find(b"\n", start)) >= 0:
        yield start, end
        start = end + 1
    if start < len(text):
        yield start, len(text)


def _lines_by_program(program: re2._Regexp, text: bytes) -> Iterator[Span]:
    size, line_end = len(text), -1
    for found in program.finditer(text):
        at = found.start()
        if at <= line_end:
            continue
        if at == size and (not size or text[-1] == ord("\n")):
            return  # an empty match behind the last line is on no line
        start = text.rfind(b"\n", line_end + 1, at) + 1 or line_end + 1
        line_end = text.find(b"\n", at)
        line_end = size if line_end < 0 else line_end
        yield start, line_end


def compile_pattern(pattern: str, *, ignore_case: bool = False, fixed_strings: bool = False) -> LinePattern:
    """Read and compile *pattern*, as plain text with *fixed_strings*.

    Takes milliseconds, some 30 more for a Unicode property not met before.  Raises BadArgument
    that says what is wrong and where: syntax, look-around, back-references, line ends, size.
    """
    return compile_tree(read_pattern(pattern, ignore_case=ignore_case, fixed_strings=fixed_strings))


def read_pattern(pattern: str, *, ignore_case: bool, fixed_strings: bool) -> Node:
    """Read *pattern* into the tree that `compile_tree` compiles; raises BadArgument as `compile_pattern`."""
    if len(pattern) > LONGEST_PATTERN or any("\ud800" <= char <= "\udfff" for char in pattern):
        raise BadArgument("pattern is no text of at most 65,536 characters")
    if fixed_strings and "\n" in pattern:
        raise BadArgument("pattern holds a line end: the search goes line by line")
    if fixed_strings:
        return literal(pattern, ignore_case=ignore_case)
    return parse(pattern, ignore_case=ignore_case)


def compile_tree(tree: Node) -> LinePattern:
    """Compile what `read_pattern` read; raises BadArgument for one that is too large."""
    found = needles(tree)
    if found and plain_text(tree) == found[0]:
        return LinePattern(found, every_line=False, _program=None, _words=None)
    words = _word_edges(tree) if has_word_edges(tree) else None
    return LinePattern(found, matches_nothing(tree), _program(tree, _RE2), words)


def _word_edges(tree: Node) -> _WordEdges:
    word = charset.class_text(charset.word())
    edge = f"(?:(?<={word})(?!{word})|(?<!{word})(?={word}))"
    inside = f"(?:(?<={word})(?={word})|(?<!{word})(?!{word}))"
    ascii_word = r"[0-9A-Za-z_]"
    spelled: dict[Edge, str] = {
        "line_start": r"\A",
        "line_end": r"\Z",
        "word_edge": edge,
        "word_inside": inside,
        "ascii_word_edge": edge.replace(word, ascii_word),
        "ascii_word_inside": inside.replace(word, ascii_word),
    }
    superset: dict[Edge, str] = {**_RE2, "word_edge": "", "word_inside": ""}
    return _WordEdges(_program(tree, superset), _program(tree, _RE2), regex.compile(write(tree, spelled)))


def _program(tree: Node, edges: dict[Edge, str]) -> re2._Regexp:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = ENGINE_BYTES
    options.never_capture = True
    try:
        return re2.compile(f"(?m)(?:{write(tree, edges)})[^\n]*", options)
    except re2.error as refused:
        why = refused.args[0].decode() if isinstance(refused.args[0], bytes) else str(refused)
        raise BadArgument(
            f"pattern is too large: {why.partition(':')[0]}", "Repeat less, or use smaller classes."
        ) from None
    finally:
        re2.purge()  # its cache would keep megabytes for each pattern ever asked


_RE2: dict[Edge, str] = {
    "line_start": "^",
    "line_end": "$",
    "word_edge": r"\b",
    "word_inside": r"\B",
    "ascii_word_edge": r"\b",
    "ascii_word_inside": r"\B",
}
