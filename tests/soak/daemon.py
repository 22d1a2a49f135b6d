"""The daemon as it is, but for actors that break when told to: SIGUSR1 crashes the next request of one.

The seam is the composition root's own: actors are handed to a supervisor, and this process hands
them over wrapped.  The package knows nothing of it, so no user can reach it.
"""

from __future__ import annotations

import random
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from rlmd import boot
from rlmd.serve import Options, main
from rlmd.supervision import open_supervisor


class InjectedError(Exception):
    """A crash that the soak asked for."""


class Fuses:
    """Which actors exist, and which of them break on their next request."""

    def __init__(self, luck: random.Random) -> None:
        self._luck = luck
        self._lit: set[str] = set()
        self.names: list[str] = []

    def light(self, *_: object) -> None:
        name = self._luck.choice(self.names)
        self._lit.add(name)

    def burn(self, name: str) -> None:
        if name in self._lit:
            self._lit.remove(name)
            print(f'{{"event": "crash.injected", "actor": "{name}"}}', file=sys.stderr, flush=True)
            raise InjectedError(name)

    def fit(self, name: str, actor: Callable[[], Any]) -> Callable[[], Any]:
        """Return *actor* with a fuse ahead of its handler."""
        self.names.append(name)

        @asynccontextmanager
        async def fused() -> AsyncIterator[Any]:
            async with actor() as handle:

                async def handle_or_break(request: Any) -> Any:
                    self.burn(name)
                    return await handle(request)

                yield handle_or_break

        return fused


class Fused:
    """A supervisor whose actors have fuses."""

    def __init__(self, supervisor: Any, fuses: Fuses) -> None:
        self._supervisor, self._fuses = supervisor, fuses

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._supervisor, name)
        if not name.startswith("start"):
            return found

        async def start(actor_name: str, actor: Any, **options: Any) -> Any:
            return await found(actor_name, self._fuses.fit(actor_name, actor), **options)

        return start


def breakable(fuses: Fuses) -> Any:
    @asynccontextmanager
    async def open_fused(**options: Any) -> AsyncIterator[Any]:
        async with open_supervisor(**options) as supervisor:
            yield Fused(supervisor, fuses)

    return open_fused


if __name__ == "__main__":
    fuses = Fuses(random.Random(int(sys.argv[1])))
    boot.open_supervisor = breakable(fuses)
    signal.signal(signal.SIGUSR1, fuses.light)
    sys.exit(main(Options(overrides=sys.argv[2:])))
