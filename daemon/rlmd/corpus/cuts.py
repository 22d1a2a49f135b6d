"""Cut a file into passages that begin where definitions, headings or paragraphs do.  Pure.

Definitions are found line by line by their looks, without a grammar: 60 MB a second, any language
that announces what it defines.  A cut is at most `CODE_LINES` lines and, unless it is one line,
at most `MOST_CHARS` characters; the cuts of a file follow one another and leave no line out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from string import ascii_letters
from typing import Literal, NamedTuple, get_args

from rlmd.corpus.roles import DATA, PROSE, suffix

Style = Literal["named", "braced", "c", "headings", "data", "prose", "log"]
STYLES: tuple[Style, ...] = get_args(Style)

CODE_LINES, PROSE_LINES, LOG_LINES = 60, 40, 40
LEAST_LINES = 12
"""A nested definition begins a new cut only this far into the last one."""
MOST_CHARS = 12_000
SIGNATURE_CHARS = 160
_LOOK_CHARS = 400

_BRACED = frozenset(
    ["js", "jsx", "ts", "tsx", "mjs", "cjs", "java", "cs", "vue", "svelte", "php", "swift", "kt"]
)
_C = frozenset(["c", "h", "cc", "cpp", "hpp"])
_LOGS = frozenset(["log", "out", "err", "text", "jsonl", "ndjson"])

_MODIFIERS = (
    r"(?:(?:export|default|pub(?:\([^)]*\))?|public|private|protected|internal|static|async|abstract|final|"
    r"override|unsafe|const|extern(?:\s+\"C\")?|inline|virtual|open|data|sealed|declare)\s+)*"
)
_KINDS = (
    r"(?:def|class|fn|func|function\*?|struct|enum|trait|impl(?:<[^>]*>)?|interface|type|mod|module|namespace|"
    r"union|record|object|protocol|extension|fun|sub|macro_rules!|defmodule|defp)"
)
_DEFINITION = re.compile(
    rf"([ \t]{{0,8}})(?=[a-z]){_MODIFIERS}(?:{_KINDS}\s+(?:\([^)]*\)\s*)?([A-Za-z_$][\w$]*)"
    r"|(?:const|let|var)\s+([A-Za-z_$][\w$]*)\s*(?::[^=]+)?=\s*(?:async\s*)?(?:\(|function|[\w$]+\s*=>|<))"
)
_METHOD = re.compile(
    r"([ \t]{1,8})(?:(?:public|private|protected|static|async|get|set|readonly|override)\s+)*\*?"
    r"(?!(?:if|for|while|switch|catch|return|else|do|with|function|await)\b)"
    r"([A-Za-z_$#][\w$]*)\s*(?:<[^>]*>)?\([^;]*\)?\s*(?::[^;{]+)?\{\s*$"
)
_C_DEFINITION = re.compile(
    r"()(?!(?:if|for|while|switch|return|else|do|case|goto)\b)(?:[A-Za-z_][\w\s*,<>:&~]*?[\s*&:~]"
    r"([A-Za-z_]\w*)\s*\([^;]*$|\s*#\s*define\s+(\w+)|(?:typedef\s+)?(?:struct|enum|union)\s+(\w+)[^;]*$)"
)
_OPENS = re.compile(
    r"[ \t]{0,8}(?:export|default|p(?:ub|rivate|rotected|rotocol)|internal|static|async|abstract|final|"
    r"override|unsafe|const|extern|inline|virtual|open|data|sealed|declare|def|class|fn|fun|struct|enum|trait|impl|"
    r"interface|type|mod|namespace|union|record|object|extension|sub|macro_rules|let|var)"
)
_LETTERS = frozenset(ascii_letters + "_")
_HEADING = re.compile(r"()#{1,6}\s+(.*)")
_LEAD = re.compile(r"\s*(?:@|#\[|//|\*|/\*|--|#(?!\s*(?:include|define|if|else|endif)))")


class Cut(NamedTuple):
    """Lines `start` to `stop` of a file, counted from 0, without `stop`.

    `names` are defined in it; `within` are the first lines of the definitions around it.
    """

    start: int
    stop: int
    names: tuple[str, ...]
    within: tuple[str, ...]


class Definition(NamedTuple):
    """A line, from 0, that looks as if it defined `name`, which may be empty; `indent` is in columns."""

    line: int
    indent: int
    name: str


def style_of(path: str) -> Style:
    """Return how the file at *path* is cut; with its content this decides its cuts."""
    kind = suffix(path)
    if kind in ("md", "mdx"):
        return "headings"
    if kind in PROSE:
        return "prose"
    if kind in DATA:
        return "data"
    if kind in _LOGS:
        return "log"
    return "c" if kind in _C else "braced" if kind in _BRACED else "named"


def lines_of(text: str) -> list[str]:
    r"""Return the lines of *text* as `grep -n` counts them, without their "\n"."""
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    return lines


def cut(lines: Sequence[str], style: Style) -> list[Cut]:
    """Cut *lines* at their outer definitions, and what is still too long at blank lines."""
    match style:
        case "log":
            longest = max(LOG_LINES // 4, min(LOG_LINES, len(lines) // 20))
        case "prose":
            longest = PROSE_LINES
        case _:
            longest = CODE_LINES
    return _Cutter(lines, list(definitions(lines, style)), longest).run()


class _Cutter:
    """One pass over one file."""

    def __init__(self, lines: Sequence[str], found: list[Definition], longest: int) -> None:
        self._lines = lines
        self._found = found
        self._longest = longest
        self._named = 0
        self._open: list[Definition] = []
        self._cuts: list[Cut] = []

    def run(self) -> list[Cut]:
        start = 0
        within: tuple[str, ...] = ()
        for definition in self._found:
            top = definition.line
            while top > start and _LEAD.match(self._lines[top - 1]):
                top -= 1
            if top - start >= (3 if definition.indent == 0 else LEAST_LINES):
                self._close(start, top, within)
                start = top
                within = self._signatures([outer for outer in self._open if outer.indent < definition.indent])
            self._open = [*(outer for outer in self._open if outer.indent < definition.indent), definition]
        self._close(start, len(self._lines), within)
        return self._cuts

    def _close(self, start: int, end: int, within: tuple[str, ...]) -> None:
        """Add the cuts of lines *start* to *end*; those after the first lie within what was opened last."""
        inside: tuple[str, ...] = ()
        while start < end:
            stop = self._stop(start, end)
            self._cuts.append(Cut(start, stop, self._names(stop), within + inside))
            start, inside = stop, self._signatures(self._open[-1:])

    def _stop(self, start: int, end: int) -> int:
        lines, stop = self._lines, end
        if end - start > self._longest:
            latest = start + self._longest
            blank = (at for at in range(latest, start + self._longest // 2, -1) if not lines[at].strip())
            stop = next(blank, latest)
        if sum(map(len, lines[start:stop])) > MOST_CHARS:
            room, stop = MOST_CHARS - len(lines[start]), start + 1
            while stop < end and (room := room - len(lines[stop])) >= 0:
                stop += 1
        return stop

    def _names(self, stop: int) -> tuple[str, ...]:
        first = self._named
        while self._named < len(self._found) and self._found[self._named].line < stop:
            self._named += 1
        return tuple(definition.name for definition in self._found[first : self._named])

    def _signatures(self, around: list[Definition]) -> tuple[str, ...]:
        return tuple(self._lines[outer.line].strip()[:SIGNATURE_CHARS] for outer in around)


def definitions(lines: Sequence[str], style: Style) -> Iterator[Definition]:
    """Yield the outer definitions or headings, top to bottom."""
    patterns: tuple[re.Pattern[str], ...]
    match style:
        case "headings":
            patterns, likely = (_HEADING,), [n for n, line in enumerate(lines) if line[:1] == "#"]
        case "c":
            patterns, likely = (_C_DEFINITION,), _likely_c(lines)
        case "braced":
            patterns, likely = (
                (_DEFINITION, _METHOD),
                [n for n, line in enumerate(lines) if _opens_braced(line)],
            )
        case "named":
            patterns, likely = (_DEFINITION,), [n for n, line in enumerate(lines) if _OPENS.match(line)]
        case _:
            return
    macro = -2
    for number in likely:
        line = lines[number][:_LOOK_CHARS]
        if style == "c" and line[0] in "# \t":
            above, macro = macro, number
            if above == number - 1:  # one more of a list, which is data
                continue
        found = next(filter(None, (pattern.match(line) for pattern in patterns)), None)
        if found and (indent := len(found[1].expandtabs(4))) <= 8:  # noqa: PLR2004  # two levels deep
            yield Definition(number, indent, next(filter(None, found.groups()[1:]), ""))


def _likely_c(lines: Sequence[str]) -> list[int]:
    """Tell cheaply where C definitions may begin: most lines are indented or end a statement."""
    return [
        number
        for number, line in enumerate(lines)
        if line and ((line[0] in _LETTERS and line[-1] != ";") or (line[0] in "# \t" and "define" in line))
    ]


def _opens_braced(line: str) -> bool:
    return line.rstrip()[-1:] == "{" or _OPENS.match(line) is not None
