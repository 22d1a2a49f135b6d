"""What is known of each model of an endpoint: how much it bears, its windows, whether it is up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import structlog

from rlmd.llm.aimd import Aimd
from rlmd.llm.breaker import Breaker, Ending
from rlmd.llm.limits import Limits
from rlmd.llm.values import RateInfo, Reply, UpstreamError
from rlmd.llm.windows import Reservation, Windows

log = structlog.get_logger(__name__)

MOST_LANES = 64

Result = tuple[Reply, RateInfo] | UpstreamError | None
"""How a call ended; None is a cancelled one, from which nothing is learnt."""


@dataclass(eq=False, slots=True)
class Lane:
    """One model of the endpoint."""

    endpoint: str
    model: str
    aimd: Aimd
    windows: Windows
    breaker: Breaker
    in_flight: int = 0
    last_words: str = ""

    def settle(self, reservation: Reservation, result: Result, *, sent: bool) -> None:
        """Replace what was reserved by what the provider counted, as far as anybody knows it."""
        match result:
            case (reply, _):
                tokens: int | None = reply.usage.tokens_in + reply.usage.tokens_out
            case UpstreamError(usage=usage) if usage is not None:
                tokens = usage.tokens_in + usage.tokens_out
            case UpstreamError(status=int()):
                tokens = 0
            case _:
                tokens = None
        self.windows.settle(reservation, sent=sent, tokens=tokens)

    def learn(self, now: float, sent_at: float, entered: int, result: Result) -> None:
        """Draw the conclusions from a call that was sent at *sent_at* and has just ended."""
        ending: Ending = "cancelled"
        rates: RateInfo | None = None
        match result:
            case (_, rates):
                ending = "answered"
                self.aimd.answered(now, sent_at, self.in_flight)
            case UpstreamError():
                ending, rates = ("fault" if result.is_fault else "refused"), result.rates
                self.last_words = result.message
                if result.is_congestion:
                    self.aimd.congested(now, sent_at)
        if rates is not None:
            self.windows.learn(now, rates)
        was_open = self.breaker.is_open
        self.breaker.leave(now, entered, ending)
        if self.breaker.is_open and not was_open:
            log.warning("breaker.opened", endpoint=self.endpoint, model=self.model)
        elif was_open and not self.breaker.is_open:
            log.info("breaker.closed", endpoint=self.endpoint, model=self.model)


class Lanes:
    """The lanes of one endpoint by model; where there are many, those unused the longest are forgotten.

    Iterates from the lane used the longest ago to the latest.
    """

    def __init__(self, endpoint: str, limits: Limits) -> None:
        self._endpoint = endpoint
        self._limits = limits
        self._lanes: dict[str, Lane] = {}
        self._shared: Windows | None = None

    def __getitem__(self, model: str) -> Lane:
        return self._lanes[model]

    def __iter__(self) -> Iterator[Lane]:
        return iter(self._lanes.values())

    @property
    def latest(self) -> Lane | None:
        """The lane that was used last."""
        return next(reversed(self._lanes.values()), None)

    def use(self, model: str, now: float, waited_for: Iterable[str]) -> Lane:
        """Return the lane of *model*, made where there is none; lanes *waited_for* stay."""
        lane = self._lanes.pop(model, None) or self._make(model, now)
        self._lanes[model] = lane
        if len(self._lanes) > MOST_LANES:
            kept = {model, *waited_for}
            idle = (each for each in self._lanes.values() if not each.in_flight and each.model not in kept)
            if forgotten := next(idle, None):
                del self._lanes[forgotten.model]
        return lane

    def _make(self, model: str, now: float) -> Lane:
        limits = self._limits
        return Lane(
            endpoint=self._endpoint,
            model=model,
            aimd=Aimd(limits.start, limits.concurrency),
            windows=self._windows(now),
            breaker=Breaker(limits.breaker_faults, limits.breaker_cooldown_s),
        )

    def _windows(self, now: float) -> Windows:
        """Share one pair of windows among all models where they are set; headers speak of one model."""
        limits = self._limits
        if not (limits.rpm or limits.tpm):
            return Windows(now)
        if self._shared is None:
            self._shared = Windows(now, limits.rpm, limits.tpm)
        return self._shared
