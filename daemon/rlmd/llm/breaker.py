"""When to stop asking an endpoint that is down, and how to find out that it is back; pure.

| state    | a call asks   | answered / refused      | fault                   | cancelled       |
|----------|---------------|-------------------------|-------------------------|-----------------|
| closed   | enters        | faults = 0 / no change  | the `limit`-th: open    | no change       |
| open     | after `cooldown_s` as the probe, else turned away                   |                 |
| probing  | turned away   | closed                  | open, cooldown anew     | next may probe  |

Only calls that entered in the present state are listened to: what was sent before an outage says
nothing about its end.
"""

from __future__ import annotations

import math
from typing import Literal

Ending = Literal["answered", "refused", "fault", "cancelled"]
"""How a call ended: "refused" is an error that is not the endpoint's fault, such as any 4xx."""


class Breaker:
    """Turns calls away for *cooldown_s* seconds after *limit* faults with no answer between."""

    def __init__(self, limit: int = 5, cooldown_s: float = 30.0) -> None:
        self._limit = limit
        self._cooldown_s = cooldown_s
        self._faults = 0
        self._opened_at: float | None = None
        self._probing = False
        self._era = 0

    @property
    def is_open(self) -> bool:
        """Whether the endpoint is taken to be down; a probe may be under way."""
        return self._opened_at is not None

    def wait_s(self, now: float) -> float:
        """Return the seconds until a call may enter; 0 if it may now, infinity while a probe is out."""
        if self._opened_at is None:
            return 0.0
        if self._probing:
            return math.inf
        return max(0.0, self._opened_at + self._cooldown_s - now)

    def enter(self, now: float) -> int | None:
        """Let a call in and return what `leave` wants of it, or None where it is turned away."""
        if self.wait_s(now) > 0:
            return None
        if self._opened_at is not None:
            self._probing = True
            self._era += 1
        return self._era

    def leave(self, now: float, entered: int, ending: Ending) -> None:
        """Note how the call ended that `enter` let in as *entered*."""
        if entered != self._era:
            return
        if self._probing:
            self._era += 1
            self._probing = False
            match ending:
                case "answered" | "refused":
                    self._opened_at, self._faults = None, 0
                case "fault":
                    self._opened_at = now
            return
        match ending:
            case "answered":
                self._faults = 0
            case "fault":
                self._faults += 1
                if self._faults >= self._limit:
                    self._opened_at = now
                    self._era += 1
