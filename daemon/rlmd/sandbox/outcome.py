"""The report of a cell, read as what it is: bytes from code that nobody vouches for."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

from rlmd.answers import Json
from rlmd.sandbox.requests import ExecResult, Lines, Quote, Variable

FIXED_PARTS = 6
MOST_DIGITS = 12
LONGEST_ERROR_CHARS = 8_000
LONGEST_JSON_CHARS = 64 << 10
LONGEST_TEXT_CHARS = 1 << 20
LONGEST_NAME_CHARS = 200
MOST_VARIABLES = 1_000
OUTPUT_MARGIN = 200
"""Characters that a note on what is missing may add to the output."""


class Violation(Exception):
    """What came is not what an honest process would send; it cannot be used any more."""


def read_report(parts: Sequence[str], *, output_chars: int) -> ExecResult:
    """Return the result that the parts of a DONE frame tell; raise Violation for any other."""
    if len(parts) < FIXED_PARTS:
        raise Violation("a report is too short")
    output, written, error, kind, answer, count = parts[:FIXED_PARTS]
    middle = FIXED_PARTS + 3 * whole(count)
    if len(output) > output_chars + OUTPUT_MARGIN or len(error) > LONGEST_ERROR_CHARS:
        raise Violation("a report is too long")
    if middle > min(len(parts), 3 * MOST_VARIABLES) or (len(parts) - middle) % 4:
        raise Violation("a report does not add up")
    return ExecResult(
        stdout=output,
        error=error or None,
        answer=_answer(kind, answer),
        submitted=bool(kind),
        citations=tuple(_citation(parts[at : at + 4]) for at in range(middle, len(parts), 4)),
        truncated=whole(written) > output_chars,
        variables=tuple(_variable(parts[at : at + 3]) for at in range(FIXED_PARTS, middle, 3)),
    )


def whole(text: str) -> int:
    """Return the number that *text* writes in plain digits; raise Violation for anything else."""
    if not (text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS):
        raise Violation("a number is none")
    return int(text)


def _answer(kind: str, text: str) -> Json:
    match kind:
        case "":
            return None
        case "text" if len(text) <= LONGEST_TEXT_CHARS:
            return text
        case "json" if len(text) <= LONGEST_JSON_CHARS:
            return _json(text)
    raise Violation("an answer is of no kind there is")


def _json(text: str) -> Json:
    """Parse strict JSON: no NaN, no number beyond a double, no lone surrogate; it is short by now."""
    try:
        value: Json = json.loads(text, parse_constant=_refuse, parse_float=_finite)
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as refused:
        raise Violation("an answer is no JSON") from refused
    return value


def _refuse(constant: str) -> float:
    raise ValueError(constant)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _variable(parts: Sequence[str]) -> Variable:
    name, kind, size = parts
    return Variable(name[:LONGEST_NAME_CHARS], kind[:LONGEST_NAME_CHARS], whole(size))


def _citation(parts: Sequence[str]) -> Lines | Quote:
    match parts:
        case ["lines", path, start, end]:
            return Lines(path, whole(start), whole(end))
        case ["quote", text, "", ""]:
            return Quote(text)
    raise Violation("a citation is of no kind there is")
