"""The model of this daemon, as the rest of it knows one: what it is, and how it is asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import trio

from rlmd.config.schema import Llm
from rlmd.errors import BadArgument, ConfigError
from rlmd.llm.limits import Limits
from rlmd.llm.providers import COMMAND, Endpoint
from rlmd.llm.retry import Retry
from rlmd.llm.scripted import Scripted, parse_script
from rlmd.llm.upstream import open_upstream
from rlmd.llm.values import Ask, Reply, Upstream
from rlmd.supervision import Mailbox


class Model:
    """One endpoint, asked through the one caller."""

    def __init__(self, caller: Mailbox[Ask, Reply], settle: Callable[[], Awaitable[Endpoint]]) -> None:
        self._caller = caller
        self._settle = settle
        self._settled: Endpoint | None = None
        self._settling = trio.Lock()

    async def settled(self) -> Endpoint:
        """Return the endpoint with its model and, where anybody told, its window.

        The first call may ask the server; it raises UpstreamError where no model can be named, and
        the next one tries again.
        """
        async with self._settling:
            if self._settled is None:
                self._settled = await self._settle()
            return self._settled

    async def ask(self, ask: Ask) -> Reply:
        """Ask the endpoint through the caller."""
        return await self._caller.ask(ask)


async def settle(endpoint: Endpoint) -> Endpoint:
    """Ask the server of *endpoint* for what settings, environment and our table leave open."""
    upstream = open_upstream(endpoint)
    try:
        return await upstream.settle()
    finally:
        with trio.move_on_after(1, shield=True):
            await upstream.aclose()


def scripted_endpoint(path: str) -> tuple[Endpoint, Callable[[], Upstream]]:
    """Return a model that replays the script at *path*; raises ConfigError for one that is none."""
    try:
        steps = parse_script(Path(path).read_text("utf-8"))
    except (OSError, UnicodeDecodeError, BadArgument) as exc:
        raise ConfigError(f"{path}: is no script (llm.script): {exc}") from exc
    endpoint = Endpoint(provider=COMMAND, command=("script", path), model="scripted", sub_model="scripted")
    return endpoint, partial(Scripted, steps)


def limits_of(llm: Llm) -> Limits:
    """Return what the caller holds to by the settings."""
    return Limits(
        concurrency=llm.concurrency,
        start=min(llm.concurrency, Limits().start),
        queue=llm.queue,
        rpm=llm.rpm,
        tpm=llm.tpm,
        timeout_s=llm.timeout_s,
        retry=Retry(limit=llm.retries),
        cache_ttl_s=llm.cache_ttl_s,
        cache_entries=llm.cache_entries,
    )
