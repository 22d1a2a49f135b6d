"""The word index of a real tree: how long it takes to build, and a question to it takes."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterable
from pathlib import Path

import trio

from benchmarks import trees
from benchmarks.stages import paths_of
from benchmarks.world import World, open_world
from rlmd.corpus.keeper import Answer, Collect, Request, Search
from rlmd.corpus.search import Ranked
from rlmd.corpus.snapshot import Snapshot
from rlmd.supervision import Mailbox
from rlmd.tokens.encodings import O200K_BASE
from rlmd.tokens.engines import choose_engine

QUESTIONS = (
    "where is the retry delay of a failed request computed?",
    "free the pages of a file when it is truncated",
    "how are sockets hashed by port and address",
    "parse the arguments of the command line",
    "lock order between the inode and its directory",
    "convert time stamps to seconds since the epoch",
    "which errors are reported when the disk is full",
    "checksum of a packet header",
    "register a device and its interrupt handler",
    "decode a compressed block",
)
ROUNDS = 5
BEAT_S = 0.002


def main(names: Iterable[str] = ("stdlib", "linux")) -> None:
    """Measure the standard library, Linux's net and fs, and all of Linux, where they can be had."""
    for name in names:
        try:
            tree = trees.standard_library() if name == "stdlib" else trees.linux_source()
        except trees.Unavailable as why:
            print(f"\nskipped {name}: {why}")
            continue
        root = str(tree.resolve())
        if name == "linux":
            trio.run(measure, "linux, net and fs", root, ("net", "fs"))
        trio.run(measure, name, root, ())


async def measure(name: str, root: str, targets: tuple[str, ...]) -> None:
    """Collect, index and ask *targets* of the tree at *root*; all in this one run."""
    floor_s, files, size = _floor([os.path.join(root, target).rstrip("/") for target in targets or ("",)])
    print(f"\n== {name}: {files:,} files, {size / 1e6:,.0f} MB; load {os.getloadavg()[0]:.1f} ==")
    print(f"  floor, one core: walk, read, count          {floor_s:8.2f} s")
    async with open_world() as world, trio.open_nursery() as nursery:
        gaps: list[float] = []
        nursery.start_soon(_beat, gaps)
        keeper = await world.keeper()
        await _measure(world, keeper, root, targets, floor_s, size)
        gaps.sort()
        print(
            f"  loop stalls, p99 {gaps[int(len(gaps) * 0.99)] * 1e3:.1f} ms, longest {gaps[-1] * 1e3:.0f} ms"
        )
        nursery.cancel_scope.cancel()


async def _measure(
    world: World,
    keeper: Mailbox[Request, Answer],
    root: str,
    targets: tuple[str, ...],
    floor_s: float,
    size: int,
) -> None:
    began = time.perf_counter()
    snapshot = await keeper.ask(Collect(root, targets))
    assert isinstance(snapshot, Snapshot)
    collected_s = time.perf_counter() - began
    print(
        f"  collected                                   {collected_s:8.2f} s = {collected_s / floor_s:.2f} x"
    )
    ranked = await keeper.ask(Search(snapshot, QUESTIONS[0]))
    whole_s = time.perf_counter() - began
    rate = size / 1e6 / (whole_s - collected_s)
    print(f"  and indexed, to the first whole answer      {whole_s:8.2f} s = {whole_s / floor_s:.2f} x")
    print(f"  indexing alone, {rate:.1f} MB/s; the index has {_size_mb(world):.0f} MB")
    print(f"  memory, without file pages: {_pss_mb():.0f} MB")
    assert isinstance(ranked, Ranked)
    print(f"  not indexed: {len(ranked.unindexed)}")
    times = []
    for _ in range(ROUNDS):
        for question in QUESTIONS:
            began = time.perf_counter()
            await keeper.ask(Search(snapshot, question))
            times.append(time.perf_counter() - began)
    times.sort()
    print(
        f"  a question: p50 {statistics.median(times) * 1e3:.1f} ms, "
        f"p90 {times[int(len(times) * 0.9)] * 1e3:.1f}, longest {times[-1] * 1e3:.1f} (n={len(times)})"
    )


def _floor(roots: list[str]) -> tuple[float, int, int]:
    """Return the seconds of the plainest loop that does what has to be done on one core, files and bytes."""
    encode = choose_engine(O200K_BASE, "auto").encode
    encode("warm")
    began = time.perf_counter()
    files = [path for root in roots for path in paths_of(root)]
    size = 0
    for path in files:
        data = Path(path).read_bytes()
        size += len(data)
        if b"\0" not in data:
            len(encode(data.decode("utf-8", "replace")))
    return time.perf_counter() - began, len(files), size


async def _beat(gaps: list[float]) -> None:
    while True:
        began = trio.current_time()
        await trio.sleep(BEAT_S)
        gaps.append(max(0.0, trio.current_time() - began - BEAT_S))


def _pss_mb() -> float:
    rollup = dict(line.split(":", 1) for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:])
    return float(rollup["Pss_Anon"].split()[0]) / 1e3


def _size_mb(world: World) -> float:
    return sum(path.stat().st_size for path in world.scratch.glob("**/words/**/*") if path.is_file()) / 1e6
