"""Cursors: where a page of results ended, in words only this module reads."""

from __future__ import annotations

import base64
import binascii
import json

from rlmd.errors import BadArgument

MOST_RESULTS = 10_000

Place = tuple[str, int]
"""An absolute path, and a line of it; 0 where lines do not matter."""

BEGINNING: Place = ("", 0)


def cursor_after(place: Place) -> str:
    """Name the page that begins behind *place*; what changes before it does not shift that page."""
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode()


def place_of(cursor: str | None) -> Place:
    """Return the place a cursor stands for, the beginning for None.  Raises BadArgument."""
    if cursor is None:
        return BEGINNING
    try:
        place = json.loads(base64.urlsafe_b64decode(cursor.encode()))
    except (binascii.Error, ValueError):
        place = None
    match place:
        case [str(path), int(line)]:
            return path, line
        case _:
            raise BadArgument("cursor is not one that this tool gave out", "Leave it out to start over.")


def checked_limit(limit: int | None, default: int) -> int:
    """Return how many results a page holds.  Raises BadArgument outside of 1 to `MOST_RESULTS`."""
    wanted = default if limit is None else limit
    if not 1 <= wanted <= MOST_RESULTS:
        raise BadArgument(f"limit must be from 1 to {MOST_RESULTS}, not {wanted}")
    return wanted
