"""Sets of Unicode scalar values: the algebra behind character classes.

A set is a tuple of inclusive ranges, ascending, never touching.  Surrogates belong to no set, so a
complement never matches bytes that are not UTF-8.
"""

from __future__ import annotations

import functools
import sys
from array import array
from collections.abc import Iterable

import re2
import regex  # type: ignore[import-untyped]

Ranges = tuple[tuple[int, int], ...]

ASCII_END = 0x80
SCALARS: Ranges = ((0, 0xD7FF), (0xE000, 0x10FFFF))
NEWLINE: Ranges = ((10, 10),)
WHITE_SPACE: Ranges = (
    (9, 13), (32, 32), (0x85, 0x85), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A),
    (0x2028, 0x2029), (0x202F, 0x202F), (0x205F, 0x205F), (0x3000, 0x3000),
)  # fmt: skip
POSIX: dict[str, Ranges] = {
    "alnum": ((48, 57), (65, 90), (97, 122)),
    "alpha": ((65, 90), (97, 122)),
    "ascii": ((0, 127),),
    "blank": ((9, 9), (32, 32)),
    "cntrl": ((0, 31), (127, 127)),
    "digit": ((48, 57),),
    "graph": ((33, 126),),
    "lower": ((97, 122),),
    "print": ((32, 126),),
    "punct": ((33, 47), (58, 64), (91, 96), (123, 126)),
    "space": ((9, 13), (32, 32)),
    "upper": ((65, 90),),
    "word": ((48, 57), (65, 90), (95, 95), (97, 122)),
    "xdigit": ((48, 57), (65, 70), (97, 102)),
}
LONG_S, KELVIN = (0x17F, 0x17F), (0x212A, 0x212A)  # fold to "s" and "k", beside the ASCII pair


def union(*sets: Iterable[tuple[int, int]]) -> Ranges:
    """Merge ranges in any order, overlapping or not, into a set."""
    merged: list[tuple[int, int]] = []
    for low, high in sorted(pair for each in sets for pair in each):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return tuple(merged)


def intersection(left: Ranges, right: Ranges) -> Ranges:
    """Keep what both sets hold."""
    both, i, j = [], 0, 0
    while i < len(left) and j < len(right):
        low, high = max(left[i][0], right[j][0]), min(left[i][1], right[j][1])
        if low <= high:
            both.append((low, high))
        if left[i][1] < right[j][1]:
            i += 1
        else:
            j += 1
    return tuple(both)


def complement(ranges: Ranges) -> Ranges:
    """Every scalar value outside the set."""
    gaps, start = [], 0
    for low, high in ranges:
        gaps.append((start, low - 1))
        start = high + 1
    gaps.append((start, 0x10FFFF))
    return intersection(tuple(gap for gap in gaps if gap[0] <= gap[1]), SCALARS)


def difference(left: Ranges, right: Ranges) -> Ranges:
    """Keep what only the left set holds."""
    return intersection(left, complement(right))


def symmetric_difference(left: Ranges, right: Ranges) -> Ranges:
    """Keep what exactly one of the sets holds."""
    return union(difference(left, right), difference(right, left))


def fold(ranges: Ranges) -> Ranges:
    """Close the set under Unicode's simple case folding."""
    if not ranges or ranges[-1][1] < ASCII_END:
        lower, upper = intersection(ranges, POSIX["lower"]), intersection(ranges, POSIX["upper"])
        folded = union(ranges, ((a - 32, b - 32) for a, b in lower), ((a + 32, b + 32) for a, b in upper))
        extra = [pair for letter, pair in (("s", LONG_S), ("k", KELVIN)) if _holds(folded, ord(letter))]
        return union(folded, extra)
    return ranges if ranges == SCALARS else _fold_by_engine(ranges)


def _holds(ranges: Ranges, point: int) -> bool:
    return any(low <= point <= high for low, high in ranges)


@functools.lru_cache(maxsize=64)
def _fold_by_engine(ranges: Ranges) -> Ranges:
    """Ask RE2, whose tables are Unicode's own, for all it would match: some 10 ms."""
    pattern = re2.compile(f"(?i:{class_text(ranges)})+")
    return _ranges_of(found.group().decode() for found in pattern.finditer(_probes().encode()))


@functools.lru_cache(maxsize=64)
def named(properties: str) -> Ranges:
    r"""Resolve Unicode properties, written as the inside of a class such as `\p{Greek}`.

    Takes some 30 ms for a property not seen before.  Raises ValueError for one nobody knows.
    """
    try:
        pattern = regex.compile(f"[{properties}]+")
    except regex.error as unknown:
        raise ValueError(str(unknown)) from unknown
    return _ranges_of(found.group() for found in pattern.finditer(_probes(), concurrent=True))


def word() -> Ranges:
    r"""The characters of `\w`: Unicode UTS 18, annex C."""
    return named(r"\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}")


def decimal() -> Ranges:
    r"""The characters of `\d`."""
    return named(r"\p{Nd}")


def _probes() -> str:
    """Scalars in order, all of the planes where they differ and the ends of the uniform stretches."""
    points = array("I", range(0xD800))
    points.extend(range(0xE000, 0x40000))
    points.extend((0x40000, 0xDFFFF, *range(0xE0000, 0xE1000), 0xE1000, 0xEFFFF, 0xF0000, 0x10FFFF))
    return points.tobytes().decode(f"utf-32-{sys.byteorder[0]}e")


def _ranges_of(runs: Iterable[str]) -> Ranges:
    """Turn runs of neighbouring probes into the ranges they stand for."""
    return intersection(tuple((ord(run[0]), ord(run[-1])) for run in runs), SCALARS)


def class_text(ranges: Ranges) -> str:
    """Write the set as a bracket class that RE2 and `regex` read alike; the empty set never matches."""
    if not ranges:
        return "[^\\x00-\U0010ffff]"
    if len(ranges) == 1 and ranges[0][0] == ranges[0][1]:
        return _point(ranges[0][0])
    return "[" + "".join(_point(a) if a == b else f"{_point(a)}-{_point(b)}" for a, b in ranges) + "]"


def _point(point: int) -> str:
    if point >= ASCII_END or chr(point).isalnum():
        return chr(point)
    return f"\\x{point:02x}"
