"""The daemon's end of the wire to one process."""

from __future__ import annotations

import json
import os
import secrets
import socket
from array import array
from collections.abc import Sequence

import trio

from rlmd.sandbox.handover import Handed
from rlmd.sandbox.outcome import Violation
from rlmd.sandbox.process import Process
from rlmd.sandbox.requests import Limits
from rlmd.sandbox.wire import MOST_TURNS, Frame, Frames, Op, encode

CHUNK_BYTES = 1 << 18


class Ended(Exception):
    """The process closed its end: it is dead or about to be."""


class Link:
    """Frames to and from *process*; several tasks may send, one receives."""

    def __init__(self, process: Process, limits: Limits) -> None:
        self.process = process
        self._limits = limits
        self._frames = Frames(limits.frame_bytes)
        self._sending = trio.Lock()
        self._received_bytes = 0
        self._turn = 0

    def next_turn(self) -> None:
        """Begin another cell: frames of the last one are a violation from now on.

        Its number cannot be guessed, so that no cell can answer in advance for the next one.
        """
        self._turn = 1 + secrets.randbelow(MOST_TURNS)
        self._received_bytes = 0

    async def send(self, op: Op, ask: int = 0, parts: Sequence[str] = ()) -> None:
        """Write one frame of this turn; what a dead process does not read is no error.

        Being cancelled in the middle of a frame kills the process: the next one would be misread.
        """
        frame = memoryview(encode(op, self._turn, ask, parts))
        rest = frame
        async with self._sending:
            try:
                while rest:
                    rest = rest[await self.process.stream.socket.send(rest) :]
            except OSError:
                return
            finally:
                if 0 < len(rest) < len(frame):
                    self.process.kill("it did not read what it was sent")

    async def receive(self) -> Frame:
        """Return the next frame of this turn; raise Violation or WireError, and Ended at the end."""
        frame = await self.receive_any()
        if frame.turn != self._turn:
            raise Violation("a frame belongs to another cell")
        return frame

    def expect_silence(self) -> None:
        """Raise Violation when the process has said something that nobody asked for."""
        if not self._frames.is_empty or _has_data(self.process.stream.socket):
            raise Violation("it spoke out of turn")

    async def receive_any(self) -> Frame:
        """Return the next frame, of whatever turn; raise as `receive` does."""
        while (frame := self._frames.take()) is None:
            try:
                data = await self.process.stream.receive_some(CHUNK_BYTES)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                data = b""
            if not data:
                raise Ended
            self._received_bytes += len(data)
            if self._received_bytes > self._limits.cell_bytes:
                raise Violation("it sent too much")
            self._frames.feed(data)
        return frame

    async def send_start(self, handed: Handed) -> None:
        """Give the process its settings and descriptors; raise Ended when it is gone."""
        limits = self._limits
        start = {
            "memory_bytes": limits.memory_bytes,
            "cpu_s": limits.cpu_s,
            "output_chars": limits.output_chars,
            "context": handed.context,
            "blocks": handed.blocks,
            "there": handed.there,
        }
        frame = encode(Op.START, parts=[json.dumps(start)])
        fds = array("i", [handed.data, handed.table])
        try:
            await self.process.stream.socket.sendmsg(
                [frame], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds.tobytes())]
            )
        except OSError as failed:
            raise Ended from failed


def _has_data(stream: trio.socket.SocketType) -> bool:
    """Say whether something waits to be read; the end of the stream is nothing."""
    if stream.fileno() < 0:
        return False
    with socket.socket(fileno=os.dup(stream.fileno())) as twin:
        try:
            return bool(twin.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except (BlockingIOError, ConnectionError):
            return False
