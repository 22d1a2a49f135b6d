"""Which files there are now, by a glob."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

import trio

from rlmd.answers import GlobRequest
from rlmd.look.paging import checked_limit, cursor_after, place_of
from rlmd.look.selection import batches, narrowed
from rlmd.look.steps import in_steps
from rlmd.roots import relative_to
from rlmd.values import SkipTally, WalkRules

DEFAULT_LIMIT = 200


@dataclass(frozen=True, slots=True)
class GlobResult:
    """One page of paths, sorted by code points; `total` counts them all."""

    paths: tuple[str, ...]
    total: int
    truncated: bool
    next_cursor: str | None


async def glob(
    request: GlobRequest, path: str, *, rules: WalkRules, workspace: str | None, limiter: trio.CapacityLimiter
) -> GlobResult:
    """Find the regular files below *path*, resolved and allowed, that `request.pattern` matches.

    The pattern is ripgrep's `-g`: without a slash it is a name at any depth, with one it starts at
    *path*.  Hidden entries count when asked for, or when the pattern itself names one.  Cancelling
    returns at once.  Raises BadArgument for the pattern, the limit or the cursor.
    """
    limit, (after, _) = checked_limit(request.limit, DEFAULT_LIMIT), place_of(request.cursor)
    chosen = narrowed(rules, request.pattern, path)
    hidden_too = request.include_hidden or _is_hidden("".join(chosen.include[-1:]).lstrip("/"))
    found: list[str] = []
    base = workspace

    def search() -> Iterator[None]:
        nonlocal base
        base = None if workspace is None else os.path.realpath(workspace)
        for batch in batches(path, chosen, SkipTally()):
            found.extend(file.absolute for file in batch if hidden_too or not _is_hidden(file.path))
            yield
        found.sort()

    await in_steps(search(), limiter=limiter)
    start = bisect_right(found, after)
    page = found[start : start + limit]
    truncated = start + limit < len(found)
    return GlobResult(
        paths=tuple(relative_to(each, base) for each in page),
        total=len(found),
        truncated=truncated,
        next_cursor=cursor_after((page[-1], 0)) if truncated else None,
    )


def _is_hidden(path: str) -> bool:
    return path.startswith(".") or "/." in path
