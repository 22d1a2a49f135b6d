r"""Rust-regex text, as ripgrep takes it, to a tree that says which lines match and nothing more.

Captures, greediness and the flags `m`, `s` and `U` cannot change whether a line matches, so they
leave no trace here.  Patterns work line by line: a line end never matches, and `\A` and `\z` are
the ends of the line.  Reference: https://docs.rs/regex/latest/regex/#syntax
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable

from rlmd.corpus import charset
from rlmd.corpus.charset import Ranges
from rlmd.corpus.regex_tree import At, Chars, Edge, Either, Node, Repeat, Sequence, character
from rlmd.errors import BadArgument

DEEPEST = 100
MOST_REPEATS = 1000  # RE2's own bound

_CONTROL = {"a": 7, "f": 12, "t": 9, "r": 13, "v": 11}
_HEX_DIGITS = {"x": 2, "u": 4, "U": 8}
_OPERATIONS: dict[str, Callable[[Ranges, Ranges], Ranges]] = {
    "&&": charset.intersection,
    "--": charset.difference,
    "~~": charset.symmetric_difference,
}
_LOOKS = ("(?=", "(?!", "(?<=", "(?<!")
_FLAGS = Sequence(())  # what "(?i)" leaves in the sequence it stands in
_NO_LOOK = "look-around is not supported"
_NO_BACK = "back-references are not supported"
_NO_LINE_END = "a line end cannot match: the search goes line by line"


def parse(pattern: str, *, ignore_case: bool = False) -> Node:
    """Read a whole pattern.  Raises BadArgument that says where it fails and why."""
    parser = _Parser(pattern, ignore_case=ignore_case)
    node = parser.alternation(0)
    if not parser.done():
        raise parser.error("unopened group", parser.at, 1)
    return node


class _Parser:
    """A cursor over the pattern and the flags in force where it stands."""

    def __init__(self, pattern: str, *, ignore_case: bool) -> None:
        self.text, self.at, self.names = pattern, 0, set[str]()
        self.ignore_case, self.verbose, self.unicode = ignore_case, False, True

    # -- the cursor

    def done(self) -> bool:
        return self.at >= len(self.text)

    def looking_at(self, prefix: str) -> bool:
        return self.text.startswith(prefix, self.at)

    def take(self, prefix: str) -> bool:
        """Step over *prefix* where it stands next, and say whether it did."""
        found = self.looking_at(prefix)
        self.at += len(prefix) * found
        return found

    def next(self, *, unclosed: str, since: int) -> str:
        """Step over one character; the pattern must not end here."""
        if self.done():
            raise self.error(unclosed, since, 1)
        self.at += 1
        return self.text[self.at - 1]

    def skip_blanks(self) -> None:
        """In verbose mode, step over white space and comments."""
        while self.verbose and not self.done():
            if self.text[self.at] == "#":
                end = self.text.find("\n", self.at)
                self.at = len(self.text) if end < 0 else end
            elif not self.text[self.at].isspace():
                return
            else:
                self.at += 1

    def error(self, why: str, start: int, length: int) -> BadArgument:
        shown = self.text[start : start + max(length, 1)]
        where = f"at character {start + 1} ({shown!r})" if shown else "at its end"
        return BadArgument(
            f"pattern is no valid regex {where}: {why}",
            "Patterns are Rust regexes as ripgrep takes them; set fixed_strings to search for plain text.",
        )

    # -- what stands outside of classes

    def alternation(self, depth: int) -> Node:
        branches = [self.sequence(depth)]
        while self.take("|"):
            branches.append(self.sequence(depth))
        return branches[0] if len(branches) == 1 else Either(tuple(branches))

    def sequence(self, depth: int) -> Node:
        nodes: list[Node] = []
        self.skip_blanks()
        while not self.done() and self.text[self.at] not in "|)":
            start = self.at
            char = self.next(unclosed="", since=start)
            if char in "*+?{":
                if not nodes or nodes[-1] is _FLAGS:
                    raise self.error("repetition operator without an expression before it", start, 1)
                nodes[-1] = self.repeat(nodes[-1], char, start)
            else:
                nodes.append(self.atom(char, start, depth))
            self.skip_blanks()
        return nodes[0] if len(nodes) == 1 else Sequence(tuple(nodes))

    def atom(self, char: str, start: int, depth: int) -> Node:  # noqa: PLR0911 - one a kind of atom
        match char:
            case "(":
                return self.group(start, depth + 1)
            case "[":
                ranges = self.bracket(start, depth + 1)
                if ranges == charset.NEWLINE:
                    raise self.error(_NO_LINE_END, start, self.at - start)
                return Chars(_without_line_end(ranges))
            case "\\":
                return self.escape(start)
            case "^":
                return At("line_start")
            case "$":
                return At("line_end")
            case ".":
                self.need_unicode(start)
                return Chars(_without_line_end(charset.SCALARS))
            case "\n":
                raise self.error(_NO_LINE_END, start, 1)
            case _:
                return character(char, ignore_case=self.ignore_case)

    def repeat(self, node: Node, char: str, start: int) -> Node:
        low, high = {"*": (0, None), "+": (1, None), "?": (0, 1), "{": (0, 0)}[char]
        if char == "{":
            low, high = self.counts(start)
        self.take("?")  # lazy or not, the same lines match
        return Repeat(node, low, high)

    def counts(self, start: int) -> tuple[int, int | None]:
        end = self.text.find("}", self.at)
        if end < 0:
            raise self.error("unclosed counted repetition", start, 1)
        low, comma, high = (part.strip() for part in self.text[self.at : end].partition(","))
        self.at = end + 1
        if not (low.isdecimal() and low.isascii()) or (high and not (high.isdecimal() and high.isascii())):
            raise self.error("a counted repetition takes decimal numbers", start, self.at - start)
        bounds = int(low[:9]), int(high[:9]) if high else None if comma else int(low[:9])
        if bounds[1] is not None and bounds[1] < bounds[0]:
            raise self.error("the start of a repetition must be <= its end", start, self.at - start)
        if max(bounds[0], bounds[1] or 0) > MOST_REPEATS:
            raise self.error(f"more than {MOST_REPEATS} repetitions", start, self.at - start)
        return bounds

    def group(self, start: int, depth: int) -> Node:
        if depth > DEEPEST:
            raise self.error(f"nested more than {DEEPEST} deep", start, 1)
        kept = self.ignore_case, self.verbose, self.unicode
        if any(self.text.startswith(look, start) for look in _LOOKS):
            raise self.error(_NO_LOOK, start, 3)
        if self.take("?P<") or self.take("?<"):
            self.name(start)
        elif self.take("?") and self.flags(start):
            return _FLAGS
        node = self.alternation(depth)
        if not self.take(")"):
            raise self.error("unclosed group", start, 1)
        self.ignore_case, self.verbose, self.unicode = kept
        return Sequence((node,))

    def name(self, start: int) -> None:
        end = self.text.find(">", self.at)
        name = self.text[self.at : max(end, self.at)]
        if not re.fullmatch(r"[^\W\d][\w.\[\]]*", name):
            raise self.error("a capture group needs a name that ends in '>'", start, 4)
        if name in self.names:
            raise self.error("duplicate capture group name", start, self.at + len(name) - start)
        self.names.add(name)
        self.at = end + 1

    def flags(self, start: int) -> bool:
        """Read flags up to ":" or ")"; True when they hold for the rest of the group around them."""
        on, first = True, self.at
        while True:
            flag = self.next(unclosed="unclosed group", since=start)
            match flag:
                case "i":
                    self.ignore_case = on
                case "x":
                    self.verbose = on
                case "u":
                    self.unicode = on
                case "m" | "s" | "U":
                    pass
                case "-" if on:
                    on = False
                case ":" | ")" if self.text[self.at - 2] != "-" and (flag == ":" or self.at > first + 1):
                    return flag == ")"
                case _:
                    raise self.error("unrecognized flag", self.at - 1, 1)

    def escape(self, start: int) -> Node:
        char = self.next(unclosed="incomplete escape sequence", since=start)
        edge: Edge
        match char:
            case "A":
                edge = "line_start"
            case "z":
                edge = "line_end"
            case "b":
                if self.looking_at("{") and not self.text[self.at + 1 : self.at + 2].isdecimal():
                    raise self.error("half word boundaries are not supported", start, 3)
                edge = "word_edge" if self.unicode else "ascii_word_edge"
            case "B":
                edge = "word_inside" if self.unicode else "ascii_word_inside"
            case _ if char.isdecimal():
                raise self.error(_NO_BACK, start, 2)
            case _:
                shorthand = self.shorthand(char, start)
                if shorthand is not None:
                    return Chars(_without_line_end(shorthand))
                point = self.escaped_point(char, start)
                if point == ord("\n"):
                    raise self.error(_NO_LINE_END, start, 2)
                return character(chr(point), ignore_case=self.ignore_case)
        return At(edge)

    # -- escapes that stand inside of classes too

    def shorthand(self, char: str, start: int) -> Ranges | None:
        if char in "pP":
            ranges = self.property(start)
            ranges = charset.fold(ranges) if self.ignore_case else ranges
            return charset.complement(ranges) if char == "P" else ranges
        if char not in "dDsSwW":
            return None
        if self.unicode:
            unicode = {"d": charset.decimal, "s": lambda: charset.WHITE_SPACE, "w": charset.word}
            ranges = unicode[char.lower()]()
        else:
            ranges = charset.POSIX[{"d": "digit", "s": "space", "w": "word"}[char.lower()]]
        if char.islower():
            return ranges
        self.need_unicode(start)
        return charset.complement(ranges)

    def property(self, start: int) -> Ranges:
        self.need_unicode(start)
        name = self.next(unclosed="incomplete escape sequence", since=start)
        if name == "{":
            end = self.text.find("}", self.at)
            if end < 0:
                raise self.error("incomplete escape sequence", start, 3)
            name, self.at = self.text[self.at : end], end + 1
        negated = "!=" in name
        if not name or not set(name.replace("!=", "=")) <= set(
            string.ascii_letters + string.digits + "_- =:.&"
        ):
            raise self.error("no such Unicode property", start, self.at - start)
        try:
            ranges = charset.named(rf"\p{{{name.replace('!=', '=')}}}")
        except ValueError:
            raise self.error("no such Unicode property", start, self.at - start) from None
        return charset.complement(ranges) if negated else ranges

    def escaped_point(self, char: str, start: int) -> int:
        """The one character that an escape stands for."""
        if char in _CONTROL:
            return _CONTROL[char]
        if char == "n":
            return ord("\n")
        if char in _HEX_DIGITS:
            return self.hexadecimal(_HEX_DIGITS[char], start)
        if char not in string.punctuation + " " or char in "<>":
            raise self.error("unrecognized escape sequence", start, 2)
        return ord(char)

    def hexadecimal(self, digits: int, start: int) -> int:
        if self.take("{"):
            end = self.text.find("}", self.at)
            shown, self.at = self.text[self.at : max(end, self.at)], end + 1
        else:
            shown, self.at = self.text[self.at : self.at + digits], self.at + digits
            digits = digits if len(shown) == digits else 0
        point = int(shown, 16) if digits and shown and set(shown) <= set(string.hexdigits) else -1
        if not 0 <= point <= 0x10FFFF or 0xD800 <= point < 0xE000:  # noqa: PLR2004 - the bounds of Unicode
            raise self.error("no hexadecimal number of a character", start, 2 + len(shown))
        if point >= charset.ASCII_END:
            self.need_unicode(start)
        return point

    def need_unicode(self, start: int) -> None:
        if not self.unicode:
            raise self.error("matching bytes that are no UTF-8 is not supported: leave out (?-u)", start, 1)

    # -- classes

    def bracket(self, start: int, depth: int) -> Ranges:
        """Read a class whose "[" is behind the cursor; its set operators bind from left to right."""
        if depth > DEEPEST:
            raise self.error(f"nested more than {DEEPEST} deep", start, 1)
        negated, items = self.take("^"), []
        self.skip_blanks()
        while self.take("-"):
            items.append(_single("-"))
            self.skip_blanks()
        if not items and self.take("]"):
            items.append(_single("]"))
        before: Ranges | None = None
        combine: Callable[[Ranges, Ranges], Ranges] = charset.union
        while True:
            self.skip_blanks()
            operator = self.text[self.at : self.at + 2]
            if operator in _OPERATIONS or self.looking_at("]"):
                operand = self.folded(charset.union(*items))
                before = operand if before is None else combine(before, operand)
                if self.take("]"):
                    break
                items, combine = [], _OPERATIONS[operator]
                self.at += 2
            else:
                items.append(self.item(start, depth))
        if negated:
            self.need_unicode(start)
        return charset.complement(before) if negated else before

    def folded(self, ranges: Ranges) -> Ranges:
        return charset.fold(ranges) if self.ignore_case else ranges

    def item(self, start: int, depth: int) -> Ranges:
        """One thing between brackets: a nested class, a named one, a shorthand, a character, a range."""
        here = self.at
        if self.looking_at("["):
            return self.nested(here, depth)
        low = self.member(start)
        self.skip_blanks()
        follows = self.text[self.at : self.at + 2]
        if follows[:1] != "-" or follows in ("--", "-]"):
            return low if isinstance(low, tuple) else ((low, low),)
        self.at += 1
        self.skip_blanks()
        high = self.member(start)
        if isinstance(low, tuple) or isinstance(high, tuple):
            raise self.error("a range runs between two characters", here, self.at - here)
        if low > high:
            raise self.error("the start of a range must be <= its end", here, self.at - here)
        return ((low, high),)

    def nested(self, here: int, depth: int) -> Ranges:
        end = self.text.find(":]", here)
        name = self.text[here + 2 : end].removeprefix("^")
        if self.looking_at("[:") and end >= 0 and name in charset.POSIX:
            self.at = end + 2
            ranges = self.folded(charset.POSIX[name])
            return charset.complement(ranges) if self.text[here + 2] == "^" else ranges
        self.at += 1
        return self.bracket(here, depth + 1)

    def member(self, start: int) -> int | Ranges:
        here = self.at
        char = self.next(unclosed="unclosed character class", since=start)
        if char != "\\":
            return ord(char)
        char = self.next(unclosed="unclosed character class", since=start)
        if char.isdecimal():
            raise self.error(_NO_BACK, here, 2)
        shorthand = self.shorthand(char, here)
        return self.escaped_point(char, here) if shorthand is None else shorthand


def _without_line_end(ranges: Ranges) -> Ranges:
    return charset.difference(ranges, charset.NEWLINE)


def _single(char: str) -> Ranges:
    return ((ord(char), ord(char)),)
