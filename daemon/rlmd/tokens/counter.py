"""The actor that answers how many tokens each of a batch of texts has."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import cast

import structlog

from rlmd.offload import Offload
from rlmd.requests import Count
from rlmd.supervision import Actor, Handler
from rlmd.tokens.engines import EngineChoice
from rlmd.tokens.worker import Counted, Item

log = structlog.get_logger(__name__)


def token_counter(
    offload: Offload, *, engine: EngineChoice = "auto", call_bytes: int = 4 << 20, timeout_s: float = 300.0
) -> Actor[Count, list[int]]:
    """Make an actor that counts in the process behind *offload*, at most *call_bytes* of text a call.

    An item longer than that goes alone.  Between its calls others have their turn, so requests
    served side by side advance together.  Counts are tiktoken's, whichever engine counts (see
    `worker`).  Cancelling a request returns within 100 ms.  A call that overruns *timeout_s* or kills
    the process raises OffloadTimedOut or OffloadDied, and is not repeated.
    """

    @asynccontextmanager
    async def counter() -> AsyncIterator[Handler[Count, list[int]]]:
        known: dict[str, str] = {}

        async def count(request: Count) -> list[int]:
            counts: list[int] = []
            for items in batched(request, call_bytes):
                counted = cast(
                    "Counted",
                    await offload.call(
                        "rlmd.tokens.worker:count",
                        request.pack,
                        items,
                        request.encoding,
                        engine,
                        timeout_s=timeout_s,
                    ),
                )
                if known.get(request.encoding) != counted.engine:
                    known[request.encoding] = counted.engine
                    report(request.encoding, counted)
                counts += counted.counts
            return counts

        yield count

    return counter


def batched(request: Count, limit_bytes: int) -> Iterator[list[Item]]:
    """Split the items in order, *limit_bytes* a batch; no item at all is one empty batch."""
    batch: list[Item] = []
    size = 0
    for span, encoding in request.items:
        if batch and size + span.length > limit_bytes:
            yield batch
            batch, size = [], 0
        batch.append((span.offset, span.length, encoding))
        size += span.length
    yield batch


def report(encoding: str, counted: Counted) -> None:
    """Log which engine counts, as a warning where the fast one was refused."""
    if counted.refusal is None:
        log.info("tokens.engine_chosen", encoding=encoding, engine=counted.engine)
    else:
        log.warning("tokens.engine_refused", encoding=encoding, engine=counted.engine, reason=counted.refusal)
