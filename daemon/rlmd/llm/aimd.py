"""How many calls an endpoint bears at once, found by trying; pure."""

from __future__ import annotations

import math

_SOON = 0.8
"""Up to this share of where congestion began, a recovering limit grows fast, then with care."""


class Aimd:
    """A limit that grows with answers to calls that used it, and halves with congestion.

    As in TCP, growth is by one an answer (doubling each round) where nothing is known to be wrong, and
    by one a round above `_SOON` of the place where congestion last began; all that was sent before a
    cut counts for nothing after it, so that one burst is one cut.
    """

    def __init__(self, start: int, highest: int) -> None:
        self._level = float(min(start, highest))
        self._highest = highest
        self._careful_above = math.inf
        self._cut_at = -math.inf
        self._answered = True

    @property
    def limit(self) -> int:
        """How many calls may be in flight now, at least 1."""
        return int(self._level)

    def answered(self, sent_at: float, in_flight: int) -> None:
        """Note an answer to a call sent at *sent_at*, one of *in_flight* when it came."""
        if sent_at <= self._cut_at:
            return
        self._answered = True
        if 2 * in_flight >= self.limit:
            step = 1.0 if self._level < self._careful_above else 1 / self._level
            self._level = min(self._highest, self._level + step)

    def congested(self, now: float, sent_at: float) -> None:
        """Note that a call sent at *sent_at* was one too many."""
        if sent_at <= self._cut_at:
            return
        self._cut_at = now
        if self._answered:
            self._careful_above = _SOON * self._level
            self._answered = False
        self._level = max(1.0, self._level / 2)
