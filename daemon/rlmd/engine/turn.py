"""What a root model's reply means: one cell of code, or what was wrong with it; pure."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

MARKS = ("repl", "python")
ENOUGH = 3
"""The same cell with the same outcome so many times is a loop: nothing new will come of it."""

_FENCE = re.compile(r"^[ ]{0,3}(`{3,}|~{3,})[ \t]*([^\n`]*)$")
_THOUGHT = re.compile(r"\A\s*<(think|thinking)>.*?</\1>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Code:
    """The cell that a reply asks to run, and the words around it."""

    source: str
    prose: str


@dataclass(frozen=True, slots=True)
class Malformed:
    """A reply without exactly one cell; `reason` is told to the model."""

    reason: str


def parse(reply: str) -> Code | Malformed:
    """Read *reply*, whose one block marked `repl` or `python` is the cell; other blocks are prose.

    A thought in front, as local models write it, is no part of the reply.
    """
    blocks, prose, unclosed = _blocks(_THOUGHT.sub("", reply))
    if unclosed:
        return Malformed("The code block has no end: the reply was cut off, or its fence is not closed.")
    if len(blocks) > 1:
        return Malformed(f"There were {len(blocks)} blocks of code. Write exactly one per reply.")
    if not blocks:
        return Malformed("There was no block of code marked ```repl. To finish, call submit(...) in one.")
    if not blocks[0].strip():
        return Malformed("The block of code was empty.")
    return Code(blocks[0], prose)


def _blocks(text: str) -> tuple[list[str], str, bool]:
    """Return the cells of *text*, the rest of it, and whether a cell is open at its end."""
    cells: list[list[str]] = []
    prose: list[str] = []
    fence, inside = "", prose
    for line in text.replace("\r\n", "\n").split("\n"):
        found = _FENCE.match(line)
        if found and not fence:
            fence = found[1]
            if found[2].strip().lower().partition(" ")[0] in MARKS:
                cells.append([])
                inside = cells[-1]
            continue
        if found and found[1].startswith(fence) and not found[2].strip():
            fence, inside = "", prose
            continue
        inside.append(line)
    joined = ["\n".join(lines) + "\n" if lines else "" for lines in cells]
    return joined, "\n".join(prose).strip(), inside is not prose


@dataclass(slots=True)
class Repetition:
    """Notices a run that goes in circles, of one step or of several."""

    _seen: Counter[tuple[str, str]] = field(default_factory=Counter)

    def note(self, code: str, outcome: str) -> int:
        """Count this cell with this outcome; return how often it has been so, `ENOUGH` is a loop."""
        key = ("\n".join(line.rstrip() for line in code.strip().splitlines()), outcome)
        self._seen[key] += 1
        return self._seen[key]
