"""What a file defines and where it mentions a name: by its grammar, or by the looks of its lines.

Runs in a worker process, which a hostile file may kill.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Literal, NamedTuple

from tree_sitter import Node

from rlmd.corpus.cuts import definitions, lines_of, style_of
from rlmd.corpus.grammars import GRAMMARS, language_of, parser_for
from rlmd.corpus.pack import pread
from rlmd.corpus.text import decode
from rlmd.values import Span, TextEncoding

Want = Literal["definitions", "references"]

PARSED_BYTES = 2 << 20
"""Longer files are generated or data, and are looked at line by line."""
MOST_SYMBOLS = 5000
SIGNATURE_CHARS = 160
LINE_CHARS = 500
_CLIMB = 6
"""So far above a name the node that it names may be: behind pointers and parameters in C."""
_INSIDE = frozenset({"function", "method"})
_VALUES = frozenset({"variable", "constant"})
_UNSAID = ("comment", "string", "char", "heredoc", "regex")
_NAME = re.compile(rb"[^\W\d][\w$]*|[\w$]+")


class Symbol(NamedTuple):
    """A definition on lines `first` to `last`, counted from 1, `depth` definitions deep."""

    kind: str
    name: str
    first: int
    last: int
    depth: int
    signature: str


class Item(NamedTuple):
    """A content to look into, and the path that tells its language; as `plain` only line by line."""

    path: str
    span: Span
    encoding: TextEncoding
    plain: bool = False


class Outline(NamedTuple):
    """The symbols of a file in the order of their lines; `language` is None where looks alone decided."""

    language: str | None
    symbols: list[Symbol]


def outline(pack: str, item: Item) -> Outline:
    """Return what *item*, whose bytes lie in the file *pack*, defines; at most MOST_SYMBOLS."""
    (data,) = _read(pack, [item])
    language = _parsed_as(item, data)
    if language is None:
        return Outline(None, list(_by_looks(data, item))[:MOST_SYMBOLS])
    lines = data.split(b"\n")
    root = parser_for(language).parse(data).root_node
    return Outline(language, list(_walk(root, GRAMMARS[language].kinds, lines)))


def mentions(
    pack: str, items: Sequence[Item], name: str, want: Want, most: int
) -> list[tuple[int, int, str]]:
    """Return where *items* define or mention *name*: number of the item, line from 1, its text.

    At most *most*, in order.  A definition is where its name stands; of references, those in comments
    and strings do not count, nor does the definition.
    """
    found: list[tuple[int, int, str]] = []
    for number, (item, data) in enumerate(zip(items, _read(pack, items), strict=True)):
        lines = data.split(b"\n")
        for line in _lines_of_mentions(data, item, name.encode(), want):
            text = lines[line - 1].decode("utf-8", "replace").rstrip("\r")[:LINE_CHARS]
            found.append((number, line, text))
            if len(found) >= most:
                return found
    return found


def _read(pack: str, items: Sequence[Item]) -> Iterator[bytes]:
    """Yield the contents of *items* in UTF-8."""
    file = os.open(pack, os.O_RDONLY | os.O_CLOEXEC)
    try:
        for item in items:
            data = partial(pread, file)(item.span)
            yield data if item.encoding == "utf-8" else decode(data, item.encoding).encode()
    finally:
        os.close(file)


def _parsed_as(item: Item, data: bytes) -> str | None:
    return None if item.plain or len(data) > PARSED_BYTES else language_of(item.path)


def _walk(root: Node, kinds: Mapping[str, str], lines: list[bytes]) -> Iterator[Symbol]:
    """Yield what is defined below *root*, top to bottom, without what functions hold in variables."""
    found = 0
    pending = [(root, 0, False)]
    while pending and found < MOST_SYMBOLS:
        node, depth, inside = pending.pop()
        kind = kinds.get(node.type)
        named = _name_of(node) if kind is not None and not (inside and kind in _VALUES) else None
        if kind is not None and named is not None:
            found += 1
            yield _symbol(kind, named, node, depth, lines)
            depth, inside = depth + 1, inside or kind in _INSIDE
        pending += [(child, depth, inside) for child in reversed(node.named_children)]


def _symbol(kind: str, named: Node, node: Node, depth: int, lines: list[bytes]) -> Symbol:
    row = named.start_point[0]
    text = lines[row].decode("utf-8", "replace").strip()[:SIGNATURE_CHARS]
    name = (named.text or b"").decode("utf-8", "replace")
    return Symbol(kind, name, node.start_point[0] + 1, node.end_point[0] + 1, depth, text)


def _name_of(node: Node) -> Node | None:
    """Return the node that names what *node* defines, None when it only mentions or declares it."""
    match node.type:
        case "struct_specifier" | "union_specifier" | "enum_specifier" | "class_specifier":
            return node.child_by_field_name("name") if node.child_by_field_name("body") else None
        case "assignment":
            named = node.child_by_field_name("left")
            return named if named is not None and named.type in {"identifier", "constant"} else None
        case "impl_item":
            return node.child_by_field_name("type")
        case "const_element":
            return node.named_child(0)
    named = node.child_by_field_name("name") or node.child_by_field_name("declarator")
    while named is not None and (inner := named.child_by_field_name("declarator")) is not None:
        named = inner
    while named is not None and named.type == "qualified_identifier":
        named = named.child_by_field_name("name")
    return named


def _lines_of_mentions(data: bytes, item: Item, name: bytes, want: Want) -> Iterator[int]:
    """Yield the lines, counted from 1, once each."""
    language = _parsed_as(item, data)
    if language is None:
        yield from _mentions_by_looks(data, item, name, want)
        return
    places = [found.start() for found in _NAME.finditer(data) if found[0] == name]
    if not places:
        return
    root, kinds, last = parser_for(language).parse(data).root_node, GRAMMARS[language].kinds, 0
    for place in places:
        node = root.named_descendant_for_byte_range(place, place + len(name))
        if node is None or node.type.startswith(_UNSAID) or node.start_byte != place:
            continue
        line = node.start_point[0] + 1
        if line > last and _defines(node, kinds) == (want == "definitions"):
            last = line
            yield line


def _defines(node: Node, kinds: Mapping[str, str]) -> bool:
    above = node.parent
    for _ in range(_CLIMB):
        if above is None:
            return False
        if above.type in kinds:
            named = _name_of(above)
            if kinds[above.type] in _VALUES and _is_local(above, kinds):
                return False
            return named is not None and (named.start_byte, named.end_byte) == (
                node.start_byte,
                node.end_byte,
            )
        above = above.parent
    return False


def _is_local(node: Node, kinds: Mapping[str, str]) -> bool:
    above = node.parent
    while above is not None and kinds.get(above.type) not in _INSIDE:
        above = above.parent
    return above is not None


def _by_looks(data: bytes, item: Item) -> Iterator[Symbol]:
    lines = lines_of(data.decode("utf-8", "replace"))
    found = list(definitions(lines, style_of(item.path)))
    for at, (line, indent, name) in enumerate(found):
        depth = len({before.indent for before in found[:at] if before.indent < indent}) if indent else 0
        after = (next_one.line for next_one in found[at + 1 :] if next_one.indent <= indent)
        last = next(after, len(lines))
        signature = lines[line].strip()[:SIGNATURE_CHARS]
        yield Symbol("definition", name or signature, line + 1, last, depth, signature)


def _mentions_by_looks(data: bytes, item: Item, name: bytes, want: Want) -> Iterator[int]:
    text = data.decode("utf-8", "replace")
    lines = lines_of(text)
    said = name.decode()
    defined = {each.line + 1 for each in definitions(lines, style_of(item.path)) if each.name == said}
    if want == "definitions":
        yield from sorted(defined)
        return
    word = re.compile(rf"(?<![\w$]){re.escape(said)}(?![\w$])")
    yield from (at for at, line in enumerate(lines, 1) if at not in defined and word.search(line))
