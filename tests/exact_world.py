"""Exact search over real files and a real keeper, its work done in threads of the test's own process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from corpus_world import ThreadOffload, World, open_world
from rlmd.answers import GrepRequest
from rlmd.corpus.exact import Exact
from rlmd.look.grep import grep
from rlmd.look.page import GrepResult
from rlmd.look.warm import Warm
from rlmd.values import WalkRules

RULES = WalkRules()


@dataclass
class Searched:
    """A tree that is searched with its index and without."""

    root: Path
    cache: Path
    world: World
    process: ThreadOffload
    exact: Exact
    warm: Warm
    limiter: trio.CapacityLimiter

    async def index(self) -> None:
        """Collect the tree and make segments for all of it."""
        await self.exact.index(await self.world.collect(self.root))

    async def with_index(self, path: Path | None = None, **request: Any) -> GrepResult | None:
        return await self.warm.grep(GrepRequest(**request), str(path or self.root), **self._means())

    async def without_index(self, path: Path | None = None, **request: Any) -> GrepResult:
        return await grep(GrepRequest(**request), str(path or self.root), **self._means())

    def _means(self) -> dict[str, Any]:
        return {"rules": RULES, "workspace": str(self.root), "limiter": self.limiter}


@asynccontextmanager
async def open_searched(root: Path, cache: Path) -> AsyncIterator[Searched]:
    """Start a keeper and exact search, with two scanners and one for the upkeep."""
    scratch = cache / "tables"
    scratch.mkdir(parents=True, exist_ok=True)
    async with open_world(cache) as world, trio.open_nursery() as behind:
        process = ThreadOffload()  # one call at a time, as what they keep open takes no two
        exact = Exact([process, process], process, behind, str(scratch))  # type: ignore[list-item, arg-type]
        yield Searched(root, cache, world, process, exact, Warm(world.keeper, exact), trio.CapacityLimiter(4))
        behind.cancel_scope.cancel()
