"""A real daemon in directories of its own, and clients that speak raw JSON to it over its socket.

Everything here blocks, and everything has a time limit: a daemon that hangs fails its test.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

from door_world import HANDSHAKE, Frame, call

PATIENCE_S = 30.0
ANSWER_S = 70.0
"""Longer than the longest wait that a call may ask for."""
PACKAGE = Path(__file__).parents[1] / "daemon"


@dataclass(frozen=True)
class Places:
    """The directories of one daemon, below one of its own; nothing else of the user's is touched."""

    top: Path

    @property
    def socket(self) -> Path:
        return self.top / "mcp.sock"

    @property
    def state(self) -> Path:
        return self.top / "state"

    @property
    def cache(self) -> Path:
        return self.top / "cache"

    def env(self, **extra: str) -> dict[str, str]:
        """Return an environment in which every command means this daemon."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("RLMD_", "XDG_"))}
        return {
            **kept,
            "HOME": str(self.top),
            "PYTHONPATH": str(PACKAGE),
            "PYTHONWARNINGS": "error",
            "RLMD_SOCKET": str(self.socket),
            "RLMD_STATE_DIR": str(self.state),
            "RLMD_CACHE_DIR": str(self.cache),
            **extra,
        }

    def run(self, *arguments: str, cwd: Path | None = None, stdin: str = "", **extra: str) -> Done:
        """Run `rlmd` with *arguments* to its end."""
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "rlmd", *arguments],
            env=self.env(**extra),
            cwd=cwd or self.top,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr, time.perf_counter() - began)

    def connect(self, cwd: Path | str | None = None) -> Client:
        """Open a connection; *cwd* is said in a greeting, as the bridge does."""
        client = Client(str(self.socket))
        if cwd is not None:
            client.send({"rlmd/hello": {"cwd": str(cwd), "version": "test"}})
        return client


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str
    took_s: float


@dataclass
class Daemon:
    """A daemon that said it is ready; `log` is the file that its stderr goes to."""

    places: Places
    process: subprocess.Popen[bytes]
    log: Path
    ready_after_s: float

    @property
    def pid(self) -> int:
        return self.process.pid

    def connect(self, cwd: Path | str | None = None) -> Client:
        return self.places.connect(cwd)

    def logged(self) -> str:
        return self.log.read_text()

    def children(self) -> list[int]:
        """Return the pids of its child processes."""
        found: list[int] = []
        for thread in Path(f"/proc/{self.pid}/task").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
                found += map(int, (thread / "children").read_text().split())
        return found

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send the signal and wait for the exit code, negative where a signal ended it."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)


class Client:
    """One connection; answers are taken in the order in which they come."""

    def __init__(self, path: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(ANSWER_S)
        self.socket.connect(path)
        self.others: list[Frame] = []
        self._buffer = b""
        self._ids = itertools.count(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def send(self, *frames: Frame) -> None:
        self.send_bytes(b"".join(json.dumps(frame).encode() + b"\n" for frame in frames))

    def send_bytes(self, data: bytes) -> None:
        self.socket.sendall(data)

    def receive(self) -> Frame | None:
        """Return the next frame, or None at the end of the connection."""
        while b"\n" not in self._buffer:
            try:
                data = self.socket.recv(1 << 20)
            except ConnectionResetError:
                return None
            if not data:
                return None
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return cast("Frame", json.loads(line))

    def answer_to(self, request_id: int | str | None) -> Frame:
        """Return the frame that answers the request; what comes before it goes to `others`."""
        while (frame := self.receive()) is not None:
            if "method" not in frame and frame.get("id") == request_id:
                return frame
            self.others.append(frame)
        raise AssertionError(f"the connection ended without an answer to {request_id}")

    def request(self, method: str, params: Frame | None = None) -> Frame:
        """Send a request of the handshake era and return the frame that answers it."""
        request_id = next(self._ids)
        self.send({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params or {}})
        return self.answer_to(request_id)

    def shake_hands(self, version: str = "2025-06-18") -> Frame:
        """Do the handshake of the older era; return its result."""
        answer = self.request("initialize", HANDSHAKE | {"protocolVersion": version})
        self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return cast("Frame", answer["result"])

    def call(self, tool: str, arguments: Frame | None = None, **meta: Any) -> Frame:
        """Call *tool* in the stateless era; return its result, be it an error."""
        request_id = next(self._ids)
        self.send(call(tool, arguments, request_id=request_id, **meta))
        answer = self.answer_to(request_id)
        assert "result" in answer, answer
        return cast("Frame", answer["result"])

    def ask(self, tool: str, arguments: Frame | None = None) -> Frame:
        """Call *tool* and return its facts; fails where the call did."""
        result = self.call(tool, arguments)
        assert not result.get("isError"), result
        return cast("Frame", result["_meta"]["rlmd/result"])

    def fail(self, tool: str, arguments: Frame | None = None) -> Frame:
        """Call *tool*, which has to fail; return what it says of its error."""
        result = self.call(tool, arguments)
        assert result.get("isError"), result
        return cast("Frame", result["_meta"]["rlmd/error"])


@contextmanager
def new_places() -> Iterator[Places]:
    """Yield directories with a path short enough for a socket; remove them after."""
    top = Path(tempfile.mkdtemp(prefix="rlmd-e2e-"))
    try:
        yield Places(top)
    finally:
        shutil.rmtree(top, ignore_errors=True)


@contextmanager
def running_daemon(places: Places, *options: str, env: Mapping[str, str] | None = None) -> Iterator[Daemon]:
    """Run `python -m rlmd serve` for the length of the block; end it, by force where it takes that."""
    log = places.top / "stderr.log"
    log.unlink(missing_ok=True)
    command = [sys.executable, "-m", "rlmd", "serve", *options]
    began = time.perf_counter()
    with log.open("ab") as stderr:
        process = subprocess.Popen(
            command, env=places.env(**(env or {})), stdin=subprocess.DEVNULL, stderr=stderr, cwd="/"
        )
    try:
        until(lambda: process.poll() is not None or "rlmd: ready" in log.read_text(), "the daemon is ready")
        assert process.poll() is None, log.read_text()
        yield Daemon(places, process, log, time.perf_counter() - began)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise AssertionError(f"SIGTERM did not end the daemon:\n{log.read_text()[-4_000:]}") from None


def until(holds: Callable[[], object], what: str, within_s: float = PATIENCE_S) -> float:
    """Look until *holds*, and return how many seconds it took; fail where it does not come to that."""
    began = time.perf_counter()
    while not holds():
        assert time.perf_counter() - began < within_s, f"not within {within_s:g} s: {what}"
        time.sleep(0.002)
    return time.perf_counter() - began


def is_alive(pid: int) -> bool:
    """Say whether *pid* is a process that has not ended; a zombie has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except (FileNotFoundError, ProcessLookupError):
        return False
