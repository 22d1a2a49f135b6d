"""Walk, collect, count and grep on a real tree, beside rg and the plainest loop there is."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from functools import partial
from hashlib import sha256
from pathlib import Path

import trio

from benchmarks import trees
from benchmarks.timing import Row, interleave, print_table
from benchmarks.world import World, open_world
from rlmd.answers import GrepRequest
from rlmd.corpus.keeper import Collect
from rlmd.corpus.pack import Pack
from rlmd.ingest.walk import walk
from rlmd.look.grep import grep
from rlmd.requests import Count
from rlmd.tokens.encodings import O200K_BASE
from rlmd.tokens.engines import choose_engine
from rlmd.values import SkipTally, Span, TextEncoding, WalkRules

TREES = {"stdlib": trees.standard_library, "linux": trees.linux_source}
RULES = WalkRules()
RG = ("rg", "--hidden", "--glob", "!.git")
PATTERNS = ("TODO", "EINVAL|ValueError", r"return\s+-?1;?$", r"\b(un)?lock(ed)?\(")
SAMPLE_BYTES = 16 << 20

FLOOR = "plain loop: open, read, close"
TIKTOKEN = "plain loop: tiktoken, one thread"

Table = tuple[Mapping[str, Row], str]


def main(names: Iterable[str] = TREES, *, rounds: int = 5) -> None:
    """Measure on the standard library, and on Debian's linux-source where that can be had."""
    print(f"{rounds} interleaved rounds after one warm-up; ratios are medians of the rounds' ratios")
    for name in names:
        try:
            tree = TREES[name]()
        except trees.Unavailable as why:
            print(f"\nskipped {name}: {why}")
            continue
        trio.run(partial(measure, str(tree.resolve()), rounds=rounds))


async def measure(root: str, *, rounds: int) -> None:
    """Print one table for each stage; *root* is free of symlinks."""
    files = paths_of(root)
    print(f"\n== {os.path.basename(root)}: {len(files):,} files, {read_all(files) >> 20:,} MiB ==")
    async with open_world() as world:
        print_table("walk, every path taken", *await compare_walk(root, rounds))
        print_table("collect, files in the page cache", *await compare_collect(world, root, files, rounds))
        print_table("exact o200k_base counts", *await compare_count(world, files, rounds))
    for pattern in PATTERNS:
        print_table(f"grep {pattern}, no index", *await compare_grep(root, pattern, rounds))


async def compare_walk(root: str, rounds: int) -> Table:
    """Our walk with all ignore rules beside rg's and beside a loop that knows none."""
    contenders = {
        "rlmd walk, ignore rules": lambda: paths_of(root),
        "plain loop: os.scandir, no rules": lambda: scan(root),
        **_if_rg("rg --files", *RG, "--files", root),
    }
    return await interleave(contenders, rounds=rounds), list(contenders)[-1]


async def compare_collect(world: World, root: str, files: list[str], rounds: int) -> Table:
    """A cold collection (walk, read, hash, store, count) and a warm one beside reading alone."""
    warm = await world.keeper()

    async def cold() -> None:
        keeper = await world.keeper()
        await keeper.ask(Collect(root))
        await keeper.close()

    contenders = {
        "rlmd: walk, read, hash, store, count": cold,
        "rlmd: the same again, nothing changed": lambda: warm.ask(Collect(root)),
        FLOOR: lambda: read_all(files),
    }
    return await interleave(contenders, rounds=rounds), FLOOR


async def compare_count(world: World, files: list[str], rounds: int) -> Table:
    """Our counter, through its actor and process, beside a loop over tiktoken."""
    encode = choose_engine(O200K_BASE, "tiktoken").encode
    texts = sample(files)
    pack = Pack(str(world.scratch / "counted"))
    items: list[tuple[Span, TextEncoding]] = [
        (pack.add(sha256(text).hexdigest(), text), "utf-8") for text in texts
    ]
    contenders = {
        "rlmd, in its worker process": lambda: world.sources.counter.ask(
            Count(pack.path, items, "o200k_base")
        ),
        TIKTOKEN: lambda: sum(len(encode(text.decode("utf-8", "replace"))) for text in texts),
    }
    table = await interleave(contenders, rounds=rounds), TIKTOKEN
    pack.close()
    return table


async def compare_grep(root: str, pattern: str, rounds: int) -> Table:
    """Our grep of the tree as it is, first page rendered, beside a warm rg process."""
    limiter = trio.CapacityLimiter(1)
    request = GrepRequest(pattern=pattern)
    contenders = {
        "rlmd grep": lambda: grep(request, root, rules=RULES, workspace=root, limiter=limiter),
        **_if_rg("rg -n", *RG, "-n", "--no-messages", pattern, root),
    }
    return await interleave(contenders, rounds=rounds), list(contenders)[-1]


def paths_of(root: str) -> list[str]:
    """Walk *root* as a collection does."""
    return [ref.absolute for batch in walk(root, (), RULES, SkipTally()) for ref in batch]


def scan(root: str) -> list[str]:
    """Take every path below *root*, as cheaply as Python can."""
    found: list[str] = []
    pending = [root]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                (pending if entry.is_dir(follow_symlinks=False) else found).append(entry.path)
    return found


def read_all(files: list[str]) -> int:
    """Read every file whole, one after the other, and return how many bytes there were."""
    total = 0
    for path in files:
        file = os.open(path, os.O_RDONLY)
        total += len(os.read(file, os.fstat(file).st_size + 1))
        os.close(file)
    return total


def sample(files: list[str]) -> list[bytes]:
    """Read every n-th file, so that the sample is spread over the tree and has SAMPLE_BYTES."""
    texts: list[bytes] = []
    size = 0
    for path in files[:: max(1, len(files) // 2000)]:
        data = Path(path).read_bytes()
        if b"\0" not in data and size + len(data) <= SAMPLE_BYTES:
            texts.append(data)
            size += len(data)
    return texts


def _if_rg(name: str, *command: str) -> dict[str, object]:
    if shutil.which("rg") is None:
        print("  (no rg on this machine: its rows are missing)")
        return {}
    return {
        name: lambda: subprocess.run(
            command, check=False, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL
        )
    }
