"""The actor `sandbox_pool`: sessions by name, each a confined interpreter of its own."""

from __future__ import annotations

import secrets
import sys
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from math import inf

import structlog
import trio

from rlmd.errors import BadArgument, Busy, NotFound, SandboxUnavailable
from rlmd.sandbox.contents import Contents, Shared
from rlmd.sandbox.host import Interpreter
from rlmd.sandbox.machines import obstacle
from rlmd.sandbox.process import PROGRAM, Process, unavailable
from rlmd.sandbox.requests import (
    Allowance,
    Answer,
    Describe,
    Description,
    Exec,
    ExecResult,
    Limits,
    Request,
)
from rlmd.status import SandboxFacts
from rlmd.supervision import Actor, Handler

log = structlog.get_logger(__name__)

ENDED_REMEMBERED = 256
REFILL_PAUSE_S = 0.02


def sandbox_pool(
    limits: Limits,
    *,
    sessions: int = 8,
    idle_s: float = 600.0,
    warm: int = 1,
    program: str = PROGRAM,
    python: str = sys.executable,
) -> Actor[Request, Answer]:
    """Make the actor; start it as a concurrent one.

    At most *sessions* are open; *warm* processes wait for further ones.  A session that is idle for
    *idle_s* seconds is ended.  Ending the actor kills every process.  Tests alone give another
    *program*, or another *python* to run it.
    """

    @asynccontextmanager
    async def pool() -> AsyncIterator[Handler[Request, Answer]]:
        async with trio.open_nursery() as nursery:
            state = _Pool(nursery, limits, sessions, idle_s, warm, partial(Process, program, python))
            nursery.start_soon(state.prove)
            try:
                yield state.handle
            finally:
                state.close()
                nursery.cancel_scope.cancel()

    return pool


@dataclass(eq=False)
class _Session:
    """A namespace that lasts, the process that has it, and what it may still spend.

    `interpreter` is None before the first cell and after a kill that was told.  `life` ends it when
    it has been idle for long enough; `users` are the cells that run or wait in it.
    """

    id: str
    allowance: Allowance
    held: bool
    shared: Shared | None = None
    interpreter: Interpreter | None = None
    turn: trio.Lock = field(default_factory=trio.Lock)
    life: trio.CancelScope = field(default_factory=trio.CancelScope)
    users: int = 0


class _Pool:
    """The state of the actor."""

    def __init__(
        self,
        nursery: trio.Nursery,
        limits: Limits,
        sessions: int,
        idle_s: float,
        warm: int,
        new_process: Callable[[], Process],
    ) -> None:
        self._nursery = nursery
        self._limits = limits
        self._most = sessions
        self._idle_s = idle_s
        self._most_warm = warm
        self._new_process = new_process
        self._contents = Contents()
        self._sessions: OrderedDict[str, _Session] = OrderedDict()
        self._ended: OrderedDict[str, str] = OrderedDict()
        self._warm: deque[Process] = deque()
        self._layers: tuple[str, ...] = ()
        self._problem = obstacle()
        self._proved = trio.Event()

    async def handle(self, request: Request) -> Answer:
        """Answer one request."""
        match request:
            case Describe():
                await self._proved.wait()  # before, nobody can say what holds
                facts = SandboxFacts(bool(self._layers), self._layers, len(self._sessions))
                return Description(facts, self._problem)
            case Exec() if (problem := obstacle()) is not None:
                raise unavailable(problem)
            case Exec():
                return await self._execute(request)

    async def prove(self) -> None:
        """Lock one process in that sees nothing, so that status can say what holds."""
        if self._problem is not None:
            log.warning("sandbox.unavailable", reason=self._problem)
            self._proved.set()
            return
        shared = await self._contents.take(None)
        try:
            interpreter = await self._start(shared)
        except SandboxUnavailable as refused:
            log.warning("sandbox.unavailable", reason=refused.message)
        else:
            interpreter.process.kill("it was a proof")
            self._nursery.start_soon(self._refill)
        finally:
            self._proved.set()
            self._contents.give_back(shared)

    def close(self) -> None:
        """End every session."""
        for session in list(self._sessions.values()):
            self._end(session, "the daemon is shutting down")

    async def _execute(self, request: Exec) -> ExecResult:
        session = self._open(request) if request.session is None else self._known(request)
        with self._in_use(session):
            async with session.turn:
                if self._sessions.get(session.id) is not session:
                    raise self._gone(session.id)
                try:
                    result = await self._run(session, request)
                except BaseException:  # cancelled or failed, its state is unknown
                    self._end(session, "its last cell was cancelled or could not be run")
                    raise
            if request.close:
                self._end(session, "it was closed")
        if len(self._warm) < self._most_warm:
            self._nursery.start_soon(self._refill)
        return replace(result, session=session.id)

    async def _run(self, session: _Session, request: Exec) -> ExecResult:
        if session.shared is None:
            session.shared = await self._contents.take(request.content)
        if session.interpreter is None:
            session.interpreter = await self._start(session.shared)
        result = await session.interpreter.run(
            request.code, request.services, session.allowance, timeout_s=request.timeout_s
        )
        if result.killed is not None:
            log.info("sandbox.killed", session=session.id, reason=result.killed)
            session.interpreter = None
        return result

    def _open(self, request: Exec) -> _Session:
        self._make_room()
        allowance = Allowance(self._limits.calls, self._limits.prompt_bytes)
        session = _Session(request.name or f"s-{secrets.token_hex(4)}", allowance, request.held)
        self._sessions[session.id] = session
        self._nursery.start_soon(self._live, session)
        return session

    def _known(self, request: Exec) -> _Session:
        assert request.session is not None
        session = self._sessions.get(request.session)
        if session is None:
            raise self._gone(request.session)
        if request.content is not None:
            raise BadArgument(
                f"Session {session.id} keeps the content that it began with.",
                "Leave the paths or the text out, or leave `session` out to begin a new one.",
            )
        died = session.interpreter is not None and not session.interpreter.process.is_alive
        if died and not session.users:
            assert session.interpreter is not None
            self._end(session, session.interpreter.process.fate)
            raise self._gone(session.id)
        return session

    def _gone(self, name: str) -> NotFound:
        why = self._ended.get(name)
        told = "there is no such session" if why is None else f"it has ended: {why}; its variables are lost"
        return NotFound(f"Session {name}: {told}.", "Leave `session` out to begin a new one.")

    def _make_room(self) -> None:
        """End the session that was used least lately; raise Busy when all are running or held."""
        if len(self._sessions) < self._most:
            return
        idle = (session for session in self._sessions.values() if not session.users and not session.held)
        oldest = next(idle, None)
        if oldest is None:
            raise Busy(
                f"All {self._most} sessions are running.",
                "Wait for one, close one, or raise sandbox.sessions.",
            )
        self._end(oldest, "it made room for another")

    @contextmanager
    def _in_use(self, session: _Session) -> Iterator[None]:
        """Keep *session* from being ended for the length of the block, as the one used last."""
        session.users += 1
        session.life.deadline = inf
        try:
            yield
        finally:
            session.users -= 1
            if session.id in self._sessions:
                self._sessions.move_to_end(session.id)
            if not session.users and not session.held:
                session.life.deadline = trio.current_time() + self._idle_s

    async def _live(self, session: _Session) -> None:
        with session.life:
            await trio.sleep_forever()
        self._end(session, f"it was idle for {self._idle_s:g} s")

    def _end(self, session: _Session, reason: str) -> None:
        """Leave nothing of *session* but the reason; ending it twice is once."""
        if self._sessions.pop(session.id, None) is None:
            return
        self._ended[session.id] = reason
        while len(self._ended) > ENDED_REMEMBERED:
            self._ended.popitem(last=False)
        if session.interpreter is not None:
            session.interpreter.process.kill(f"its session has ended: {reason}")
        if session.shared is not None:
            self._contents.give_back(session.shared)
        session.life.cancel()

    async def _start(self, shared: Shared) -> Interpreter:
        """Lock a warm process in, or a new one where none is; raise SandboxUnavailable."""
        warm = (process for process in self._drain_warm() if process.is_alive)
        process = next(warm, None) or self._spawn()
        interpreter = Interpreter(process, self._limits, shared)
        try:
            self._layers = await interpreter.start()
            self._problem = None
        except SandboxUnavailable as refused:
            self._layers, self._problem = (), refused.message
            raise
        return interpreter

    def _drain_warm(self) -> Iterator[Process]:
        while self._warm:
            yield self._warm.popleft()

    async def _refill(self) -> None:
        """Start what is missing, once the answer that took the last one is out."""
        await trio.sleep(REFILL_PAUSE_S)
        while len(self._warm) < self._most_warm:
            self._warm.append(self._spawn())

    def _spawn(self) -> Process:
        process = self._new_process()
        self._nursery.start_soon(process.keep)
        return process
