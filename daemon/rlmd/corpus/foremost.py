"""What of a corpus to index first, when an answer cannot wait for all of it."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, log
from typing import NamedTuple, cast

import trio

from rlmd.corpus.rank import RECIPE
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
SPREAD = 2_654_435_761
"""Knuth's multiplier: what follows one another comes to lie far apart."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a question would have indexed first.

    `beginnings` are those of its words, without what inflects them; `named` gives a path's share of
    the question, 0 to 1; `weights` tell what a file's role counts.
    """

    beginnings: tuple[str, ...]
    named: Callable[[str], float]
    weights: Mapping[Role, float]


class _Judged(NamedTuple):
    """A row, what its role counts, and what its path says of the question."""

    row: int
    weight: float
    named: float


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
    not meet, for a quarter of the time until then, the most promising paths first; what was not
    looked into counts as the others do on average.
    """
    files, beginnings = snapshot.files, wish.beginnings[:MOST_WORDS]
    by_path = await trio.to_thread.run_sync(
        _by_path, files.paths, rows, wish, limiter=threads, abandon_on_cancel=True
    )
    held = array("I")
    if sum(files.span_at(row).length for row in rows) > LITTLE_BYTES and beginnings and deadline < inf:
        now = trio.current_time()
        until = now + SCAN_SHARE * (deadline - now)
        order = [row for row, _, _ in by_path]
        while len(held) < len(rows) and trio.current_time() < until:
            try:
                held.frombytes(await look(snapshot, order, len(held), beginnings, offload))
            except OffloadError:
                break
    return await trio.to_thread.run_sync(
        _by_promise, by_path, held, len(beginnings), limiter=threads, abandon_on_cancel=True
    )


async def look(
    snapshot: Snapshot, rows: Sequence[int], start: int, beginnings: Sequence[str], offload: Offload
) -> bytes:
    """Ask the worker about SCAN_BYTES of *rows* from the *start*-th on; return what `holders` does."""
    offsets, lengths = array("q"), array("q")
    size = 0
    while start + len(offsets) < len(rows) and size < SCAN_BYTES:
        span = snapshot.files.span_at(rows[start + len(offsets)])
        offsets.append(span.offset)
        lengths.append(span.length)
        size += span.length
    found = await offload.call(HOLDERS, snapshot.pack.path, offsets.tobytes(), lengths.tobytes(), beginnings)
    return cast("bytes", found)


def _by_path(paths: Sequence[str], rows: Sequence[int], wish: Wish) -> list[_Judged]:
    """Judge *rows* by their paths and sort them, equals in an order that spreads them over the tree."""
    judged = []
    for row in rows:
        low = paths[row].lower()
        named = wish.named(paths[row]) if any(word in low for word in wish.beginnings) else 0.0
        judged.append(_Judged(row, wish.weights[role(paths[row])], RECIPE.path * named))
    judged.sort(key=lambda each: (-each.weight * each.named, -each.weight, each.row * SPREAD % (1 << 32)))
    return judged


def _by_promise(by_path: Sequence[_Judged], held: array[int], words: int) -> list[int]:
    """Sort the rows, equals staying in their order; *held* tells of the first of them what they hold."""
    holders = [sum(mask >> word & 1 for mask in held) for word in range(words)]
    rarity = [log(1 + len(held) / (1 + number)) for number in holders]
    total = sum(rarity) or 1.0
    worth = {
        mask: sum(each for word, each in enumerate(rarity) if mask >> word & 1) / total for mask in set(held)
    }
    usual = sum(map(worth.__getitem__, held)) / (len(held) or 1)
    worths = [*map(worth.__getitem__, held), *([usual] * (len(by_path) - len(held)))]
    promises = [each.weight * (worth + each.named) for each, worth in zip(by_path, worths, strict=True)]
    return [
        by_path[place].row for place in sorted(range(len(by_path)), key=promises.__getitem__, reverse=True)
    ]
