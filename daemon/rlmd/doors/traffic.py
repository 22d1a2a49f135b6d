"""Who is connected and what they have in hand: counted, bounded, and shown in status."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import trio

from rlmd.status import DoorFacts


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is let in; what each means is said in configs/default.toml, section `doors`."""

    max_connections: int = 64
    max_requests: int = 32
    max_frame_bytes: int = 8 << 20
    write_timeout_s: float = 30.0
    wait_s: float = 25.0


@dataclass(slots=True)
class Traffic:
    """The one book of all doors.  `bounds` may be replaced at any time; what was let in stays.

    `refused` counts peers by why they were not let in or not kept: `foreign_uid`, `too_many`,
    `busy` for calls beyond a connection's own bound, `slow` for those that did not read.
    """

    bounds: Bounds = field(default_factory=Bounds)
    refused: Counter[str] = field(default_factory=Counter)
    accepted: int = 0
    connections: int = 0
    requests: int = 0
    _quiet_since: float = field(default_factory=trio.current_time)

    @property
    def is_full(self) -> bool:
        """Whether one more connection would be too many."""
        return self.connections >= self.bounds.max_connections

    @contextmanager
    def connection(self) -> Iterator[None]:
        """Count the block as one connection."""
        self.accepted += 1
        self.connections += 1
        try:
            yield
        finally:
            self.connections -= 1
            self._quiet_since = trio.current_time()

    @contextmanager
    def request(self) -> Iterator[None]:
        """Count the block as one call in hand."""
        self.requests += 1
        try:
            yield
        finally:
            self.requests -= 1

    def quiet_since(self) -> float | None:
        """Return when the last connection ended, on trio's clock; None while there is one."""
        return None if self.connections else self._quiet_since

    def facts(self) -> DoorFacts:
        """Describe the doors as status shows them."""
        return DoorFacts(
            connections=self.connections,
            max_connections=self.bounds.max_connections,
            requests=self.requests,
            max_requests=self.bounds.max_requests,
            accepted=self.accepted,
            refused=dict(self.refused),
        )
