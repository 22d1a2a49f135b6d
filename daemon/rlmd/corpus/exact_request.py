"""What the daemon asks of the worker processes of exact search, which alone load numpy."""

from __future__ import annotations

from typing import NamedTuple


class Place(NamedTuple):
    """Where to search: the pack, the table of a snapshot, and the segments of the pack."""

    pack: str
    table: str
    segments: tuple[str, ...]


class Query(NamedTuple):
    """What to find in the rows from `first` to before `last` of the snapshot."""

    pattern: str
    ignore_case: bool
    fixed_strings: bool
    first: int
    last: int


class Share(NamedTuple):
    """Which part of the text to take: the one after *number* of *parts* that are about equal."""

    number: int
    parts: int


class Damaged(Exception):
    """A segment is not as it was written, or is gone."""
