"""How many calls an endpoint bears at once, found by trying; pure."""

from __future__ import annotations

import math

_NEAR = 0.9
"""Up to this share of where congestion last began the limit is back at once, from there with care."""
_CONTENT_S = 10.0
"""So long after a cut the limit rests just below the place of that congestion before it tries for more."""


class Aimd:
    """A limit that grows with answers to calls that used it, and halves with congestion.

    As in TCP, it doubles each round (one more an answer) where nothing speaks against it, and grows by
    one a round near the place where congestion last began; as in CUBIC (RFC 9438), it rests below
    that place for a while, for where a refusal makes everybody wait each trial costs dearly.  What was
    sent before a cut counts for nothing after it, so that one burst is one cut.
    """

    def __init__(self, start: int, highest: int) -> None:
        self._level = float(min(start, highest))
        self._highest = highest
        self._congested_at_level = math.inf
        self._cut_at = -math.inf
        self._answered = True

    @property
    def limit(self) -> int:
        """How many calls may be in flight now, at least 1."""
        return int(self._level)

    def answered(self, now: float, sent_at: float, in_flight: int) -> None:
        """Note an answer to a call sent at *sent_at*, one of *in_flight* when it came."""
        if sent_at <= self._cut_at:
            return
        self._answered = True
        if 2 * in_flight >= self.limit:
            self._level = max(self._level, min(self._level + self._step(), self._ceiling(now)))

    def congested(self, now: float, sent_at: float) -> None:
        """Note that a call sent at *sent_at* was one too many."""
        if sent_at <= self._cut_at:
            return
        self._cut_at = now
        if self._answered:
            self._congested_at_level = self._level
            self._answered = False
        self._level = max(1.0, self._level / 2)

    def _step(self) -> float:
        return 1.0 if self._level < _NEAR * self._congested_at_level else 1 / self._level

    def _ceiling(self, now: float) -> float:
        if now - self._cut_at >= _CONTENT_S:
            return self._highest
        return min(self._highest, max(1.0, self._congested_at_level - 1))
