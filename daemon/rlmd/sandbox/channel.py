"""The confined end of the wire: questions to the daemon, and their answers.

Runs inside; standard library only.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rlmd.sandbox.wire import Frame, Frames, Op, encode

CHUNK_BYTES = 1 << 20
LONGEST_FRAME_BYTES = 1 << 30


class SubCallError(RuntimeError):
    """A call out of the cell failed; the text says why.  It is no answer."""

    __module__ = "__main__"


class BudgetExceeded(SubCallError):
    """What this session may spend is spent."""

    __module__ = "__main__"


class NotAvailable(SubCallError):
    """This daemon does not offer that yet."""

    __module__ = "__main__"


REFUSALS = {"budget": BudgetExceeded, "not_available": NotAvailable}


class Reply:
    """What a call will bring; `result()` waits for it, or raises why there is none."""

    def __init__(self, channel: Channel, turn: int, ask: int) -> None:
        self._channel = channel
        self._key = (turn, ask)

    def done(self) -> bool:
        """Say whether it has arrived, as far as anybody has looked."""
        return self._key in self._channel.replies

    def result(self, timeout: float | None = None) -> str:  # noqa: ARG002  # as futures have it; the cell's limit holds
        """Return the text."""
        return self.parts()[0]

    def exception(self) -> BaseException | None:
        """Return what `result` would raise, or None."""
        try:
            self.parts()
        except SubCallError as error:
            return error
        return None

    def parts(self) -> tuple[str, ...]:
        """Return all of the answer."""
        frame = self._channel.wait(self._key)
        if frame.op == Op.REFUSAL:
            kind, text = frame.parts
            raise REFUSALS.get(kind, SubCallError)(text)
        return frame.parts


class Channel:
    """Frames over one descriptor.  Interrupts wait while a frame is half read or half written."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._frames = Frames(LONGEST_FRAME_BYTES)
        self._asked = 0
        self.turn = 0
        self.replies: dict[tuple[int, int], Frame] = {}

    def feed(self, data: bytes) -> None:
        """Take what was read by other means."""
        self._frames.feed(data)

    def send(self, op: Op, ask: int = 0, parts: Sequence[str] = ()) -> None:
        """Write one frame of this turn, however long that takes."""
        rest = memoryview(encode(op, self.turn, ask, parts))
        with _uninterrupted():
            while rest:
                rest = rest[os.write(self._fd, rest) :]

    def receive(self) -> Frame:
        """Return the next frame; end the process when there is nobody to send one."""
        with _uninterrupted():
            while (frame := self._frames.take()) is None:
                data = os.read(self._fd, CHUNK_BYTES)
                if not data:
                    os._exit(0)
                self._frames.feed(data)
        return frame

    def next_cell(self) -> str:
        """Wait for the next cell and return its code; what the last one left unanswered is void."""
        self.replies.clear()
        while (frame := self.receive()).op != Op.RUN:
            pass
        self.turn, self._asked = frame.turn, 0
        self.replies.clear()
        return frame.parts[0]

    def ask(self, op: Op, *parts: str) -> Reply:
        """Send a question; its answer can be waited for later."""
        self._asked += 1
        self.send(op, self._asked, parts)
        return Reply(self, self.turn, self._asked)

    def bring(self, first: int, count: int) -> None:
        """Have blocks of the contents brought; return when they are there."""
        self.ask(Op.BRING, str(first), str(count)).parts()

    def wait(self, key: tuple[int, int]) -> Frame:
        """Return the answer to *key*, once and again; raise SubCallError where none will come."""
        while key not in self.replies:
            if key[0] != self.turn:
                raise SubCallError("the cell that asked this has ended, and its calls with it")
            frame = self.receive()
            self.replies[frame.turn, frame.ask] = frame
        return self.replies[key]


@contextmanager
def _uninterrupted() -> Iterator[None]:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
