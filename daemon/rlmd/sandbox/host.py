"""One confined interpreter as the daemon sees it: hand over, run cells, enforce every limit, kill."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import trio

from rlmd.sandbox.contents import Shared
from rlmd.sandbox.link import Ended, Link
from rlmd.sandbox.outcome import Violation
from rlmd.sandbox.process import Process, unavailable
from rlmd.sandbox.requests import Allowance, ExecResult, Limits
from rlmd.sandbox.services import Services
from rlmd.sandbox.turn import Turn
from rlmd.sandbox.wire import Op, WireError
from rlmd.supervision import ungrouped

DYING_S = 0.5
"""A process whose connection has ended is dead by then, unless it closed it on purpose."""


class Interpreter:
    """A process that has its contents and its locks, and runs one cell at a time."""

    def __init__(self, process: Process, limits: Limits, shared: Shared) -> None:
        self.process = process
        self._shared = shared
        self._limits = limits
        self._link = Link(process, limits)

    async def start(self) -> tuple[str, ...]:
        """Give the process its contents and wait until it is locked in; return the locks that hold.

        Raises SandboxUnavailable, and leaves no process, when they do not within the time for it.
        """
        problem = "it did not get ready in time"
        with trio.move_on_after(self._limits.start_s), self._fatal():
            try:
                await self._link.send_start(self._shared.handed)
                frame = await self._link.receive_any()
            except (Ended, Violation, WireError) as failed:
                problem = str(failed) or self.process.fate
            else:
                if frame.op == Op.READY:
                    return frame.parts
                problem = (
                    " ".join(frame.parts) if frame.op == Op.UNSAFE else "it said something else than ready"
                )
        self.process.kill(problem)
        raise unavailable(problem)

    async def run(
        self, code: str, services: Services, allowance: Allowance, *, timeout_s: float
    ) -> ExecResult:
        """Run *code* as the next cell and return what it came to, though that be the process's death.

        Cancelling kills the process at once, and so does an error of *services*.
        """
        self._link.next_turn()
        began, made = trio.current_time(), allowance.made
        turn = Turn(self._link, self._shared, services, allowance, self._limits, timeout_s)
        with self._fatal(), ungrouped():
            result = await turn.run(code)
        if result is None:
            with trio.move_on_after(DYING_S):
                await self.process.gone.wait()
            self.process.kill("it closed its connection")
            await self.process.gone.wait()
            result = ExecResult(killed=self.process.fate)
        return replace(result, sub_calls=allowance.made - made, wall_s=round(trio.current_time() - began, 3))

    @contextmanager
    def _fatal(self) -> Iterator[None]:
        """Let nothing leave the block but that the process dies of it."""
        try:
            yield
        except BaseException:  # cancelled or failed, the process is in the middle of it
            self.process.kill("the request was cancelled")
            raise
