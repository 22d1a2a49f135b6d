"""JSON with comments, edited in place: what an edit does not speak of keeps its every byte.  No I/O.

Settings of editors are JSON with `//` and `/* */` comments and commas after the last member.  A
library that reads and writes them anew would lose what people wrote between the values, so an edit
here is a splice: the text is parsed for where each value lies, and one stretch of it is replaced.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]

TRIVIA = re.compile(r"(?:[ \t\r\n]+|//[^\r\n]*|/\*.*?\*/)*", re.DOTALL)
COMMENT_BEHIND = re.compile(r"[ \t]*(?://[^\r\n]*|/\*[^\r\n]*?\*/)?(?=[ \t]*[\r\n])")
STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
SCALAR = re.compile(r"true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?")
DEEPEST = 200
BOM = "\ufeff"


class NotJson(Exception):
    """The text is no JSON, comments allowed; `line` is where that shows, from 1."""

    def __init__(self, text: str, at: int, wanted: str) -> None:
        self.line = text.count("\n", 0, at) + 1
        super().__init__(f"line {self.line}: {wanted}")


class NotAnObject(Exception):
    """An edit leads through a value that is no object; the text says which."""


@dataclass(slots=True)
class Node:
    """A value, where it lies in the text, and, for an object, its members by name."""

    start: int
    end: int
    value: Json
    members: dict[str, Member] = field(default_factory=dict)


@dataclass(slots=True)
class Member:
    """One member of an object; `start` is that of its name, `comma` that of the comma behind it."""

    start: int
    node: Node
    comma: int | None = None


def loads(text: str) -> Json:
    """Return the value that *text* stands for, None for an empty text; raise NotJson."""
    root = _Parser(text).document()
    return None if root is None else root.value


def put(text: str, path: Sequence[str], value: Json) -> str:
    """Return *text* with *value* at *path*, objects made on the way; all else stays as it was.

    Of a name that stands twice in one object the last is meant, as every reader takes it.  Raises
    NotJson, or NotAnObject where something on the way is another kind of value.
    """
    root = _Parser(text).document()
    if root is None:
        return f"{text}{json.dumps(_nested(path, value), indent=2, ensure_ascii=False)}\n"
    node, depth = _descend(root, path)
    if depth == len(path):
        if json.dumps(node.value) == json.dumps(value):
            return text
        return text[: node.start] + _written(text, node.start, value, _unit(text, root)) + text[node.end :]
    if not isinstance(node.value, dict):
        raise NotAnObject(".".join(path[:depth]) or "the whole")
    return _insert(text, node, path[depth], _nested(path[depth + 1 :], value), _unit(text, root))


def drop(text: str, path: Sequence[str]) -> str:
    """Return *text* without the member at *path*; unchanged where there is none.  Raises NotJson."""
    root = _Parser(text).document()
    if root is None:
        return text
    holder, depth = _descend(root, path[:-1])
    if depth < len(path) - 1 or path[-1] not in holder.members:
        return text
    member = holder.members[path[-1]]
    start, end = member.start, member.node.end
    if member.comma is not None:
        between = text[end : member.comma]
        shorter = text[:end] + between + text[member.comma + 1 :]
    else:
        before = [
            other for other in holder.members.values() if other.start < start and other.comma is not None
        ]
        comma = max((other.comma for other in before if other.comma is not None), default=None)
        shorter = text
        if comma is not None:
            shorter, start, end = text[:comma] + text[comma + 1 :], start - 1, end - 1
    return _without(shorter, start, end)


def _descend(root: Node, path: Sequence[str]) -> tuple[Node, int]:
    """Follow *path* as far as it leads; return the last value on it and how many names led there."""
    node = root
    for depth, name in enumerate(path):
        if (member := node.members.get(name)) is None:
            return node, depth
        node = member.node
    return node, len(path)


def _nested(path: Sequence[str], value: Json) -> Json:
    for name in reversed(path):
        value = {name: value}
    return value


def _without(text: str, start: int, end: int) -> str:
    """Cut text[start:end], and the line with it where nothing else is on it."""
    left, right = start, end
    while left and text[left - 1] in " \t":
        left -= 1
    while right < len(text) and text[right] in " \t\r":
        right += 1
    if (not left or text[left - 1] == "\n") and text[right : right + 1] == "\n":
        return text[:left] + text[right + 1 :]
    return text[:start] + text[end:]


def _insert(text: str, holder: Node, name: str, value: Json, unit: str) -> str:
    """Add a member behind the last one of the object *holder*, as the others are laid out."""
    newline = "\r\n" if "\r\n" in text else "\n"
    several_lines = "\n" in text[holder.start : holder.end] or not holder.members
    outer = _indent(text, holder.start)
    inner = _indent(text, next(iter(holder.members.values())).start) if holder.members else outer + unit
    inner = inner if len(inner) > len(outer) else outer + unit
    written = json.dumps(value, indent=unit if several_lines else None, ensure_ascii=False)
    written = written.replace("\n", newline + inner)
    member = f"{json.dumps(name, ensure_ascii=False)}: {written}"
    if not holder.members:
        inside = text[holder.start + 1 : holder.end - 1].rstrip()
        closing = text[holder.end - 1 :]
        return f"{text[: holder.start + 1]}{inside}{newline}{inner}{member}{newline}{outer}{closing}"
    last = max(holder.members.values(), key=lambda each: each.start)
    behind = last.node.end if last.comma is None else last.comma + 1
    comma = "," if last.comma is None else ""
    if several_lines:
        comment = COMMENT_BEHIND.match(text, behind)
        at = comment.end() if comment else behind
        trailing = "" if last.comma is None else ","
        return f"{text[:behind]}{comma}{text[behind:at]}{newline}{inner}{member}{trailing}{text[at:]}"
    return f"{text[:behind]}{comma} {member}{text[behind:]}"


def _written(text: str, at: int, value: Json, unit: str) -> str:
    newline = "\r\n" if "\r\n" in text else "\n"
    return json.dumps(value, indent=unit, ensure_ascii=False).replace("\n", newline + _indent(text, at))


def _indent(text: str, at: int) -> str:
    """Return the white space that the line of *at* begins with."""
    begin = text.rfind("\n", 0, at) + 1
    return text[begin : begin + len(text[begin:at]) - len(text[begin:at].lstrip(" \t"))]


def _unit(text: str, root: Node) -> str:
    """Return one step of indentation, as the members of the whole have it."""
    for member in root.members.values():
        if found := _indent(text, member.start):
            return found
    return "  "


class _Parser:
    """Finds the values of one text."""

    def __init__(self, text: str) -> None:
        self._text = text

    def document(self) -> Node | None:
        """Return the one value of the text, None where there is nothing but comments."""
        at = self._skip(1 if self._text.startswith(BOM) else 0)
        if at == len(self._text):
            return None
        node = self._value(at, 0)
        if (rest := self._skip(node.end)) < len(self._text):
            raise NotJson(self._text, rest, "something follows the end")
        return node

    def _skip(self, at: int) -> int:
        found = TRIVIA.match(self._text, at)
        return found.end() if found else at

    def _value(self, at: int, depth: int) -> Node:
        if depth > DEEPEST:
            raise NotJson(self._text, at, f"nested more than {DEEPEST} deep")
        match self._text[at : at + 1]:
            case "{":
                return self._object(at, depth)
            case "[":
                return self._array(at, depth)
            case '"':
                name, end = self._string(at)
                return Node(at, end, name)
        if (found := SCALAR.match(self._text, at)) is None:
            raise NotJson(self._text, at, "a value is wanted here")
        return Node(at, found.end(), json.loads(found[0]))

    def _string(self, at: int) -> tuple[str, int]:
        found = STRING.match(self._text, at)
        try:
            if found is not None:
                return str(json.loads(found[0])), found.end()
        except ValueError:
            pass  # an escape that JSON does not know: said below
        raise NotJson(self._text, at, "a text in double quotes is wanted here")

    def _object(self, start: int, depth: int) -> Node:
        node = Node(start, start, {})
        values: dict[str, Json] = {}
        at = self._skip(start + 1)
        while self._text[at : at + 1] != "}":
            name, end = self._string(at)
            colon = self._skip(end)
            if self._text[colon : colon + 1] != ":":
                raise NotJson(self._text, colon, "a colon is wanted here")
            value = self._value(self._skip(colon + 1), depth + 1)
            member = Member(at, value)
            node.members.pop(name, None)
            node.members[name] = member
            values[name] = value.value
            at, member.comma = self._behind(value.end, "}")
        node.value, node.end = values, at + 1
        return node

    def _array(self, start: int, depth: int) -> Node:
        values: list[Json] = []
        at = self._skip(start + 1)
        while self._text[at : at + 1] != "]":
            value = self._value(at, depth + 1)
            values.append(value.value)
            at, _ = self._behind(value.end, "]")
        return Node(start, at + 1, values)

    def _behind(self, at: int, closing: str) -> tuple[int, int | None]:
        """Return where the next value, or *closing*, is, and where the comma before it."""
        at = self._skip(at)
        if self._text[at : at + 1] == ",":
            return self._skip(at + 1), at
        if self._text[at : at + 1] != closing:
            raise NotJson(self._text, at, f"a comma or {closing} is wanted here")
        return at, None


def comments(text: str) -> Mapping[str, int]:
    """Count the comments of *text*, each by its words."""
    counts: dict[str, int] = {}
    for found in re.finditer(r'"(?:[^"\\]|\\.)*"|(//[^\r\n]*|/\*.*?\*/)', text, re.DOTALL):
        if found[1]:
            counts[found[1]] = counts.get(found[1], 0) + 1
    return counts
