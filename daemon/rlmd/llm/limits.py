"""How much one endpoint is asked at once, for how long, and what is kept of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from rlmd.llm.retry import Retry


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the caller holds to; the composition root fills it from the section `llm` of the settings.

    `concurrency` calls in flight at most, `start` of them at first and then as many as the endpoint
    bears; `queue` calls accepted in all, half of them for one job.  `rpm` and `tpm` are requests and
    tokens a minute over all models, 0 = what the headers say.  `timeout_s` bounds each attempt whole.
    A reply is kept for `cache_ttl_s`, the latest used `cache_entries` of them.
    """

    concurrency: int = 100
    start: int = 64
    queue: int = 4096
    rpm: int = 0
    tpm: int = 0
    timeout_s: float = 120.0
    retry: Retry = field(default_factory=Retry)
    breaker_faults: int = 5
    breaker_cooldown_s: float = 30.0
    cache_ttl_s: float = 3600.0
    cache_entries: int = 1000
