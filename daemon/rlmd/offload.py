"""Work that would hold the interpreter lock, done in one process beside the daemon.

The process is started by the first call and ended when nothing was called for a while.  It dies
with the daemon, even by kill -9, sees none of its environment, and runs one call at a time.
"""

from __future__ import annotations

import math
import os
import pickle
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Literal

import trio

from rlmd.offload_child import HEAD

CHILD = Path(__file__).with_name("offload_child.py")
ENVIRONMENT = ("LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "TMPDIR")
CANCEL_GRACE_S = 0.08
REAP_S = 2.0
CHUNK_BYTES = 1 << 18

Answer = (
    tuple[Literal["value"], object]
    | tuple[Literal["raised"], Exception]
    | tuple[Literal["failed", "fatal"], str]
)


class OffloadError(Exception):
    """A call failed in a way that could not come back as its own exception; the text says how."""


class OffloadDied(OffloadError):
    """The process died while it ran this call; the next call starts another."""


class OffloadTimedOut(OffloadError):
    """A call overran its time and its process was ended; the next call starts another."""


@asynccontextmanager
async def open_offload(*, idle_s: float = 60.0) -> AsyncIterator[Offload]:
    """Open the way to the worker process, which ends after *idle_s* seconds without a call.

    Leaving the context kills and reaps it; a call still in hand elsewhere raises OffloadDied.  An
    exception of the block comes out in a group, as from any nursery.
    """
    async with trio.open_nursery() as nursery:
        offload = Offload(nursery, idle_s)
        try:
            yield offload
        finally:
            offload.close()
            nursery.cancel_scope.cancel()


class Offload:
    """Runs named functions in the worker process, one at a time, first come first served."""

    def __init__(self, nursery: trio.Nursery, idle_s: float) -> None:
        self._nursery = nursery
        self._idle_s = idle_s
        self._turn = trio.Lock()
        self._worker: _Worker | None = None
        self._closed = False

    @property
    def pid(self) -> int | None:
        """The id of the process, None while there is none."""
        return self._worker.pid if self._worker is not None and self._worker.is_alive() else None

    async def call(self, function: str, *args: object, timeout_s: float = math.inf) -> object:
        """Run `module:name` with *args* in the process and return its result.

        Arguments and results are pickled, on the event loop: pass paths and spans, not trees.  An
        Exception comes back as itself, with the other side's traceback as a note, or as OffloadError
        where it does not pickle.  Raises OffloadDied when the process dies of the call, and
        OffloadTimedOut *timeout_s* seconds after its turn came.  Cancelling returns within 100 ms:
        a call that does not end at once is killed together with its process.
        """
        frame = _framed((function, args))
        async with self._turn:
            worker = self._ready()
            with worker.occupied(), trio.move_on_after(timeout_s):
                return await worker.ask(frame)
        raise OffloadTimedOut(f"{function} ran for more than {timeout_s:g} s")

    def rest(self) -> None:
        """End the process unless it is at work; the next call starts another."""
        if self._worker is not None and not self._turn.locked():
            self._worker.kill()

    def close(self) -> None:
        """Accept no further call."""
        self._closed = True

    def _ready(self) -> _Worker:
        if self._closed:
            raise OffloadError("the worker process is shut down")
        if self._worker is None or not self._worker.is_alive():
            self._worker = _Worker(self._idle_s)
            self._nursery.start_soon(self._worker.keep)
        return self._worker


class _Worker:
    """One process, from its start to its burial by `keep`, which must be running throughout."""

    def __init__(self, idle_s: float) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = _start(theirs.fileno())
            except OSError:
                ours.close()
                raise
        self._pidfd = os.pidfd_open(self._process.pid)
        self._stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
        self._received = bytearray()
        self._greeting = _framed([entry for entry in sys.path if Path(entry).is_absolute()])
        self._idle_s = idle_s
        self._life = trio.CancelScope()
        self._over = trio.Event()
        self._is_busy = False

    @property
    def pid(self) -> int:
        return self._process.pid

    def is_alive(self) -> bool:
        """Whether the process can take a call; one that died a moment ago is seen and reaped."""
        return not self._life.cancel_called and self._process.poll() is None

    async def keep(self) -> None:
        """Wait until the process dies, idles too long or is given up; leave nothing of it."""
        try:
            with self._life:
                await trio.lowlevel.wait_readable(self._pidfd)
        finally:
            self.kill()
            with trio.move_on_after(REAP_S, shield=True):
                await trio.lowlevel.wait_readable(self._pidfd)
            self._process.poll()
            os.close(self._pidfd)
            self._over.set()
            self._hang_up()

    def kill(self) -> None:
        """End the process now; `keep` sees to the rest."""
        self._process.kill()
        self._life.cancel()

    @contextmanager
    def occupied(self) -> Iterator[None]:
        """Hold off the idle end, and keep the connection for last words, while a call is in hand."""
        self._is_busy, self._life.deadline = True, math.inf
        try:
            yield
        finally:
            self._is_busy, self._life.deadline = False, trio.current_time() + self._idle_s
            self._hang_up()

    async def ask(self, frame: bytes) -> object:
        """Run one call and return its result; being cancelled leaves the process idle or dead."""
        is_sent = False
        try:
            await self._stream.send_all(self._greeting)
            self._greeting = b""
            await self._stream.send_all(frame)
            is_sent = True
            answer = await self._answer()
        except trio.Cancelled:
            with (
                trio.move_on_after(CANCEL_GRACE_S, shield=True) as grace,
                suppress(trio.BrokenResourceError, OffloadError),
            ):
                if is_sent:
                    await self._answer()
            if not is_sent or grace.cancelled_caught:
                self.kill()
            raise
        except trio.BrokenResourceError:
            self.kill()
            await self._over.wait()
            raise OffloadDied(f"the worker process died: {_fate(self._process.returncode)}") from None
        match answer:
            case ("value", value):
                return value
            case ("raised", error):
                raise error
            case (_, text):
                raise OffloadError(text)

    async def _answer(self) -> Answer:
        """Return the next outcome and what goes with it; a fatal one is the end of the process."""
        frame = await self._receive()
        try:
            answer: Answer = pickle.loads(frame)  # noqa: S301  # our own process wrote it
        except Exception as error:  # pickle raises whatever its data makes it
            raise OffloadError(f"the answer does not unpickle: {error}") from error
        if answer[0] == "fatal":
            self.kill()
        return answer

    async def _receive(self) -> bytes:
        """Return the next whole frame; what a cancelled wait had received is kept for the next."""
        end = math.inf
        while len(self._received) < end:
            if end == math.inf and len(self._received) >= HEAD.size:
                end = HEAD.size + HEAD.unpack_from(self._received)[0]
                continue
            piece = await self._stream.receive_some(CHUNK_BYTES)
            if not piece:
                raise trio.BrokenResourceError("the worker process closed its end")
            self._received += piece
        frame = bytes(memoryview(self._received)[HEAD.size :])
        self._received.clear()
        return frame

    def _hang_up(self) -> None:
        if self._over.is_set() and not self._is_busy:
            self._stream.socket.close()


def _start(fd: int) -> subprocess.Popen[bytes]:
    """Start the process from this very thread: the kernel's death signal follows the thread that forked.

    Trio's own way to start one forks in a worker thread, whose end would kill the process with it.
    """
    kept = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
    return subprocess.Popen(  # noqa: S603  # our interpreter, our file
        [sys.executable, "-I", str(CHILD), str(fd), str(os.getpid())],
        env=kept,
        pass_fds=(fd,),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )


def _framed(value: object) -> bytes:
    body = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    return HEAD.pack(len(body)) + body


def _fate(code: int | None) -> str:
    if code is None or code >= 0:
        return f"exit status {code}"
    return signal.Signals(-code).name
