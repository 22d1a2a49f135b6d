"""How soon the daemon is there, and what a call over its socket costs, beside the SDK's own echo server."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROUNDS, CALLS = 5, 400
BRIDGE = Path(__file__).parents[1] / "daemon/rlmd/cli/bridge.py"
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 0,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "bench", "version": "1"},
    },
}


def main() -> None:
    """Print every figure with its bar."""
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors; medians of {ROUNDS} rounds")
    with tempfile.TemporaryDirectory(prefix="rlmd-doors-") as place:
        env = _env(place)
        starts = [_start(env) for _ in range(ROUNDS + 1)][1:]  # the first warms the file cache
        bare_s = _median(lambda: _run([sys.executable, "-I", "-S", "-c", "pass"], env))
        _say("a bare interpreter", bare_s * 1e3, "ms", "")
        _say("start to socket bound", statistics.median(each.bound_s for each in starts) * 1e3, "ms", "< 500")
        answered_s = statistics.median(each.answered_s for each in starts)
        _say("start to `initialize` answered", answered_s * 1e3, "ms", "< 1,500")
        cpu_s = statistics.median(each.cpu_s for each in starts)
        _say("  processor time of it", cpu_s * 1e3, "ms", "")
        with _daemon(env) as pid:
            time.sleep(1)
            _say("resident when idle", _rss_mib(pid), "MiB", "<= 130")
            status_s = _median(lambda: _run([sys.executable, "-m", "rlmd", "status"], env))
            _say("rlmd status", status_s * 1e3, "ms", "<= 200")
            _say("bridge to first reply", _median(lambda: _bridge(env)) * 1e3, "ms", "<= 50")
            _round_trips(env, place)


@dataclass(frozen=True)
class _Start:
    bound_s: float
    answered_s: float
    cpu_s: float


def _round_trips(env: dict[str, str], place: str) -> None:
    """Call ours and the echo in turn, so that both meet the same load."""
    (Path(place) / "one.txt").write_text("one line\n")
    path = f"{place}/echo.sock"
    command = [sys.executable, "-m", "benchmarks.echo_server", path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=env, cwd=BRIDGE.parents[3]) as echo:
        assert echo.stdout is not None
        echo.stdout.readline()
        try:
            peer, ours = _Client(path), _Client(env["RLMD_SOCKET"])
            ours.greet(place)
            contenders: dict[str, Callable[[], Any]] = {
                "echo of the SDK": lambda: peer.call("echo", {"text": "one line"}),
                "rlm_job list": lambda: ours.call("rlm_job", {"action": "list"}),
                "rlm_read, one line": lambda: ours.call("rlm_read", {"path": "one.txt"}),
                "rlm_memory_recall, no item": lambda: ours.call("rlm_memory_recall", {"key": "none"}),
                "rlm_status": lambda: ours.call("rlm_status", {}),
            }
            times = _interleaved(contenders)
        finally:
            echo.terminate()
    base = statistics.median(times["echo of the SDK"])
    for name, values in times.items():
        ranked = sorted(values)
        p50, p99 = ranked[len(ranked) // 2] * 1e3, ranked[len(ranked) * 99 // 100] * 1e3
        bar = "" if name.startswith("echo") else "<= 2 x"
        print(f"  {name:32} p50 {p50:7.2f} ms  p99 {p99:7.2f} ms  {p50 / base / 1e3:5.2f} x echo  {bar}")


def _interleaved(contenders: dict[str, Callable[[], Any]]) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(CALLS + 20):
        for name, call in contenders.items():
            began = time.perf_counter()
            call()
            if number >= 20:
                times[name].append(time.perf_counter() - began)
    return times


class _Client:
    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        self._replies = self._socket.makefile("rb")
        self._ids = iter(range(1, 1 << 30))

    def greet(self, cwd: str) -> None:
        self._socket.sendall(json.dumps({"rlmd/hello": {"cwd": cwd}}).encode() + b"\n")

    def call(self, name: str, arguments: dict[str, Any]) -> Any:
        params = {"name": name, "arguments": arguments, "_meta": META}
        frame = {"jsonrpc": "2.0", "id": next(self._ids), "method": "tools/call", "params": params}
        self._socket.sendall(json.dumps(frame).encode() + b"\n")
        answer = json.loads(self._replies.readline())
        assert not answer["result"].get("isError"), answer
        return answer


def _start(env: dict[str, str]) -> _Start:
    began = time.perf_counter()
    with _serving(env) as process:
        connection = _connected(env["RLMD_SOCKET"])
        bound_s = time.perf_counter() - began
        with connection:
            connection.sendall(json.dumps(INITIALIZE).encode() + b"\n")
            connection.makefile("rb").readline()
            return _Start(bound_s, time.perf_counter() - began, _cpu_s(process.pid))


def _bridge(env: dict[str, str]) -> None:
    command = [sys.executable, "-I", "-S", str(BRIDGE), "connect"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env) as bridge:
        assert bridge.stdin is not None
        assert bridge.stdout is not None
        bridge.stdin.write(json.dumps(INITIALIZE).encode() + b"\n")
        bridge.stdin.flush()
        assert b"result" in bridge.stdout.readline()
        bridge.kill()


@contextmanager
def _daemon(env: dict[str, str]) -> Iterator[int]:
    with _serving(env) as process:
        with _connected(env["RLMD_SOCKET"]) as connection:
            connection.sendall(json.dumps(INITIALIZE).encode() + b"\n")
            connection.makefile("rb").readline()
        yield process.pid


@contextmanager
def _serving(env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "rlmd", "serve"]
    with subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.terminate()


def _connected(path: str) -> socket.socket:
    while True:
        connection = socket.socket(socket.AF_UNIX)
        with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
            connection.connect(path)
            return connection
        connection.close()
        time.sleep(0.001)


def _run(command: list[str], env: dict[str, str]) -> None:
    subprocess.run(command, env=env, stdout=subprocess.DEVNULL, check=True)


def _median(work: Callable[[], None]) -> float:
    times = []
    for _ in range(ROUNDS + 1):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])


def _cpu_s(pid: int) -> float:
    """Return what a process has used of the processors: a figure that load on the machine changes little."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _rss_mib(pid: int) -> float:
    fields = Path(f"/proc/{pid}/status").read_text().split("VmRSS:")[1].split()
    return int(fields[0]) / 1024


def _env(place: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RLMD_", "XDG_"))}
    places = {"SOCKET": "mcp.sock", "STATE_DIR": "state", "CACHE_DIR": "cache"}
    return {**kept, "HOME": place} | {f"RLMD_{name}": f"{place}/{file}" for name, file in places.items()}


def _say(what: str, value: float, unit: str, bar: str) -> None:
    print(f"  {what:32} {value:8.1f} {unit:4} {bar}")
