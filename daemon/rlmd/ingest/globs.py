"""Globs as ripgrep's ignore files take them, made into regular expressions.  Pure.

The dialect is globset's with literal separators: `?` and `*` stay within one path component, `**`
alone in a component spans any number, `{a,b}` are alternatives, a backslash escapes except inside
a class.  A class never matches a separator, as git has it.  Globs and paths are compared byte by
byte, as both tools do: pass them through `byte_view` first.

A hostile glob must not stall a walk, so nothing here backtracks over an earlier star: between
stars the leftmost match is always good enough, which an atomic group says (as `fnmatch` does).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from itertools import groupby, pairwise

MOST_ALTERNATIVES = 256
_PATH_PART = "(?:[^/]*/)*"


class BadGlob(ValueError):
    """The glob does not parse; ripgrep warns and does without it, and so do we."""


class Wild(Enum):
    """The parts of a glob that are not characters."""

    STAR = auto()
    SEPARATOR = auto()


@dataclass(frozen=True, slots=True)
class Single:
    """A regular expression for exactly one character other than the separator."""

    regex: str


Token = str | Wild | Single
ANY_DEPTH: list[Token] = [Wild.STAR, Wild.STAR]


def byte_view(text: str) -> str:
    """Return *text* with one character per byte of its UTF-8; ASCII comes back unchanged."""
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("latin-1")


def expand_braces(glob: str) -> list[str]:
    """Return the globs that *glob* stands for, one per choice of its alternatives.

    Raises BadGlob for braces that do not pair and for more than `MOST_ALTERNATIVES` choices.
    """
    done: list[str] = []
    todo = [glob]
    while todo:
        candidate = todo.pop()
        group = _first_group(candidate)
        if group is None:
            done.append(candidate)
        else:
            start, end, choices = group
            todo += [_join(_join(candidate[:start], choice), candidate[end:]) for choice in reversed(choices)]
        if len(done) + len(todo) > MOST_ALTERNATIVES:
            raise BadGlob(glob)
    return done


def _join(left: str, right: str) -> str:
    """Join two pieces of a glob; stars that only meet here are one star, not a `**`."""
    meet = left.endswith("*") and not left.endswith("\\*")
    return left + (right.lstrip("*") if meet else right)


def _first_group(glob: str) -> tuple[int, int, list[str]] | None:
    """Find the first outermost `{…}`: where it starts, where it ends, what it offers."""
    start, depth, cuts = 0, 0, list[int]()
    for position, character in _unquoted(glob):
        if character == "{":
            if depth == 0:
                start, cuts = position, [position]
            depth += 1
        elif character == "}":
            depth -= 1
            if depth < 0:
                raise BadGlob(glob)
            if depth == 0:
                cuts.append(position)
                choices = [glob[a + 1 : b] for a, b in pairwise(cuts)]
                return start, position + 1, choices
        elif character == "," and depth == 1:
            cuts.append(position)
    if depth:
        raise BadGlob(glob)
    return None


def _unquoted(glob: str) -> Iterator[tuple[int, str]]:
    """Yield the characters that are neither escaped nor inside a class, with their positions."""
    position = 0
    while position < len(glob):
        character = glob[position]
        if character == "\\":
            position += 2
            continue
        if character == "[":
            position = _class_end(glob, position) + 1
            continue
        yield position, character
        position += 1


def _class_end(glob: str, start: int) -> int:
    """Return where the class that opens at *start* closes; a `]` that comes first is a member."""
    first = start + 1
    if glob[first : first + 1] in ("!", "^"):
        first += 1
    end = glob.find("]", first + 1)
    if end < 0:
        raise BadGlob(glob)
    return end


def tokenize(glob: str) -> list[Token]:
    """Split a glob without braces into literal characters and the rest; raises BadGlob."""
    tokens: list[Token] = []
    position = 0
    while position < len(glob):
        character = glob[position]
        if character == "\\":
            position += 1
            if position == len(glob):
                raise BadGlob(glob)
            tokens.append(Wild.SEPARATOR if glob[position] == "/" else glob[position])
        elif character == "[":
            end = _class_end(glob, position)
            tokens.append(Single(_class_regex(glob, glob[position + 1 : end])))
            position = end
        elif character == "?":
            tokens.append(Single("[^/]"))
        elif character == "*":
            tokens.append(Wild.STAR)
        elif character == "/":
            tokens.append(Wild.SEPARATOR)
        else:
            tokens.append(character)
        position += 1
    return tokens


def _class_regex(glob: str, body: str) -> str:
    """Return the regex of a class's *body*; ranges that run backwards are an error."""
    negated = body[:1] in ("!", "^")
    members = body[1:] if negated else body
    parts = []
    position = 0
    while position < len(members):
        low = high = members[position]
        if members[position + 1 : position + 2] == "-" and position + 2 < len(members):
            high = members[position + 2]
            position += 2
        if low > high:
            raise BadGlob(glob)
        parts.append(f"{re.escape(low)}-{re.escape(high)}")
        position += 1
    return f"(?!/)[{'^' if negated else ''}{''.join(parts)}]"


def components(tokens: list[Token]) -> list[list[Token]]:
    """Split *tokens* at the separators."""
    parts: list[list[Token]] = [[]]
    for token in tokens:
        if token is Wild.SEPARATOR:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def literal(tokens: list[Token]) -> str | None:
    """Return the one text that *tokens* match, or None if there are several."""
    if any(isinstance(token, Single) or token is Wild.STAR for token in tokens):
        return None
    return "".join("/" if isinstance(token, Wild) else str(token) for token in tokens)


def component_regex(tokens: list[Token]) -> str:
    """Return a regex that matches one path component as *tokens* say."""
    runs = [
        None if star else "".join(_one(token) for token in run)
        for star, run in groupby(tokens, lambda token: token is Wild.STAR)
    ]
    regex = ""
    for index, run in enumerate(runs):
        if run is None:
            if index == len(runs) - 1:
                regex += "[^/]*"
        elif index == 0:
            regex += run
        elif index == len(runs) - 1:
            regex += f"[^/]*{run}"
        else:
            regex += f"(?>[^/]*?{run})"
    return regex


def _one(token: Token) -> str:
    return token.regex if isinstance(token, Single) else re.escape(str(token))


def path_regex(parts: list[list[Token]]) -> str:
    """Return a regex that matches a whole relative path, component by component, as *parts* say."""
    chunks: list[list[str]] = [[]]
    for part in parts:
        if part == ANY_DEPTH:
            chunks.append([])
        else:
            chunks[-1].append(component_regex(part))
    head, *rest = ["/".join(chunk) for chunk in chunks]
    if not rest:
        return head
    *middle, last = rest
    regex = f"{head}/" if chunks[0] else ""
    for chunk in filter(None, middle):
        regex += f"(?>{_PATH_PART}?{chunk}/)"
    return regex + (_PATH_PART + last if chunks[-1] else ".+")


def parent_regex(parts: list[list[Token]]) -> str:
    """Return a regex that matches every directory in which a path like *parts* can lie; "" is the top."""
    above = parts[:-1]
    closed = len(above)
    while closed and above[closed - 1] == ANY_DEPTH:
        closed -= 1
    if not closed:
        return ".*"
    return path_regex(above[:closed]) + ("" if closed == len(above) else "(?:/.*)?")
