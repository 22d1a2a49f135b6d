"""One cell on its way: the frames it sends, the calls it waits for, the time it has left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import inf

import trio

from rlmd.sandbox.calls import CALLS, Refusal, answer, bring, charge
from rlmd.sandbox.contents import Shared
from rlmd.sandbox.link import Ended, Link
from rlmd.sandbox.outcome import Violation, read_report
from rlmd.sandbox.requests import Allowance, ExecResult, Limits
from rlmd.sandbox.services import Services
from rlmd.sandbox.wire import Frame, Op, WireError

FRAMES_A_STEP = 32
"""So many frames are taken before others have their turn."""
OUT_OF_TIME = "the cell ran out of time"


class Turn:
    """One cell; its contents, allowance and services are the session's."""

    def __init__(
        self,
        link: Link,
        shared: Shared,
        services: Services,
        allowance: Allowance,
        limits: Limits,
        timeout_s: float,
    ) -> None:
        self._link = link
        self._shared = shared
        self._services = services
        self._allowance = allowance
        self._limits = limits
        self._wall = Wall(timeout_s)
        self._slots = trio.Semaphore(limits.calls_at_once)
        self._asked: set[int] = set()
        self._timer = trio.CancelScope()

    async def run(self, code: str) -> ExecResult | None:
        """Return what the cell reports, or None when its process is dead or killed for what it did.

        Calls that nobody waits for any more are cancelled, but a reply that is half sent is finished.
        """
        result = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._end_in_time)
            try:
                self._link.expect_silence()
                await self._link.send(Op.RUN, parts=[code])
                result = await self._converse(nursery)
            except (Violation, WireError) as violation:
                self._link.process.kill(f"it broke the protocol: {violation}")
            except Ended:
                pass
            self._timer.cancel()
            self._wall.refuse_calls()
            nursery.cancel_scope.deadline = trio.current_time() + self._limits.grace_s
        return result

    async def _converse(self, nursery: trio.Nursery) -> ExecResult:
        for taken in range(self._limits.cell_frames + self._shared.handed.blocks):
            frame = await self._link.receive()
            if frame.op == Op.DONE:
                result = read_report(frame.parts, output_chars=self._limits.output_chars)
                self._link.expect_silence()
                return result
            if frame.op not in {*CALLS, Op.BRING} or frame.ask in self._asked:
                raise Violation("a frame is no call")
            self._asked.add(frame.ask)
            nursery.start_soon(self._serve, frame)
            if taken % FRAMES_A_STEP == 0:
                await trio.lowlevel.checkpoint()
        raise Violation("it made too many calls")

    async def _serve(self, frame: Frame) -> None:
        """Answer one call; the cell's own time stands still meanwhile."""
        with self._wall.stopped():
            try:
                parts = await self._answer(frame)
            except Refusal as refused:
                await self._link.send(Op.REFUSAL, frame.ask, [refused.kind, str(refused)])
            except Violation as violation:
                self._link.process.kill(f"it broke the protocol: {violation}")
            else:
                await self._link.send(Op.ANSWER, frame.ask, parts)

    async def _answer(self, frame: Frame) -> list[str]:
        charge(frame, self._allowance, self._limits)
        if frame.op in {Op.LLM_QUERY, Op.RLM_QUERY}:
            self._allowance.made += 1
        parts: list[str] | None = None
        with trio.CancelScope() as scope:
            self._wall.calls.add(scope)
            try:
                if self._wall.is_over:
                    pass
                elif frame.op == Op.BRING:
                    parts = await bring(frame, self._shared)
                else:
                    async with self._slots:
                        parts = await answer(frame, self._services, self._allowance)
            finally:
                self._wall.calls.discard(scope)
        if parts is None:
            raise Refusal("failed", OUT_OF_TIME)
        return parts

    async def _end_in_time(self) -> None:
        """Interrupt the cell when its time is up, its calls first; kill it when it goes on."""
        with self._timer:
            with trio.move_on_after(self._limits.longest_s):
                await self._wall.run_out()
            self._wall.refuse_calls()
            self._link.process.interrupt()
            await trio.sleep(self._limits.grace_s)
            self._link.process.kill(f"{OUT_OF_TIME} and did not stop when it was interrupted")


class Wall:
    """The time of a cell, which runs only while none of its calls is in hand."""

    def __init__(self, limit_s: float) -> None:
        self._scope = trio.CancelScope(deadline=trio.current_time() + limit_s)
        self._left_s = limit_s
        self._in_hand = 0
        self.calls: set[trio.CancelScope] = set()
        self.is_over = False

    async def run_out(self) -> None:
        """Return when the time is used up."""
        with self._scope:
            await trio.sleep_forever()

    def refuse_calls(self) -> None:
        """Cancel the calls in hand, and refuse those to come."""
        self.is_over = True
        for scope in self.calls:
            scope.cancel()

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Let no time pass within the block."""
        if not self._in_hand:
            self._left_s = self._scope.deadline - trio.current_time()
            self._scope.deadline = inf
        self._in_hand += 1
        try:
            yield
        finally:
            self._in_hand -= 1
            if not self._in_hand:
                self._scope.deadline = trio.current_time() + self._left_s
