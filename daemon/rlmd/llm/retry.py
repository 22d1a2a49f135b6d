"""Whether and when a failed call is made again; pure."""

from __future__ import annotations

from dataclasses import dataclass

from rlmd.llm.values import UpstreamError


@dataclass(frozen=True, slots=True)
class Retry:
    """At most `limit` further attempts, with full jitter and never before the endpoint allows.

    Full jitter (a share of an exponential ceiling) is what Amazon's "Exponential Backoff And Jitter"
    found to finish soonest with the least work.  A wait that the endpoint asks for beyond `patience_s`
    is not waited for.
    """

    limit: int = 3
    base_s: float = 0.5
    longest_s: float = 8.0
    patience_s: float = 120.0

    def pause_s(self, failures: int, error: UpstreamError, luck: float) -> float | None:
        """Return the seconds to wait after *failures* attempts that ended in *error*; None to give up.

        *luck* is the share of the ceiling that is taken, at random from 0 to 1.
        """
        asked_s = error.retry_after_s or 0.0
        if failures > self.limit or not error.retryable or asked_s > self.patience_s:
            return None
        ceiling_s = min(self.longest_s, self.base_s * 2.0 ** (failures - 1))
        return max(asked_s, luck * ceiling_s)
