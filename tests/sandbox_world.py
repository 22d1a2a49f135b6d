"""Sandboxes for tests: a pool with small limits, a scripted model, and contents in a pack."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from rlmd.errors import NoLlm
from rlmd.sandbox.pool import sandbox_pool
from rlmd.sandbox.requests import Documents, Exec, ExecResult, Limits
from rlmd.sandbox.services import Excerpt, NoServices
from rlmd.supervision import Mailbox, open_supervisor, ungrouped
from rlmd.values import Match, Span

SMALL = Limits(memory_bytes=512 << 20, cpu_s=60, grace_s=0.3)


@dataclass(frozen=True)
class File:
    """One file of a pack."""

    path: str
    span: Span
    encoding: str = "utf-8"


@dataclass
class Sandbox:
    """A pool that is asked in few words."""

    box: Mailbox[Any, Any]

    async def run(self, code: str, session: str | None = None, **more: Any) -> ExecResult:
        with trio.fail_after(30):
            answer = await self.box.ask(Exec(code=code, session=session, **more))
        assert isinstance(answer, ExecResult)
        return answer


@asynccontextmanager
async def open_sandbox(limits: Limits = SMALL, **settings: Any) -> AsyncIterator[Sandbox]:
    with ungrouped():
        async with open_supervisor(grace=1) as supervisor:
            pool = sandbox_pool(limits, **{"warm": 0, **settings})
            yield Sandbox(await supervisor.start_concurrent("sandbox_pool", pool))


def packed(place: Path, files: Mapping[str, bytes], encoding: str = "utf-8", **more: Any) -> Documents:
    """Write *files* to a pack as neighbours of what is nobody's business, and name them."""
    pack, entries = b"a neighbour's bytes", []
    for path, data in files.items():
        entries.append(File(path, Span(len(pack), len(data)), encoding))
        pack += data
    (place / "pack").write_bytes(pack + b"another neighbour's bytes")
    return Documents("snapshot", str(place / "pack"), entries, **more)


class ScriptedServices(NoServices):
    """Answers from what it was given, after as long as it was told; remembers what it was asked."""

    def __init__(self, *, wait_s: float = 0.0, spend: int | None = None) -> None:
        self.wait_s = wait_s
        self.prompts: list[str] = []
        self.running = 0
        self.most_running = 0

    async def llm_query(self, prompt: str, model: str | None) -> str:
        self.prompts.append(prompt)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            await trio.sleep(self.wait_s)
        finally:
            self.running -= 1
        if prompt == "refuse":
            raise NoLlm("no model is configured")
        return f"{model or 'model'}: {prompt.upper()}"

    async def search(self, query: str, k: int, paths: Sequence[str]) -> Sequence[Excerpt]:
        return [Excerpt("a.py", 3, 4, f"{query} {k} {list(paths)}", 0.5)]

    async def references(self, name: str) -> Sequence[Match]:
        return [Match("a.py", 7, f"uses {name}")]
