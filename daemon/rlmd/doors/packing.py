"""What of a recall fits into so many tokens: the best come first, so the best that fit are the first."""

from __future__ import annotations

from dataclasses import replace

from rlmd.answers import Json, RecallRequest
from rlmd.doors import render
from rlmd.doors.services import Services
from rlmd.errors import BadArgument

SHORTEST_VALUE = 20


async def smaller(
    services: Services, request: RecallRequest, found: dict[str, Json], max_tokens: int | None
) -> RecallRequest | None:
    """Return what to ask instead where *found* has more than *max_tokens*, counted exactly as it is sent.

    None where it fits.  The page is asked for anew rather than cut, so that its cursor stays right:
    with as many memories as fit, and where not even the first one does, with a shorter value.
    Raises BadArgument where no value is short enough.
    """
    if max_tokens is None:
        return None
    items = found["items"]
    assert isinstance(items, list)
    whole, *each = await services.count_tokens([render.dump(found), *map(render.dump, items)])
    if whole <= max_tokens or not items:
        return None
    spare = max_tokens - (whole - sum(each))
    fitting = 0
    while fitting < len(each) and each[fitting] <= spare:
        spare -= each[fitting]
        fitting += 1
    if fitting:
        return replace(request, limit=min(fitting, len(items) - 1))
    if len(items) > 1:
        return replace(request, limit=1)
    if request.value_chars <= SHORTEST_VALUE:
        raise BadArgument(f"Not even one memory fits into {max_tokens} tokens.", f"Ask for {whole} or more.")
    return replace(request, value_chars=max(SHORTEST_VALUE, request.value_chars * max_tokens // (2 * whole)))
