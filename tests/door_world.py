"""A door with nothing behind it: services that answer at once or wait, and clients that speak raw JSON."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

import trio

from rlmd.answers import (
    Analysis,
    CorpusFacts,
    Coverage,
    ForgetRequest,
    GlobRequest,
    GrepRequest,
    JobFacts,
    JobList,
    JobRequest,
    Json,
    Question,
    ReadRequest,
    RecallRequest,
    StoreRequest,
)
from rlmd.doors import listener
from rlmd.doors.mcp_server import McpDoor
from rlmd.doors.traffic import Bounds, Traffic
from rlmd.engine.cells import ExecRequest
from rlmd.errors import NotFound
from rlmd.look.glob import GlobResult
from rlmd.look.page import FoundLine, GrepResult
from rlmd.look.read import ReadResult
from rlmd.memory.ask import Item, Recalled
from rlmd.memory.entry import Changed, Stored
from rlmd.observe import Timings
from rlmd.sandbox.requests import ExecResult
from rlmd.status import MemoryFacts, ProcessFacts, Status
from rlmd.values import Citation, Progress, Report, Session, SkipTally

MODERN_META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}
HANDSHAKE = {
    "protocolVersion": "2025-06-18",
    "capabilities": {},
    "clientInfo": {"name": "test", "version": "1"},
}
Frame = dict[str, Any]


@dataclass
class CannedServices:
    """Answers every verb with a fixed value, unless `fate` raises or waits first."""

    fate: Callable[[Report], Any] | None = None
    asked: list[tuple[Session, Any]] = field(default_factory=list)
    lines: int = 3
    value: str = "of course"
    items: int = 1

    async def _meet_fate(self, session: Session, request: Any, report: Report) -> None:
        self.asked.append((session, request))
        if self.fate is not None:
            await self.fate(report)

    async def analyze(self, session: Session, question: Question, report: Report) -> Analysis:
        await self._meet_fate(session, question, report)
        quote = "\n".join(f"line {number}" for number in range(10, 10 + self.lines))
        passages = tuple(
            Citation(
                f"src/file{place}.py",
                10,
                9 + self.lines,
                quote,
                "0" * 64,
                verified=True,
                score=1 / (1 + place),
            )
            for place in range(20)
        )
        return Analysis(
            job_id="j-1",
            state="done",
            mode="evidence",
            note="Evidence: no model is configured.",
            evidence=passages,
            coverage=Coverage(files=30, files_read=30),
            corpus=CorpusFacts("s-1", "/tree", 30, 3_000, 700, "o200k_base"),
        )

    async def jobs(self, request: JobRequest, report: Report) -> JobList | dict[str, Json]:
        self.asked.append((Session("jobs"), request))
        if request.action != "list":
            told: dict[str, Json] = {"job_id": request.job_id, "state": "done", "answer": self.value}
            evidence: list[Json] = [{"path": "a.py", "quote": "line\n" * 40}] * self.items
            return {**told, "evidence": evidence, "next_cursor": None}
        job = JobFacts(
            job_id="j-1",
            query="q",
            state="done",
            mode="rlm",
            started_at="2026-01-01T00:00:00.000+00:00",
            wall_s=1.0,
            calls=2,
            usd=None,
            turn=3,
        )
        return JobList((job,) * self.items, None)

    async def trajectory(self, job_id: str, *, as_lines: bool) -> str:
        if job_id != "j-1":
            raise NotFound(f"There is no record of {job_id!r}.")
        return "{}\n" if as_lines else "run 0\n"

    async def execute(self, session: Session, request: ExecRequest) -> ExecResult:
        await self._meet_fate(session, request, _nobody)
        return ExecResult(session=request.session or "s-1", stdout="out\n" * self.lines)

    async def read(self, session: Session, request: ReadRequest) -> ReadResult:
        await self._meet_fate(session, request, _nobody)
        return ReadResult("a.py", "one\ntwo", 1, 2, 2, truncated=False, next_offset=None, line_cut=False)

    async def grep(self, session: Session, request: GrepRequest) -> GrepResult:
        await self._meet_fate(session, request, _nobody)
        shown = min(self.lines, request.limit or 100)
        matches = tuple(FoundLine("a.py", number, "x" * 50) for number in range(1, shown + 1))
        cursor = f"after-{shown}" if shown < self.lines else None
        return GrepResult(matches, 1, self.lines, cursor is not None, cursor, SkipTally())

    async def glob(self, session: Session, request: GlobRequest) -> GlobResult:
        await self._meet_fate(session, request, _nobody)
        shown = min(self.lines, request.limit or 1_000)
        cursor = f"after-{shown}" if shown < self.lines else None
        return GlobResult(
            tuple(f"dir/file{n:04}.py" for n in range(shown)), self.lines, cursor is not None, cursor
        )

    async def memory_store(self, session: Session, request: StoreRequest) -> Stored:
        await self._meet_fate(session, request, _nobody)
        return Stored(request.key, request.project or "/tree", 1, created=True)

    async def memory_recall(self, session: Session, request: RecallRequest) -> Recalled:
        await self._meet_fate(session, request, _nobody)
        shown = min(self.items, request.limit)
        item = Item("k", self.value, ("t",), "/tree", 1, "2026-01-01T00:00:00Z", 1.0)
        return Recalled((item,) * shown, f"after-{shown}" if shown < self.items else None)

    async def memory_forget(self, session: Session, request: ForgetRequest) -> Changed:
        await self._meet_fate(session, request, _nobody)
        return Changed(request.key, request.project or "/tree", 2, "forgotten")

    async def metrics(self) -> str:
        return "rlmd_connections 1\n"

    async def status(self, *, verbose: bool) -> Status:
        return Status(
            version="0.1.0",
            pid=4711,
            uptime_s=12.5,
            state="ready",
            memory=MemoryFacts(0, 4096, 0, "ok"),
            process=ProcessFacts(50 << 20, 1 << 30, "RAM", 9, 3),
        )


def _nobody(_: Progress) -> None:
    """Watch no progress."""


class RawClient:
    """One connection that sends what it is told and hands back frames as they come."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._buffer = b""

    async def send(self, *frames: Frame) -> None:
        await self.stream.send_all(b"".join(json.dumps(frame).encode() + b"\n" for frame in frames))

    async def receive(self) -> Frame | None:
        """Return the next frame, or None at the end of the connection."""
        while b"\n" not in self._buffer:
            try:
                data = await self.stream.receive_some()
            except trio.BrokenResourceError:
                return None
            if not data:
                return None
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return cast("Frame", json.loads(line))

    async def call(
        self, name: str, arguments: Frame | None = None, *, request_id: int | str = 1, **meta: Any
    ) -> Frame:
        """Call a tool in the stateless era and return the frame that answers it."""
        await self.send(call(name, arguments, request_id=request_id, **meta))
        while (frame := await self.receive()) is not None:
            if frame.get("id") == request_id:
                return frame
        raise AssertionError("the connection ended without an answer")


def call(name: str, arguments: Frame | None = None, *, request_id: int | str = 1, **meta: Any) -> Frame:
    """Return the frame of a tool call in the stateless era."""
    params = {"name": name, "arguments": arguments or {}, "_meta": MODERN_META | meta}
    return {"jsonrpc": "2.0", "id": request_id, "method": "tools/call", "params": params}


@dataclass
class World:
    """A door that is open, and how to come in."""

    path: Path
    door: McpDoor
    traffic: Traffic
    clients: AsyncExitStack

    async def connect(self) -> RawClient:
        stream = await trio.open_unix_socket(str(self.path))
        await self.clients.enter_async_context(stream)
        return RawClient(stream)


@asynccontextmanager
async def open_door(
    path: Path, services: Any, *, uid: int | None = None, draining: trio.Event | None = None, **bounds: Any
) -> AsyncIterator[World]:
    """Serve *services* at *path* for the length of the block."""
    bound = listener.bind(str(path))
    traffic = Traffic(Bounds(**bounds))
    door = McpDoor(services, version="0.1.0", traffic=traffic, timings=Timings(), draining=draining)
    try:
        async with trio.open_nursery() as nursery, AsyncExitStack() as clients:
            serve = partial(listener.serve, bound, door.serve, traffic=traffic, uid=uid)
            await nursery.start(serve)
            yield World(path, door, traffic, clients)
            nursery.cancel_scope.cancel()
    finally:
        bound.close()


async def call_once(home: Any, services: Any, name: str, given: Frame, **bounds: Any) -> Frame:
    """Open a door, call one tool, and return its result."""
    with trio.fail_after(10):
        async with open_door(home.socket, services, **bounds) as world:
            client = await world.connect()
            answer = await client.call(name, given)
    return cast("Frame", answer["result"])


def text_of(result: Frame) -> str:
    """Return the one text block of a result."""
    (block,) = result["content"]
    return str(block["text"])
