"""The clients of a soak: each a thread that asks, waits for its answers, and notes how it went.

A request that was neither cancelled nor cut off by its own client has to be answered within
ANSWER_S seconds, by a result or by an error of the contract.
"""

from __future__ import annotations

import itertools
import json
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from daemon_world import Client, Places
from door_world import call
from soak.world import Book, edit

EXPECTED = {"busy", "internal", "cancelled", "not_found", "version_conflict", "llm_unavailable"}
"""What a call may fail by here; `internal` is counted and compared with the crashes that were injected."""
PAUSE_S = 0.5
WORDS = ["thread", "socket", "parse", "queue", "codec", "header"]

Frame = dict[str, Any]
Asking = tuple[str, Frame]


class Asker:
    """Makes up requests, and knows what their answers have to say."""

    def __init__(self, name: str, root: Path, files: list[Path], book: Book) -> None:
        self.name, self.root, self.files, self.book = name, root, files, book
        self.luck = random.Random(name)
        self._numbers = itertools.count(1)
        self._session: str | None = None

    def make(self) -> Asking:
        number = next(self._numbers)
        word = self.luck.choice(WORDS)
        makers: list[Callable[[], Asking]] = [
            lambda: ("rlm_grep", {"pattern": f"{word}s?\\b", "path": str(self.root), "limit": 50}),
            lambda: ("rlm_glob", {"pattern": f"**/*{word[:2]}*.py", "path": str(self.root)}),
            lambda: ("rlm_read", {"path": str(self.luck.choice(self.files)), "limit": 80}),
            lambda: self._store(number),
            lambda: ("rlm_memory_recall", {"query": word, "project": "soak", "limit": 5}),
            lambda: ("rlm_status", {}),
            lambda: ("rlm_analyze", {**self._over(f"where is a {word} made"), "mode": "evidence"}),
            lambda: ("rlm_analyze", {**self._over(f"BY CODE {self.name} {number}"), "mode": "rlm"}),
            lambda: ("rlm_analyze", {**self._over(f"PLAINLY {self.name} {number}"), "mode": "direct"}),
            lambda: (
                "rlm_query_text",
                {"query": word, "text": f"{word} {number}\n" * 500, "mode": "evidence"},
            ),
            lambda: self._exec(number),
            lambda: ("rlm_job", {"action": "list"}),
        ]
        weights = [6, 4, 6, 6, 5, 2, 3, 1, 1, 2, 2, 1]
        return self.luck.choices(makers, weights)[0]()

    def judge(self, asking: Asking, frame: Frame | None) -> None:
        """Note how a request ended; None is a connection that ended without its answer."""
        tool, given = asking
        if frame is None or "result" not in frame:
            self.book.fault(f"{self.name}: {tool} was answered by {frame}")
            return
        result = frame["result"]
        if not result.get("isError"):
            self.book.note(tool, "answered")
            if tool == "rlm_memory_store":
                self.book.stored[given["key"]] = given["value"]
            if tool == "rlm_exec":
                self._session = result["_meta"]["rlmd/result"]["session"]
            return
        code = result["_meta"]["rlmd/error"]["code"]
        self.book.note(tool, code)
        if tool == "rlm_exec":
            self._session = None  # ended, for want of room or by a crash
        if code not in EXPECTED:
            self.book.fault(f"{self.name}: {tool} failed by {code}: {result['content'][0]['text'][:300]}")

    def rest(self) -> None:
        self.book.over.wait(self.luck.expovariate(1 / PAUSE_S))
        if self.luck.random() < 0.02:
            edit(self.files, self.luck)

    def _over(self, query: str) -> Frame:
        return {"query": query, "paths": [str(self.root)], "wait_s": 50}

    def _exec(self, number: int) -> Asking:
        session = {} if self._session is None else {"session": self._session}
        return "rlm_exec", {"code": f"known = {number}\nsum(range(known))", **session}

    def _store(self, number: int) -> Asking:
        key = f"{self.name}-{number % 400}"
        value = f"finding {number} on the {self.luck.choice(WORDS)} of {self.name}: {self.luck.random()}"
        return "rlm_memory_store", {"key": key, "value": value, "project": "soak", "tags": [self.name]}


def stateless(asker: Asker, places: Places) -> None:
    """Ask over one connection of the stateless era for as long as it lasts."""
    with places.connect(asker.root) as client:
        for number in itertools.count(1):
            if asker.book.over.is_set():
                return
            asking = asker.make()
            client.send(call(*asking, request_id=number, progressToken=number))
            asker.judge(asking, answer(client, number))
            asker.rest()


def shaken(asker: Asker, places: Places) -> None:
    """Do the handshake, ask some thirty times, and come again."""
    while not asker.book.over.is_set():
        with places.connect(asker.root) as client:
            client.shake_hands(asker.luck.choice(["2024-11-05", "2025-06-18", "2025-11-25"]))
            for _ in range(asker.luck.randrange(1, 60)):
                tool, given = asker.make()
                asker.judge((tool, given), client.request("tools/call", {"name": tool, "arguments": given}))
                asker.rest()


def bridged(asker: Asker, places: Places) -> None:
    """Speak through the bridge, as an agent does."""
    while not asker.book.over.is_set():
        bridge = subprocess.Popen(
            [sys.executable, "-m", "rlmd", "connect"],
            env=places.env(PYTHONWARNINGS=""),  # it leaves its socket to the end of the process
            cwd=asker.root,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert bridge.stdin is not None
        assert bridge.stdout is not None
        with bridge.stdin, bridge.stdout:
            for number in range(asker.luck.randrange(5, 60)):
                asking = asker.make()
                frame = call(*asking, request_id=number)
                bridge.stdin.write(json.dumps(frame).encode() + b"\n")
                bridge.stdin.flush()
                line = bridge.stdout.readline()
                asker.judge(asking, json.loads(line) if line else None)
                asker.rest()
        if bridge.wait(30) != 0:
            asker.book.fault(f"{asker.name}: the bridge ended with {bridge.returncode}")


def commanding(asker: Asker, places: Places) -> None:
    """Use the command line."""
    while not asker.book.over.is_set():
        word = asker.luck.choice(WORDS)
        command = asker.luck.choice(
            [
                ("ask", f"where is a {word} made", ".", "--mode", "evidence", "--json"),
                ("status", "--json"),
                ("memory", "recall", word, "--project", "soak", "--json"),
                ("jobs", "list", "--json"),
                ("metrics",),
            ]
        )
        done = places.run(*command, cwd=asker.root)
        asker.book.note(f"rlmd {command[0]}", f"exit {done.code}")
        if done.code not in {0, 1, 70, 75}:  # 70 is `internal`: the crash that was injected met us
            asker.book.fault(f"{asker.name}: rlmd {command[0]} ended with {done.code}: {done.err[-300:]}")
        asker.rest()


def cancelling(asker: Asker, places: Places) -> None:
    """Begin analyses and cancel them at any time; the connection has to stay sound."""
    with places.connect(asker.root) as client:
        for number in itertools.count(1):
            if asker.book.over.is_set():
                return
            tool, given = asker.make()
            client.send(call(tool, given, request_id=f"c{number}"))
            asker.book.over.wait(asker.luck.expovariate(10))
            cancelled = {"method": "notifications/cancelled", "params": {"requestId": f"c{number}"}}
            client.send({"jsonrpc": "2.0", **cancelled})
            asker.book.note(tool, "cancelled by its client")
            probe = ("rlm_glob", {"pattern": "*.py", "path": str(asker.root), "limit": 1})
            client.send(call(*probe, request_id=number))
            asker.judge(probe, answer(client, number))
            asker.rest()


def leaving(asker: Asker, places: Places) -> None:
    """Ask and be gone: closed, half closed, torn in mid-frame."""
    while not asker.book.over.is_set():
        with places.connect(asker.root) as client:
            for number in range(asker.luck.randrange(1, 5)):
                client.send(call(*asker.make(), request_id=number))
            match asker.luck.randrange(3):
                case 0:
                    client.send_bytes(b'{"jsonrpc":"2.0","id":9,"meth')
                case 1:
                    client.socket.shutdown(socket.SHUT_WR)
                    while client.receive() is not None:
                        pass
                case _:
                    asker.book.over.wait(asker.luck.expovariate(10))
        asker.book.note("connection", "left by its client")
        asker.rest()


def killed(asker: Asker, places: Places) -> None:
    """Run a command and kill it in the middle."""
    while not asker.book.over.is_set():
        question = f"BY CODE {asker.name} {time.time()}"
        command = [sys.executable, "-m", "rlmd", "ask", question, ".", "--mode", "rlm"]
        silent = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen(command, env=places.env(), cwd=asker.root, **silent)  # type: ignore[call-overload]
        asker.book.over.wait(0.1 + asker.luck.expovariate(2))
        process.send_signal(signal.SIGKILL)
        process.wait()
        asker.book.note("rlmd ask", "killed")
        asker.rest()


KINDS = (
    [stateless] * 4 + [shaken] * 3 + [bridged] * 3 + [commanding] * 2 + [cancelling] * 2 + [leaving, killed]
)
"""Sixteen clients."""


def answer(client: Client, request_id: int) -> Frame | None:
    """Return the frame that answers, None where the connection ends first; progress is passed over."""
    try:
        while (frame := client.receive()) is not None:
            if "method" not in frame and frame.get("id") == request_id:
                return frame
    except TimeoutError:
        return None
    return None
