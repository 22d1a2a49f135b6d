"""The session of the sandbox that one run holds, and which files its code has looked into."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace

import trio

from rlmd.answers import Json
from rlmd.corpus.snapshot import Snapshot
from rlmd.errors import NotFound, RequestError
from rlmd.sandbox.requests import Content, Documents, Exec, ExecResult
from rlmd.sandbox.services import NO_SERVICES, Services
from rlmd.supervision import ActorError

Execute = Callable[[Exec], Awaitable[ExecResult]]

_CLOSING_S = 2.0
_TOUCHED = "submit(files.touched())"
_LOST = "it was lost"


class Repl:
    """Cells of one run, over the files of one snapshot."""

    def __init__(self, execute: Execute, snapshot: Snapshot, context: str | None, cell_s: float) -> None:
        self._execute = execute
        self._snapshot = snapshot
        self._content: Content = Documents(
            f"{snapshot.id}:{context or ''}", snapshot.pack.path, snapshot.files, context, snapshot
        )
        self._cell_s = cell_s
        self._touched = 0
        self._name = _new_name()
        self._is_open = False

    async def run(self, code: str, services: Services = NO_SERVICES) -> ExecResult:
        """Run *code* as the next cell, in a new session where there is none.

        Raises Busy at once where no session is free, and SandboxUnavailable.  Cancelling ends the
        cell; the variables are lost with it.
        """
        request = Exec(code=code, timeout_s=self._cell_s, held=True, services=services)
        if self._is_open:
            request = replace(request, session=self._name)
        else:
            request = replace(request, name=self._name, content=self._content)
        try:
            result = await self._execute(request)
        except NotFound:
            self._name, self._is_open = _new_name(), False
            return ExecResult(killed=_LOST)
        except trio.Cancelled:
            self._is_open = True  # it may be
            raise
        self._is_open = True
        return result

    async def close(self) -> None:
        """End the session, also one whose opening was cancelled."""
        request = Exec(code="", session=self._name, close=True, held=True)
        with trio.move_on_after(_CLOSING_S, shield=True), contextlib.suppress(RequestError, ActorError):
            await self._execute(request)

    async def note_touched(self) -> None:
        """Learn which files the cells so far have looked into; a cell that lies cheats its own run alone."""
        told = (await self.run(_TOUCHED)).answer
        if isinstance(told, str):
            with contextlib.suppress(ValueError):
                self._touched |= int.from_bytes(bytes.fromhex(told), "little")

    async def set_history(self, history: list[Json]) -> None:
        """Bind `history` to what was said so far."""
        await self.run(f"import json\nhistory = json.loads({json.dumps(json.dumps(history))})")

    def read(self) -> Iterator[str]:
        """Yield the paths that the cells have looked into, in path order."""
        for row, path in enumerate(self._snapshot.files.paths):
            if self._touched >> row & 1:
                yield path


@asynccontextmanager
async def open_repl(
    execute: Execute, snapshot: Snapshot, context: str | None, *, cell_s: float
) -> AsyncIterator[Repl]:
    """Hold a session for the length of the block; raises what `Repl.run` raises."""
    repl = Repl(execute, snapshot, context, cell_s)
    try:
        await repl.run("")
        yield repl
    finally:
        await repl.close()


def _new_name() -> str:
    return f"r-{secrets.token_hex(6)}"
