"""What a corpus costs: cold, again, watched, after a restart, in a second work tree; every figure by its bar.

`python -m benchmarks.snapshots [stdlib|linux]…`.  Trees are copied first, since files are edited here.
"""

from __future__ import annotations

import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

import trio

from benchmarks import trees
from benchmarks.stages import RG, paths_of, read_all
from benchmarks.world import LIMITS, World, open_world
from rlmd import observe
from rlmd.corpus.keeper import Answer, Collect, Request, corpus_keeper
from rlmd.corpus.snapshot import Snapshot
from rlmd.supervision import Mailbox
from rlmd.tokens.encodings import O200K_BASE
from rlmd.tokens.engines import choose_engine

ROUNDS = 5
EDITS = 10
TREES = {"stdlib": trees.standard_library, "linux": trees.linux_source}


def main(names: list[str] | None = None) -> None:
    """Measure on the trees that are named, else on both."""
    observe.configure("error")
    for name in names or list(TREES):
        try:
            tree = TREES[name]()
        except trees.Unavailable as why:
            print(f"\nskipped {name}: {why}")
            continue
        with copied(tree) as copy:
            trio.run(measure, copy)


@contextmanager
def copied(tree: Path):
    """Yield a copy of *tree* that may be edited."""
    place = Path(tempfile.mkdtemp(prefix="rlmd-bench-", dir=trees.cache()))
    try:
        subprocess.run(["cp", "-a", "--reflink=auto", str(tree), str(place / "tree")], check=True)
        yield place / "tree"
    finally:
        shutil.rmtree(place)


def say(what: str, figure: str, bar: str = "") -> None:
    print(f"  {what:62} {figure:>22}   {bar and f'bar {bar}'}")


async def measure(root: Path) -> None:
    """Print every figure for the tree at *root*, which is edited."""
    files = paths_of(str(root))
    print(f"\n== {root.parent.name}/{root.name}: {len(files):,} files, {read_all(files) >> 20:,} MiB ==")
    async with open_world() as world:
        say("walk / rg --files", ratio(partial(paths_of, str(root)), rg(root)), "<= 2")
        await cold(world, root, files)
        async with keeping(world, root) as (ask, snapshot):
            say("stalls of the loop while 10 files change, p99", await stalls(ask, root, files))
            stat_pass = timed(lambda: [os.stat(path) for path in files])
            say("watched: again after 10 edits", await again(ask, root, files), "<= 50 ms")
            say("watched: again, nothing changed", await again(ask, root, []))
            say("watched: again after 2,000 edits", await again(ask, root, files, edits=2_000, rounds=1))
            say("memory, Pss without file pages", f"{private_mib()} MiB")
            say("RAM a file: columns and paths", f"{bytes_a_file(snapshot)} bytes", "<= 200")
        async with keeping(world, root, watches=0) as (ask, _):
            await again(ask, root, files)
            figure = await again(ask, root, files)
            say(f"unwatched: after 10 edits (a stat pass: {1000 * stat_pass:.0f} ms)", figure, "<= 2 x")
        await second_tree(world, root)


def rg(root: Path) -> Callable[[], object]:
    command = (*RG, "--files", str(root))
    return partial(subprocess.run, command, check=False, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)


def ratio(ours: Callable[[], object], theirs: Callable[[], object]) -> str:
    pairs = [(timed(ours), timed(theirs)) for _ in range(ROUNDS)]
    return f"{statistics.median(a / b for a, b in pairs):.2f} x"


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


async def cold(world: World, root: Path, files: list[str]) -> None:
    """A cold collection beside the floor: one core that walks, reads and counts, and keeps nothing."""
    encode = choose_engine(O200K_BASE, "auto").encode

    def floor() -> None:
        for path in paths_of(str(root)):
            data = Path(path).read_bytes()
            if b"\0" not in data:
                encode(data.decode("utf-8", "replace"))

    ratios, stall = [], list[float]()
    for _ in range(ROUNDS if len(files) < 10_000 else 2):
        shutil.rmtree(world.scratch / "corpus", ignore_errors=True)
        async with keeper(world) as ask, heartbeat() as gaps:
            started = time.perf_counter()
            await ask(Collect(str(root)))
            took = time.perf_counter() - started
        stall += gaps
        ratios.append(took / timed(floor))
    figure = f"{statistics.median(ratios):.2f} x ({took:.1f} s)"
    say("cold / single-core floor of walk, read and count", figure, "<= 1.5")
    say("stalls of the loop meanwhile, p99 / longest", quantiles(stall), "<= 10 ms")


@asynccontextmanager
async def keeper(world: World, **settings: object) -> AsyncIterator[Callable[[Request], Awaitable[Answer]]]:
    """Start a keeper over the cache, whatever is in it."""
    actor = corpus_keeper(world.sources, world.offload, world.scratch, limits=LIMITS, **settings)
    box: Mailbox[Request, Answer] = await world.supervisor.start_concurrent("corpus_keeper", actor)
    yield box.ask
    await box.close()


@asynccontextmanager
async def keeping(world: World, root: Path, **settings: object):
    """Start a keeper anew over a warm cache, and have it collect *root* once."""
    async with keeper(world, **settings) as ask:
        started = time.perf_counter()
        snapshot = await ask(Collect(str(root)))
        assert isinstance(snapshot, Snapshot)
        took = time.perf_counter() - started
        say(
            f"first collection after a restart{' (unwatched)' if settings else ''}",
            f"{took:.2f} s",
            "<= 1.5 s",
        )
        yield ask, snapshot


async def again(
    ask: Callable[[Request], Awaitable[Answer]],
    root: Path,
    files: list[str],
    *,
    edits: int = EDITS,
    rounds: int = ROUNDS,
) -> str:
    took = []
    for _ in range(rounds):
        edit(files, edits)
        started = time.perf_counter()
        await ask(Collect(str(root)))
        took.append(1000 * (time.perf_counter() - started))
    return f"{statistics.median(took):.1f} ms ({min(took):.1f}-{max(took):.1f})"


def edit(files: list[str], count: int) -> None:
    for path in random.sample(files, min(count, len(files))):
        with open(path, "ab") as file:
            file.write(b"\n/* edited */\n")


async def stalls(ask: Callable[[Request], Awaitable[Answer]], root: Path, files: list[str]) -> str:
    async with heartbeat() as gaps:
        for _ in range(ROUNDS):
            edit(files, EDITS)
            await ask(Collect(str(root)))
    return quantiles(gaps)


@asynccontextmanager
async def heartbeat() -> AsyncIterator[list[float]]:
    """Measure, every millisecond, how late the loop comes to it."""
    gaps: list[float] = []

    async def beat() -> None:
        while True:
            started = time.perf_counter()
            await trio.sleep(0.001)
            gaps.append(time.perf_counter() - started - 0.001)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(beat)
        yield gaps
        nursery.cancel_scope.cancel()


def quantiles(gaps: list[float]) -> str:
    ordered = sorted(gaps)
    return f"{1000 * ordered[int(len(ordered) * 0.99)]:.1f} / {1000 * ordered[-1]:.0f} ms"


def private_mib() -> int:
    """Return the proportional set of this process without the pages of files."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:])
    return int(fields["Pss_Anon"].split()[0]) >> 10


def bytes_a_file(snapshot: Snapshot) -> int:
    columns = sum(map(len, snapshot.files.dump()[1:]))
    stamps = 35 * len(snapshot.files)
    paths = sum(sys.getsizeof(path) + 8 for path in snapshot.files.paths)
    return (columns + stamps + paths) // len(snapshot.files)


async def second_tree(world: World, root: Path) -> None:
    """A second work tree with 100 changed files shares all the rest."""
    cache = world.scratch / "corpus"
    async with keeper(world) as ask:
        await ask(Collect(str(root)))
    before = allocated(cache)
    twin = root.with_name("twin")
    await trio.run_process(["cp", "-a", "--reflink=auto", str(root), str(twin)])
    edit(paths_of(str(twin)), 100)
    async with keeper(world) as ask:
        started = time.perf_counter()
        await ask(Collect(str(twin)))
        took = time.perf_counter() - started
    share = 100 * (allocated(cache) - before) / before
    say(f"a second work tree, 100 files changed ({took:.1f} s)", f"{share:.2f} % more bytes", "<= 2 %")
    shutil.rmtree(twin)


def allocated(place: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in place.rglob("*") if path.is_file())


if __name__ == "__main__":
    main(sys.argv[1:] or None)
