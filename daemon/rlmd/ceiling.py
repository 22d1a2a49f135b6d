"""Keeps the daemon under its memory limit: gives up caches, then new work, then the largest job.

Whoever sets the limit ends what crosses it without a word (the kernel's OOM killer), so each step is
taken well before: a cache costs time to fill again, a refusal costs a caller a moment, and a job that
is ended still answers from what it has.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog
import trio

from rlmd.errors import Busy
from rlmd.process import MemoryUse
from rlmd.status import Problem

log = structlog.get_logger(__name__)

SHED, REFUSE, END = 0.80, 0.90, 0.95
"""Shares of the limit from which each step is taken."""
RELIEF = 0.05
"""So much lower the share has to fall before new work is let in again."""
STALLED_PERCENT = 20.0
"""So much of the last ten seconds may tasks have waited for memory (PSI some avg10) before caches go."""
LOOK_S, AGAIN_S = 1.0, 10.0
"""Seconds between looks, and before the same step is taken again."""
MIB = 1 << 20


@dataclass(eq=False)
class Ceiling:
    """Looks at memory once a second.

    *shed* gives up what can be had again and returns when that is done; *end_largest* tells the
    largest job to answer now from what it has, and returns its name, or None where there is none.
    """

    look: Callable[[], MemoryUse]
    shed: Callable[[], Awaitable[None]]
    end_largest: Callable[[str], str | None]
    use: MemoryUse | None = None
    refusing: bool = False
    times_shed: int = 0

    async def watch(self) -> None:
        """Take what step is due, for ever."""
        shed_at = ended_at = float("-inf")
        while True:
            use = self.use = self.look()
            self._let_in_or_refuse(use)
            now = trio.current_time()
            if (use.share >= SHED or use.stalled_percent >= STALLED_PERCENT) and now >= shed_at + AGAIN_S:
                shed_at = now
                self.times_shed += 1
                log.warning("memory.shed", **_told(use))
                await self.shed()
            elif use.share >= END and now >= ended_at + AGAIN_S:
                ended_at = now
                job_id = self.end_largest("The daemon's memory was nearly used up, so it ended early.")
                log.warning("memory.job_ended", job_id=job_id, **_told(use))
            await trio.sleep(LOOK_S)

    def admit(self) -> None:
        """Raise Busy where no new work is let in."""
        if self.refusing and self.use is not None:
            raise Busy(f"{_sentence(self.use)}, so no new work is begun.", "Ask again in a moment.")

    def problems(self) -> tuple[Problem, ...]:
        """Say what is wrong, for status."""
        if self.use is None or not (self.refusing or self.use.share >= SHED):
            return ()
        what = "new analyses and cells are refused" if self.refusing else "caches are given up"
        return (
            Problem(f"{_sentence(self.use)}: {what}", f"Ask for less at a time, or raise {self.use.source}."),
        )

    def _let_in_or_refuse(self, use: MemoryUse) -> None:
        refusing = use.share >= (REFUSE - RELIEF if self.refusing else REFUSE)
        if refusing != self.refusing:
            self.refusing = refusing
            log.warning("memory.refusing" if refusing else "memory.relieved", **_told(use))


def _sentence(use: MemoryUse) -> str:
    return f"{use.used_bytes // MIB:,} of {use.limit_bytes // MIB:,} MiB of memory are used ({use.source})"


def _told(use: MemoryUse) -> dict[str, object]:
    return {
        "used_bytes": use.used_bytes,
        "limit_bytes": use.limit_bytes,
        "limit_source": use.source,
        "stalled_percent": use.stalled_percent,
    }
