"""One connection of a client, as all that it asks for shares it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import trio
from mcp.server.context import ServerRequestContext

from rlmd.doors.messages import Hello
from rlmd.doors.subscriptions import Watch
from rlmd.values import Session

CWD_HEADER = "rlmd-cwd"


@dataclass(slots=True)
class Connection:
    """What one connection knows of itself; its requests share it."""

    session: Session
    requests: int = 0
    streams: int = 0
    tasks: trio.Nursery | None = None
    """Where tasks of the connection run; None over HTTP, where connections mean nothing."""
    watch: Watch | None = None
    _idle: trio.lowlevel.ParkingLot = field(default_factory=trio.lowlevel.ParkingLot)

    @contextmanager
    def request(self) -> Iterator[None]:
        """Count a call as in hand for the length of the block."""
        self.requests += 1
        try:
            yield
        finally:
            self.requests -= 1
            if not self.requests:
                self._idle.unpark_all()

    async def quiet(self) -> None:
        """Return once no call is in hand."""
        while self.requests:
            await self._idle.park()

    def asked_by(self, request: Any) -> Session:
        """Return whose *request* it is: on a socket its connection's; over HTTP the headers tell.

        HTTP has no connection to greet on: `rlmd-cwd` names the workspace, and the older era's
        session id tells one client from another.
        """
        if request is None:
            return self.session
        cwd = request.headers.get(CWD_HEADER, "")
        told = request.headers.get("mcp-session-id", "")
        workspace = os.path.normpath(cwd) if os.path.isabs(cwd) and "\0" not in cwd else None
        return replace(self.session, id=f"h-{told[:12]}" if told else self.session.id, workspace=workspace)

    def greet(self, hello: Hello) -> None:
        """Take over what the peer said of itself ahead of its first request."""
        workspace = self.session.workspace if hello.cwd is None else os.path.normpath(hello.cwd)
        self.session = replace(self.session, workspace=workspace, allow=hello.paths)


Context = ServerRequestContext[Connection]
