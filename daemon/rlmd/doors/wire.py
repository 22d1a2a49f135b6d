"""One connection as the two streams that the protocol engine wants, straight over a socket.

The engine reads messages and writes them; bad frames are answered here, greetings are taken out,
and whoever does not read their answers is not read either.
"""

from __future__ import annotations

import select
import socket
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

import anyio
import trio
from mcp.shared.message import SessionMessage
from mcp_types import INVALID_REQUEST, PARSE_ERROR
from mcp_types.jsonrpc import (
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
    RequestId,
)

from rlmd.doors.framing import Framer, FrameTooLarge
from rlmd.doors.messages import Get, Hello, Refusal, decode

CHUNK_BYTES = 65_536
IN_THREAD_BYTES = 1 << 20
"""Frames beyond this are parsed in a thread, which keeps the loop's stalls under some 10 ms."""
UNREAD_REPLIES = 32
"""So many replies may wait for the socket before nothing more is read from it."""
HANG_UP_POLL_S = 0.02
LINGER_S = 2.0


class Wire:
    """Both directions of one connection; `end` is the scope in which it is served.

    A write that takes longer than `write_timeout_s`, or that is cancelled half way, has torn its
    frame: `end` is cancelled, since nothing sent after it could be understood.
    """

    def __init__(
        self,
        stream: trio.SocketStream,
        *,
        max_frame_bytes: int,
        write_timeout_s: float,
        greet: Callable[[Hello], None],
        page: Callable[[str], Awaitable[bytes]],
        refused: Counter[str],
    ) -> None:
        self.end = trio.CancelScope()
        self.reads = Reads(self)
        self.writes = Writes(self)
        self._stream = stream
        self._framer = Framer(max_frame_bytes)
        self._write_timeout_s = write_timeout_s
        self._greet = greet
        self._page = page
        self._refused = refused
        self._sending = trio.Lock()
        self._torn = False
        self._greetable = True
        self._ended = False
        self._unanswered: set[RequestId] = set()
        self._answered_all = trio.Event()

    async def receive(self) -> SessionMessage | None:
        """Return the next message, or None when the peer is done and has all its answers.

        A peer that only closed its sending half still gets the answers it is owed; one that is gone
        altogether ends the stream at once, and so all work done for it.
        """
        while (frame := await self._next_frame()) is not None:
            if len(frame) > IN_THREAD_BYTES:
                message = await trio.to_thread.run_sync(decode, frame)
            else:
                message = decode(frame)
            match message:
                case Hello() if self._greetable:
                    self._greet(message)
                case Hello():
                    await self.refuse(
                        Refusal(INVALID_REQUEST, "Invalid Request: a greeting comes before requests")
                    )
                case Get() if self._greetable:
                    await self._show(message)
                    break
                case Get():
                    await self.refuse(Refusal(PARSE_ERROR, "Parse error: the line is not JSON"))
                case Refusal():
                    await self.refuse(message)
                case _:
                    self._note_received(message)
                    return SessionMessage(message)
        await self._settle()
        return None

    async def send(self, message: JSONRPCMessage) -> None:
        """Write *message* whole, or raise anyio.BrokenResourceError and end the connection."""
        await self._write(message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n")
        if isinstance(message, JSONRPCResponse | JSONRPCError) and message.id is not None:
            self._forget(message.id)

    async def refuse(self, refusal: Refusal) -> None:
        """Answer a frame that never became a request, if the peer still listens."""
        try:
            await self._write(refusal.encode())
        except anyio.BrokenResourceError:
            self._ended = True

    async def _next_frame(self) -> bytes | None:
        if self._sending.statistics().tasks_waiting > UNREAD_REPLIES:
            async with self._sending:
                pass
        while not self._ended:
            try:
                if (frame := self._framer.next_frame()) is not None:
                    await trio.lowlevel.checkpoint()  # a flooding peer must not starve the loop
                    return frame
            except FrameTooLarge:
                await self._turn_away()
                return None
            if data := await self._receive_some():
                self._framer.feed(data)
            else:
                self._ended = True
                return self._framer.rest()
        return None

    async def _receive_some(self) -> bytes:
        try:
            return bytes(await self._stream.receive_some(CHUNK_BYTES))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return b""

    async def _turn_away(self) -> None:
        """Say why the connection closes, and read a little on so that the peer gets to see it."""
        self._unanswered.clear()
        await self.refuse(
            Refusal(INVALID_REQUEST, "Invalid Request: the frame is too large; the connection closes")
        )
        await self._read_on()

    async def _show(self, get: Get) -> None:
        """Answer a reader of pages in the words of HTTP, and be done with it."""
        with suppress(anyio.BrokenResourceError):
            await self._write(await self._page(get.path))
            with suppress(OSError):  # the peer is gone already
                self._stream.socket.shutdown(socket.SHUT_WR)
            await self._read_on()

    async def _read_on(self) -> None:
        with trio.move_on_after(LINGER_S):
            while not self._ended and await self._receive_some():
                pass
        self._ended = True

    async def _settle(self) -> None:
        while self._unanswered and not self._is_hung_up():
            with trio.move_on_after(HANG_UP_POLL_S):
                await self._answered_all.wait()

    def _is_hung_up(self) -> bool:
        """Say whether the peer is gone in both directions; one that half closed still reads."""
        poll = select.poll()
        poll.register(self._stream.socket.fileno(), 0)
        return bool(poll.poll(0))

    def _note_received(self, message: JSONRPCMessage) -> None:
        match message:
            case JSONRPCRequest(id=request_id):
                self._greetable = False
                self._unanswered.add(request_id)
            case JSONRPCNotification(
                method="notifications/cancelled", params={"requestId": str() | int() as request_id}
            ):
                self._forget(request_id)  # the protocol forbids to answer it
            case _:
                pass

    def _forget(self, request_id: RequestId) -> None:
        self._unanswered.discard(request_id)
        if self._ended and not self._unanswered:
            self._answered_all.set()

    async def _write(self, line: bytes) -> None:
        async with self._sending:
            await trio.lowlevel.checkpoint_if_cancelled()
            if self._torn:
                raise anyio.BrokenResourceError
            self._torn = True
            try:
                with trio.fail_after(self._write_timeout_s):
                    await self._stream.send_all(line)
                self._torn = False
            except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError) as exc:
                self._refused["slow"] += isinstance(exc, trio.TooSlowError)
                raise anyio.BrokenResourceError from exc
            finally:
                if self._torn:
                    self.end.cancel()


class Half:
    """What both streams share; closing is the connection's business, not theirs."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def aclose(self) -> None:
        """Do nothing: the socket is closed by whoever accepted it."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None


class Reads(Half):
    """Messages from the peer."""

    async def receive(self) -> SessionMessage | Exception:
        """Return the next message; raise anyio.EndOfStream after the last."""
        if (message := await self._wire.receive()) is None:
            raise anyio.EndOfStream
        return message

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        if (message := await self._wire.receive()) is None:
            raise StopAsyncIteration
        return message


class Writes(Half):
    """Messages to the peer."""

    async def send(self, item: SessionMessage, /) -> None:
        """Write one message; raise anyio.BrokenResourceError when nothing more can be sent."""
        await self._wire.send(item.message)
