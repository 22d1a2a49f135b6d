"""A place where an armed attacker meets the sandbox, and where it shows what was reached.

The attacker has ctypes, socket, subprocess, pickle and the rest within reach.  What counts is what
happens: a secret that turns up, a file that appears, a listener that hears something, a process
that dies, memory or time beyond the limits, a daemon that is no longer itself.  Run as a program it
reads `{"ids": [...], "without": [...]}` from its standard input and prints a verdict a line.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import trio

from rlmd.errors import RequestError
from rlmd.sandbox import process
from rlmd.sandbox.pool import sandbox_pool
from rlmd.sandbox.process import PROGRAM
from rlmd.sandbox.requests import Documents, Exec, ExecResult, Limits
from rlmd.sandbox.services import NoServices
from rlmd.supervision import Mailbox, open_supervisor
from rlmd.values import Span

HERE = Path(__file__).parent
LOCKS = ("rlimit", "landlock", "seccomp")
LAYERS = (*LOCKS, "environment", "budgets")
"""The kernel's locks on the process; the environment that it is not given; what the daemon counts."""
WEAPONS = (
    "asyncio ctypes fcntl http.client mmap multiprocessing multiprocessing.context "
    "multiprocessing.popen_fork pickle resource select selectors signal socket "
    "subprocess tempfile urllib.request atexit faulthandler _posixsubprocess runpy"
)
WALL_S = {"cpu": 1.0, "memory": 15.0, "ipc": 6.0, "output": 15.0, "sub-calls": 15.0}
QUICK_WALL_S = 4.0
SLACK_S = 2.5
LONGEST_LAG_S = 1.0
LIMITS = Limits(cpu_s=60)
BOUNDLESS = Limits(
    cpu_s=60,
    output_chars=1 << 30,
    calls=1 << 30,
    calls_at_once=1 << 10,
    prompt_chars=1 << 30,
    prompt_bytes=1 << 40,
    frame_bytes=1 << 30,
    cell_frames=1 << 30,
    cell_bytes=1 << 40,
)
PROBE = "print('AFTER', 6 * 7, len(context), context[:14], llm_query('ping'))"
TEXT = "context-intact\n" + "2026-11-23 INFO service started id=7\n" * 30
AFTER = f"AFTER 42 {len(TEXT)} context-intact pong\n"
SPOILS_ONLY_ITSELF = {"other_session", "other_context"}
"""Kinds of success where harm to the attacker's own session is no harm: it holds nobody else's."""
OWN_MEMORY = {"mutate_context"}
"""With ctypes a cell can write over its own copy of its text; the contents stay as they are."""
REASONS_OF_NOTHING = (
    "AttributeError", "ModuleNotFoundError", "ImportError", "NameError", "SyntaxError", "IndentationError",
)  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """How one attack went; `reached` says what it reached, "" for nothing, `told` what it was told."""

    id: str
    reached: str
    told: str
    took_s: float


@dataclass(frozen=True)
class File:
    path: str
    span: Span
    encoding: str = "utf-8"


class Model(NoServices):
    """Answers, and counts what it was asked."""

    def __init__(self) -> None:
        self.calls = 0
        self.prompt_bytes = 0

    async def llm_query(self, prompt: str, model: str | None) -> str:
        self.calls += 1
        self.prompt_bytes += len(prompt)
        await trio.lowlevel.checkpoint()
        return "pong"


def attacks() -> dict[str, dict[str, Any]]:
    """Return every attack by its id."""
    items = [each for name in ("attacks", "own") for each in json.loads((HERE / f"{name}.json").read_text())]
    return {each["id"]: each for each in items}


def armed(without: Collection[str] = (), extra_calls: Sequence[int] = ()) -> str:
    """Return the program of a process whose attacker has every weapon of the library at hand."""
    imports = "".join(f"import {name}\n" for name in WEAPONS.split())
    layers = tuple(lock for lock in LOCKS if lock not in without)
    options = f"layers={layers!r}, extra_calls={tuple(extra_calls)!r}, tools=True"
    return imports + PROGRAM.replace("; ", "\n").replace("argv[2]))", f"argv[2]), {options})")


@dataclass
class Arena:
    """The secrets, the listeners, the victim and the daemon of one run."""

    box: Mailbox[Any, Any]
    place: Path
    canary: str
    content: Documents
    victim: subprocess.Popen[bytes]
    listeners: Mapping[str, socket.socket]
    lag_s: float = 0.0
    peak_mb: float = 0.0

    async def meet(self, item: Mapping[str, Any]) -> Verdict:
        """Let one attack loose in a session of its own and say what came of it."""
        out = self.place / f"out-{secrets.token_hex(4)}"
        code = item["code"] if isinstance(item["code"], str) else "\n".join(item["code"])
        code = "import re\n" + self._aimed(code, out)
        self._hide()
        self._hear()
        self.lag_s = self.peak_mb = 0.0
        model, before_mb, began = Model(), own_rss_mb(), time.perf_counter()
        wall_s = WALL_S.get(item["category"], QUICK_WALL_S)
        result = await self._run(code, model, wall_s)
        took_s = time.perf_counter() - began
        limit_s = wall_s + LIMITS.grace_s + SLACK_S
        reached = self._reached(item, result, model, out, own_rss_mb() - before_mb)
        if took_s > limit_s:
            reached = f"control for {took_s:.1f} s"
        if self.lag_s > LONGEST_LAG_S:
            reached = f"the daemon's loop for {self.lag_s:.1f} s"
        reached = reached or await self._probe(item, result)
        told = result.killed or (result.error or "").rpartition("\n")[2] or result.stdout[-200:]
        return Verdict(item["id"], reached, told, round(took_s, 2))

    def _hide(self) -> None:
        """Put the secret where it belongs, whatever the attack before did to it."""
        self.place.chmod(0o700)
        (self.place / "canary.txt").unlink(missing_ok=True)
        (self.place / "canary.txt").write_text(f"{self.canary}\n")

    async def _run(self, code: str, model: Model, wall_s: float) -> ExecResult:
        request = Exec(code=code, content=self.content, timeout_s=wall_s, services=model)
        return await self.box.ask(request)

    async def _probe(self, item: Mapping[str, Any], result: ExecResult) -> str:
        """Ask a harmless question in the same session, and in a new one."""
        spoils_itself = item["success"]["kind"] in SPOILS_ONLY_ITSELF or item["id"] in OWN_MEMORY
        with suppress(RequestError):
            same = await self.box.ask(
                Exec(code=PROBE, session=result.session, services=Model(), close=True, timeout_s=5)
            )
            if not (spoils_itself or same.killed or same.error or same.stdout == AFTER):
                return f"the session's next cell: {same.stdout[:80]!r}"
        try:
            with trio.fail_after(30):
                other = await self.box.ask(
                    Exec(code=PROBE, content=self.content, services=Model(), close=True, timeout_s=20)
                )
        except RequestError as refused:
            return f"the daemon: {refused}"
        if other.stdout != AFTER:
            return f"another session: {other}"
        return ""

    def _reached(  # noqa: PLR0911  # a table of what counts as success
        self, item: Mapping[str, Any], result: ExecResult, model: Model, out: Path, grown_mb: float
    ) -> str:
        success = item["success"]
        said = f"{result.stdout}{result.error}{result.answer}"
        most = success.get("n", 0)
        match success["kind"]:
            case "canary" if self.canary in said:
                return "a secret"
            case "marker" if success["text"] in result.stdout:
                return f"what prints {success['text']!r}"
            case "file" if os.path.lexists(out) or os.path.lexists(f"{out}.lnk"):
                return "the file system"
            case "listener" if self._hear():
                return "the network"
            case "victim" if died(self.victim):
                return "another process"
            case "output" if len(said) >= most:
                return f"{len(said)} characters of output"
            case "rss" if max(self.peak_mb, grown_mb if item["category"] == "ipc" else 0) > most:
                return f"{self.peak_mb:.0f} MB of memory"
            case "rss_host" if grown_mb > most:
                return f"{grown_mb:.0f} MB of the daemon"
            case "calls" if model.calls > most:
                return f"{model.calls} calls"
            case "prompt_bytes" if model.prompt_bytes > most:
                return f"{model.prompt_bytes} bytes of prompts"
            case "answered" if result.submitted:
                return f"the answer {str(result.answer)[:40]!r}"
        return ""

    def _aimed(self, code: str, out: Path) -> str:
        aims = {
            "@FILE@": self.place / "canary.txt",
            "@DIR@": self.place,
            "@OUT@": out,
            "@PORT@": self.listeners["tcp"].getsockname()[1],
            "@APORT@": self.canary + "-stream",
            "@DPORT@": self.canary + "-datagram",
            "@PPID@": os.getpid(),
            "@VICTIM@": self.victim.pid,
            "@TAG@": self.canary,
        }
        for name, aim in aims.items():
            code = code.replace(name, str(aim))
        return code

    def _hear(self) -> bool:
        heard = False
        for name, listener in self.listeners.items():
            with suppress(BlockingIOError):
                if name in {"tcp", "stream"}:
                    listener.accept()[0].close()
                else:
                    listener.recv(4096)
                heard = True
        return heard

    async def watch(self) -> None:
        """Note the longest lag of the loop and the largest child."""
        while True:
            began = trio.current_time()
            await trio.sleep(0.02)
            self.lag_s = max(self.lag_s, trio.current_time() - began - 0.02)
            self.peak_mb = max([self.peak_mb, *map(peak_mb, children())])


@asynccontextmanager
async def open_arena(without: Collection[str] = (), extra_calls: Sequence[int] = ()) -> AsyncIterator[Arena]:
    """Set everything up; layers that it is *without* and *extra_calls* weaken the sandbox."""
    limits = BOUNDLESS if "budgets" in without else LIMITS
    canary = f"CANARY{secrets.token_hex(8)}"
    os.environ["RLMD_CANARY"] = canary
    vars(sys.modules["__main__"])["HOST_SECRET"] = canary
    given = process.ENVIRONMENT
    if "environment" in without:
        process.ENVIRONMENT = {**os.environ, **given}
    with tempfile.TemporaryDirectory(prefix="rlmd-arena-") as name:
        place = Path(name)
        (place / "canary_module.py").write_text(f"SECRET = {canary!r}\n")
        secret = f"{canary} of another project\n".encode() * 400
        (place / "pack").write_bytes(secret + TEXT.encode() + secret)
        file = File("log.txt", Span(len(secret), len(TEXT)))
        content = Documents("arena", str(place / "pack"), [file], context="log.txt")
        victim = new_victim()
        listeners = open_listeners(canary)
        try:
            async with open_supervisor(grace=1) as supervisor, trio.open_nursery() as nursery:
                pool = sandbox_pool(limits, program=armed(without, extra_calls))
                box = await supervisor.start_concurrent("sandbox_pool", pool)
                arena = Arena(box, place, canary, content, victim, listeners)
                nursery.start_soon(arena.watch)
                yield arena
                nursery.cancel_scope.cancel()
        finally:
            victim.kill()
            victim.wait()
            for listener in listeners.values():
                listener.close()
            del os.environ["RLMD_CANARY"]
            process.ENVIRONMENT = given


def new_victim() -> subprocess.Popen[bytes]:
    """Start a process that anybody of this user could kill; it holds nothing of ours open."""
    nothing = subprocess.DEVNULL
    return subprocess.Popen(["sleep", "600"], stdin=nothing, stdout=nothing, stderr=nothing)


def died(victim: subprocess.Popen[bytes]) -> bool:
    """Say whether a signal has ended it, which takes the kernel a moment."""
    with suppress(subprocess.TimeoutExpired):
        victim.wait(0.2)
    return victim.poll() is not None


def open_listeners(name: str) -> dict[str, socket.socket]:
    """Listen wherever a leak may go: TCP and UDP on one port, and two kinds of abstract socket."""
    tcp, udp = socket.socket(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    tcp.bind(("127.0.0.1", 0))
    udp.bind(("127.0.0.1", tcp.getsockname()[1]))
    stream, datagram = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    stream.bind(f"\0{name}-stream")
    datagram.bind(f"\0{name}-datagram")
    for listener in (tcp, stream):
        listener.listen()
    found = {"tcp": tcp, "udp": udp, "stream": stream, "datagram": datagram}
    for listener in found.values():
        listener.setblocking(False)
    return found


def children() -> list[int]:
    """Return the processes of this one, grandchildren left out."""
    try:
        return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
    except OSError:
        return []


def peak_mb(pid: int) -> float:
    """Return the most memory that a process ever had resident."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


def own_rss_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20


def is_vacuous(verdict: Verdict) -> bool:
    """Say whether an attack came to nothing for a reason that an armed attacker does not have."""
    return not verdict.reached and verdict.told.startswith(REASONS_OF_NOTHING)


async def run(ids: Sequence[str], without: Collection[str] = ()) -> list[Verdict]:
    """Let the attacks of *ids* loose one after the other; one that ends the daemon raises."""
    known, verdicts = attacks(), []
    async with open_arena(without) as arena:
        for each in ids:
            verdict = await arena.meet(known[each])
            verdicts.append(verdict)
            print(json.dumps(asdict(verdict)), flush=True)
            if arena.victim.poll() is not None:
                arena.victim = new_victim()
    return verdicts


if __name__ == "__main__":
    asked = json.loads(sys.stdin.read())
    trio.run(run, asked["ids"], asked["without"])
