"""The sandbox beside a bare `exec` in a subprocess, and beside plain CPython."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from benchmarks.timing import Row, print_table
from rlmd.sandbox.pool import sandbox_pool
from rlmd.sandbox.requests import Answer, Describe, Description, Documents, Exec, ExecResult, Limits, Request
from rlmd.supervision import Mailbox, open_supervisor
from rlmd.values import Span, TextEncoding

BARE = "import sys\nfor line in sys.stdin:\n    exec(line)\n    print('done', flush=True)\n"
SEARCH = r"[\w.]+@[\w.]+"
LINE = b"2026-11-23T09:00:00 INFO service-7 handled id=123456 for someone@example.test in 12ms\n"
BIG, SEARCHED = 1 << 30, 100_000_000
DOCUMENT = 1 << 20
STEPS = 200


@dataclass(frozen=True)
class File:
    """One file of a pack."""

    path: str
    span: Span
    encoding: TextEncoding = "utf-8"


def main() -> None:
    """Print every figure of the sandbox beside its peer."""
    with tempfile.TemporaryDirectory(prefix="rlmd-bench-") as place:
        trio.run(_measure, Path(place))


async def _measure(place: Path) -> None:
    async with open_supervisor(grace=1) as supervisor:
        box = await supervisor.start_concurrent("sandbox_pool", sandbox_pool(Limits()))
        described = await box.ask(Describe())
        assert isinstance(described, Description)
        if described.problem is not None:
            print(f"skipped: {described.problem}")
            return
        print(f"layers: {', '.join(described.facts.layers)}")
        await _starts(box)
        await _steps(box)
        await _search(box, place)
        await _big(box, place)


async def _starts(box: Mailbox[Request, Answer]) -> None:
    warm = []
    for _ in range(12):
        await trio.sleep(0.5)  # the next process gets ready meanwhile
        began = time.perf_counter()
        await box.ask(Exec(code="1", close=True))
        warm.append(time.perf_counter() - began)
    cold = []
    for _ in range(12):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-S", "-c", "1"], check=True)  # noqa: ASYNC221  # nothing else runs
        cold.append(time.perf_counter() - began)
    rows = {
        "hand-over and first cell, warm": Row("", tuple(warm)),
        "bare interpreter, started": Row("", tuple(cold)),
    }
    print_table("a session's first cell (bar: 15 ms)", rows, base="bare interpreter, started")


async def _steps(box: Mailbox[Request, Answer]) -> None:
    first = await box.ask(Exec(code="x = 0"))
    assert isinstance(first, ExecResult)
    ours, bare = [], []
    with subprocess.Popen(  # noqa: ASYNC220  # the plainest peer there is
        [sys.executable, "-c", BARE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as peer:
        assert peer.stdin
        assert peer.stdout
        for _ in range(STEPS):
            began = time.perf_counter()
            await box.ask(Exec(code="x = sum(range(100))", session=first.session))
            ours.append(time.perf_counter() - began)
            began = time.perf_counter()
            peer.stdin.write("x = sum(range(100))\n")
            peer.stdin.flush()
            peer.stdout.readline()
            bare.append(time.perf_counter() - began)
        peer.stdin.close()
    rows = {"a cell": Row("", tuple(ours)), "bare exec in a subprocess": Row("", tuple(bare))}
    print_table("a step (bar: 1 ms over the bare one)", rows, base="bare exec in a subprocess")
    over_ms = 1000 * (statistics.median(ours) - statistics.median(bare))
    print(f"  a cell takes {over_ms:.2f} ms more than the bare one")


async def _search(box: Mailbox[Request, Answer], place: Path) -> None:
    data = LINE * (SEARCHED // len(LINE))
    with _packed(place, [len(data)], data) as content:
        first = await box.ask(Exec(code="text = context\nimport re", content=content))
        assert isinstance(first, ExecResult)
        code = (
            "import time\nt = time.perf_counter()\n"
            f"n = len(re.findall(r'{SEARCH}', text))\nsubmit([n, time.perf_counter() - t])"
        )
        text, ours, plain = data.decode(), [], []
        for _ in range(3):
            told = await box.ask(Exec(code=code, session=first.session, timeout_s=120))
            assert isinstance(told, ExecResult)
            assert isinstance(told.answer, list)
            began = time.perf_counter()
            found = len(re.findall(SEARCH, text))
            plain.append(time.perf_counter() - began)
            assert told.answer[0] == found
            ours.append(float(str(told.answer[1])))
        await box.ask(Exec(code="", session=first.session, close=True))
    rows = {"in the sandbox": Row("", tuple(ours)), "plain CPython": Row("", tuple(plain))}
    print_table("a regex over 100 MB (bar: 1.11)", rows, base="plain CPython")


async def _big(box: Mailbox[Request, Answer], place: Path) -> None:
    piece = (LINE * (DOCUMENT // len(LINE) + 1))[:DOCUMENT]
    with _packed(place, [DOCUMENT] * (BIG // DOCUMENT), piece) as content:
        for _ in range(3):
            before = _rss_mb()
            began = time.perf_counter()
            first = await box.ask(Exec(code="import time", content=content))
            handed_s = time.perf_counter() - began
            assert isinstance(first, ExecResult)
            touch = "t = time.perf_counter(); n = len(files['d/500']); submit(time.perf_counter() - t)"
            told = await box.ask(Exec(code=touch, session=first.session))
            assert isinstance(told, ExecResult)
            sweep = (
                "t = time.perf_counter(); grep('no such line', fixed=True); submit(time.perf_counter() - t)"
            )
            swept = await box.ask(Exec(code=sweep, session=first.session, timeout_s=120, close=True))
            assert isinstance(swept, ExecResult)
            grown = _rss_mb() - before
            print(
                f"1 GB in {BIG // DOCUMENT} files: handed over in {handed_s:.3f} s (bar: 1), "
                f"first touch of a MiB {1000 * _answer(told):.2f} ms (bar: 5), "
                f"all of it brought and searched in {_answer(swept):.2f} s "
                f"(the kernel's plain copy: {_plain_copy_s(content.pack):.2f} s), "
                f"the host grew by {grown:.1f} MB"
            )


def _answer(told: ExecResult) -> float:
    return float(str(told.answer))


@contextmanager
def _packed(place: Path, sizes: list[int], piece: bytes) -> Iterator[Documents]:
    """Write a pack of *piece* over and over; the first file is `context` too where there is only one."""
    pack, files, at = place / "pack", [], 0
    with pack.open("wb") as out:
        for number, size in enumerate(sizes):
            out.write(piece)
            files.append(File(f"d/{number}", Span(at, size)))
            at += size
    os.sync()
    try:
        yield Documents(f"bench-{at}", str(pack), files, "d/0" if len(files) == 1 else None)
    finally:
        pack.unlink()


def _plain_copy_s(pack: str) -> float:
    """Return how long one call after the other to copy_file_range takes for the whole pack."""
    with open(pack, "rb") as origin, tempfile.TemporaryFile(dir=os.path.dirname(pack)) as target:
        began = time.perf_counter()
        while os.copy_file_range(origin.fileno(), target.fileno(), BIG):
            pass
        return time.perf_counter() - began


def _rss_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20


if __name__ == "__main__":
    main()
