"""The actors of a daemon without its doors, warm, in a directory that goes away."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from rlmd.corpus.collect import Limits, Sources
from rlmd.corpus.keeper import Answer, Request, corpus_keeper
from rlmd.ingest.readers import reader_pool
from rlmd.ingest.walker import walker
from rlmd.offload import Offload, open_offload
from rlmd.supervision import Mailbox, Supervisor, open_supervisor
from rlmd.tokens.counter import token_counter

LIMITS = Limits(max_files=1_000_000, max_bytes=1 << 40)


@dataclass(frozen=True, eq=False)
class World:
    """What a benchmark asks."""

    supervisor: Supervisor
    offload: Offload
    helper: Offload
    sources: Sources
    scratch: Path

    async def keeper(self) -> Mailbox[Request, Answer]:
        """Start a corpus keeper that knows nothing yet."""
        actor = corpus_keeper(self.sources, self.offload, self.scratch, limits=LIMITS, helpers=[self.helper])
        return await self.supervisor.start_concurrent("corpus_keeper", actor)


@asynccontextmanager
async def open_world() -> AsyncIterator[World]:
    """Start walker, readers and counter as a daemon does, and the worker process."""
    with tempfile.TemporaryDirectory(prefix="rlmd-bench-") as scratch:
        async with (
            open_offload() as offload,
            open_offload() as helper,
            open_supervisor(grace=1) as supervisor,
        ):
            sources = Sources(
                walker=await supervisor.start("walker", walker(threads=4), workers=2),
                readers=await supervisor.start(
                    "reader_pool",
                    reader_pool(max_file_bytes=64 << 20, read_timeout_s=30, open_files=50),
                    workers=2,
                ),
                counter=await supervisor.start_concurrent("token_counter", token_counter(offload)),
                encoding="o200k_base",
            )
            yield World(supervisor, offload, helper, sources, Path(scratch))
