"""What the daemon's model calls have come to since it started."""

from __future__ import annotations

from dataclasses import dataclass, field

from rlmd.llm.gate import Gate
from rlmd.llm.values import Usage
from rlmd.status import CacheFacts, LlmFacts


@dataclass(slots=True)
class Meter:
    """Totals that outlive a restart of the caller, which alone adds to them; for everybody else to read.

    `calls` are attempts that reached for the endpoint, `errors` those of them that brought nothing.
    `usd` is None as soon as the price of one counted call is unknown, and so is what a project has cost.
    """

    endpoint: str | None = None
    model: str | None = None
    key_origin: str | None = None
    key_mark: str | None = None
    calls: int = 0
    errors: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cached_tokens: int = 0
    usd: float | None = 0.0
    hits: int = 0
    misses: int = 0
    joined: int = 0
    usd_by_project: dict[str, float | None] = field(default_factory=dict)
    gate: Gate | None = field(default=None, repr=False)

    def count(self, usage: Usage, project: str) -> None:
        """Add what one call for *project* was counted for."""
        self.tokens_in += usage.tokens_in
        self.tokens_out += usage.tokens_out
        self.cached_tokens += usage.cached_tokens
        self.usd = _sum(self.usd, usage.usd)
        self.usd_by_project[project] = _sum(self.usd_by_project.get(project, 0.0), usage.usd)

    def facts(self) -> LlmFacts:
        """Describe the endpoint as status shows it.

        `concurrency` and `state` are those of the model used last: how many calls it is thought to
        bear at once, and "open" while it is left alone after faults.
        """
        lane = self.gate.lanes.latest if self.gate else None
        is_open = lane is not None and lane.breaker.is_open
        return LlmFacts(
            endpoint=self.endpoint,
            model=lane.model if lane else self.model,
            state="none" if self.endpoint is None else "open" if is_open else "ok",
            key_origin=self.key_origin,
            key_mark=self.key_mark,
            concurrency=lane.aimd.limit if lane else 0,
            calls=self.calls,
            errors=self.errors,
            tokens_in=self.tokens_in,
            tokens_out=self.tokens_out,
            usd=self.usd,
            cache=CacheFacts(self.hits, self.misses, self.joined),
        )


def _sum(known: float | None, more: float | None) -> float | None:
    return None if known is None or more is None else known + more
