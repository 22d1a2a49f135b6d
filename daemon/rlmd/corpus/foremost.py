"""What of a corpus to index first, when an answer cannot wait for all of it."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, log
from typing import cast

import trio

from rlmd.corpus.rank import PATH_SHARE
from rlmd.corpus.roles import Role, role
from rlmd.corpus.snapshot import Snapshot
from rlmd.offload import Offload, OffloadError

HOLDERS = "rlmd.corpus.scan:holders"
LITTLE_BYTES = 16 << 20
"""So much is indexed in the time that looking for its best part would take."""
SCAN_BYTES = 16 << 20
SCAN_SHARE = 0.25
"""The part of the time that may go into looking."""
MOST_WORDS = 32


@dataclass(frozen=True, slots=True)
class Wish:
    """What a question would have indexed first.

    `beginnings` are those of its words, without what inflects them; `named` gives a path's share of
    the question, 0 to 1; `weights` tell what a file's role counts.
    """

    beginnings: tuple[str, ...]
    named: Callable[[str], float]
    weights: Mapping[Role, float]


async def foremost(
    snapshot: Snapshot,
    rows: Sequence[int],
    wish: Wish,
    offload: Offload,
    threads: trio.CapacityLimiter,
    deadline: float,
) -> list[int]:
    """Return *rows* in the order in which their files promise to answer *wish*.

    A file promises more the more of the rarer words it holds, in its path or in its bytes, and by its
    role.  Bytes are looked into when there are many of them and there is a *deadline* that they may
    not meet, for a quarter of the time until then; what was not looked into is judged by its path.
    """
    files, beginnings = snapshot.files, wish.beginnings[:MOST_WORDS]
    by_role = await trio.to_thread.run_sync(
        _by_role, files.paths, rows, wish.weights, limiter=threads, abandon_on_cancel=True
    )
    held = array("I")
    if sum(files.span_at(row).length for row in rows) > LITTLE_BYTES and beginnings and deadline < inf:
        now = trio.current_time()
        until = now + SCAN_SHARE * (deadline - now)
        while len(held) < len(rows) and trio.current_time() < until:
            try:
                held.frombytes(await _look(snapshot, by_role[0], len(held), beginnings, offload))
            except OffloadError:
                break
    return await trio.to_thread.run_sync(
        _by_promise, files.paths, by_role, held, wish, limiter=threads, abandon_on_cancel=True
    )


async def _look(
    snapshot: Snapshot, rows: Sequence[int], start: int, beginnings: Sequence[str], offload: Offload
) -> bytes:
    """Ask the worker about SCAN_BYTES of *rows* from the *start*-th on."""
    offsets, lengths = array("q"), array("q")
    size = 0
    while start + len(offsets) < len(rows) and size < SCAN_BYTES:
        span = snapshot.files.span_at(rows[start + len(offsets)])
        offsets.append(span.offset)
        lengths.append(span.length)
        size += span.length
    found = await offload.call(HOLDERS, snapshot.pack.path, offsets.tobytes(), lengths.tobytes(), beginnings)
    return cast("bytes", found)


def _by_role(
    paths: Sequence[str], rows: Sequence[int], weights: Mapping[Role, float]
) -> tuple[list[int], list[float]]:
    """Sort *rows*, those whose files' roles count most first; beside them, what each counts."""
    weighed = sorted((-weights[role(paths[row])], row) for row in rows)
    return [row for _, row in weighed], [-weight for weight, _ in weighed]


def _by_promise(
    paths: Sequence[str], by_role: tuple[list[int], list[float]], held: array[int], wish: Wish
) -> list[int]:
    """Sort the rows, equals staying in their order; *held* tells of the first of them what they hold."""
    beginnings = wish.beginnings[:MOST_WORDS]
    holders = [sum(mask >> word & 1 for mask in held) for word in range(len(beginnings))]
    rarity = [log(1 + len(held) / (1 + number)) for number in holders]
    total = sum(rarity) or 1.0
    worth = {
        mask: sum(each for word, each in enumerate(rarity) if mask >> word & 1) / total for mask in set(held)
    }
    rows, weights = by_role

    def promise(place: int) -> float:
        path = paths[rows[place]]
        share = worth[held[place]] if place < len(held) else 0.0
        low = path.lower()
        if any(beginning in low for beginning in beginnings):
            share += PATH_SHARE * wish.named(path)
        return weights[place] * share

    return [rows[place] for place in sorted(range(len(rows)), key=promise, reverse=True)]
