"""Interleaved rounds and ratios: on a shared machine only figures of one run compare."""

from __future__ import annotations

import statistics
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """Seconds of every round of one contender."""

    name: str
    seconds: tuple[float, ...]

    @property
    def median_s(self) -> float:
        return statistics.median(self.seconds)


async def interleave(
    contenders: Mapping[str, Callable[[], object | Awaitable[object]]], *, rounds: int = 5
) -> dict[str, Row]:
    """Run all contenders in turn, *rounds* times after one warm-up round nobody counts."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for round_number in range(rounds + 1):
        for name, run in contenders.items():
            started = time.perf_counter()
            result = run()
            if isinstance(result, Awaitable):
                await result
            if round_number:
                seconds[name].append(time.perf_counter() - started)
    return {name: Row(name, tuple(values)) for name, values in seconds.items()}


def ratio(rows: Mapping[str, Row], ours: str, peer: str) -> float:
    """Median over the rounds of ours divided by the peer, round by round."""
    pairs = zip(rows[ours].seconds, rows[peer].seconds, strict=True)
    return statistics.median(a / b for a, b in pairs)


def print_table(title: str, rows: Mapping[str, Row], base: str) -> None:
    """Print median, spread and the ratio to *base* of each contender."""
    print(f"\n{title}")
    print(f"  {'':34} {'median':>9} {'min':>9} {'max':>9}   x {base}")
    for name, row in rows.items():
        low, high = min(row.seconds), max(row.seconds)
        print(f"  {name:34} {row.median_s:8.3f}s {low:8.3f}s {high:8.3f}s   {ratio(rows, name, base):.2f}")
