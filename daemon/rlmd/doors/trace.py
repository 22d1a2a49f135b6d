"""The trace that a request belongs to, as its caller says in `_meta`: W3C Trace Context, level 1."""

from __future__ import annotations

import re
from collections.abc import Mapping

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?")
LONGEST_ID = 64


def log_context(request_id: object, meta: Mapping[str, object] | None) -> dict[str, str]:
    """Return what every event of a request carries: its id and, where it was told, its trace and span.

    The ids go with the request through every actor and thread.  A `traceparent` that is not well
    formed, or all zeros, is none, as the specification asks.
    """
    told = {"request_id": str(request_id)[:LONGEST_ID]}
    given = (meta or {}).get("traceparent")
    text = given if isinstance(given, str) else ""
    if (found := _TRACEPARENT.fullmatch(text)) is None or not int(found[1], 16) or not int(found[2], 16):
        return told
    if text[:2] == "00" and found[3]:  # version 00 has nothing after its flags
        return told
    return {**told, "trace_id": found[1], "parent_span_id": found[2]}
