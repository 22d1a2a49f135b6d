"""`rlmd tokens`: how many tokens the files of a tree have, directory by directory, in each encoding.

Runs without a daemon, by the daemon's own parts: same files, same counts, and the cache where no daemon
has it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rlmd import paths
from rlmd.cli.talk import complain

if TYPE_CHECKING:
    from rlmd.cli.parsers import Parser
    from rlmd.config import Config
    from rlmd.corpus.snapshot import Snapshot
    from rlmd.values import Progress, WalkRules

# ruff: noqa: PLC0415  # the other commands do not wait for what this one needs

ENCODINGS = ("o200k_base", "cl100k_base")


@dataclass
class Sum:
    """What the files at or below one path have together."""

    files: int = 0
    bytes: int = 0
    o200k: int = 0
    cl100k: int = 0

    def add(self, size_bytes: int, o200k: int, cl100k: int) -> None:
        """Count one file more."""
        self.files += 1
        self.bytes += size_bytes
        self.o200k += o200k
        self.cl100k += cl100k


def add(commands: argparse._SubParsersAction[Parser]) -> None:
    """Say what the command is given, and what runs it."""
    tokens = commands.add_parser("tokens", help="count the tokens of a tree, directory by directory")
    tokens.add_argument(
        "path", nargs="?", default=".", metavar="PATH", help="a directory (default: this one)"
    )
    tokens.add_argument("--depth", type=int, default=1, metavar="N", help="levels to show (default 1)")
    tokens.add_argument("--json", action="store_true", help="print the facts as JSON")
    tokens.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from rlmd import observe

    observe.configure("error")
    return count_tree(args.path, depth=args.depth, as_json=args.json)


def count_tree(path: str, *, depth: int, as_json: bool) -> int:
    """Print the sums of the directory *path* and of what lies up to *depth* levels below."""
    import trio

    from rlmd.config import load
    from rlmd.errors import ConfigError, RequestError
    from rlmd.supervision.errors import ungrouped

    if not os.path.isdir(path):
        return complain(f"{path}: no such directory", os.EX_DATAERR)
    try:
        config = load(paths.config_files(), env=os.environ).config
        with ungrouped():
            files = trio.run(_count, os.path.realpath(path), config)
    except ConfigError as wrong:
        return complain(str(wrong), os.EX_CONFIG)
    except RequestError as refused:
        return complain(f"{refused.message} {refused.hint}", os.EX_TEMPFAIL)
    except KeyboardInterrupt:
        return complain("interrupted; what was counted is kept", 130)
    sums = tree_of(files, depth)
    print(_as_json(path, sums) if as_json else _as_text(sums))
    return os.EX_OK


async def _count(root: str, config: Config) -> list[tuple[str, int, int, int]]:
    """Return path, bytes and the counts of every file below *root*."""
    from pathlib import Path

    from rlmd.boot import start_corpus
    from rlmd.corpus.keeper import Collect
    from rlmd.corpus.news import News
    from rlmd.corpus.snapshot import Snapshot
    from rlmd.offload import open_offload
    from rlmd.supervision import open_supervisor

    cache = paths.cache_dir()
    paths.make_private_dir(cache)
    async with open_offload() as offload, open_supervisor(grace=1) as supervisor:
        keeper = await start_corpus(config, Path(cache), supervisor, offload, offload, News())
        snapshot = await keeper.ask(Collect(root, (), _rules(config), _show))
        assert isinstance(snapshot, Snapshot)
        counts = [await _counted(snapshot, encoding, config, offload) for encoding in ENCODINGS]
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    return [
        (entry.path, entry.size_bytes, o200k, cl100k)
        for entry, o200k, cl100k in zip(snapshot.files, *counts, strict=True)
    ]


def _rules(config: Config) -> WalkRules:
    """Return what the daemon leaves out of a corpus."""
    from rlmd.values import WalkRules

    return WalkRules(
        secret=config.privacy.exclude,
        deny=tuple(os.path.realpath(closed) for closed in config.roots.deny),
        own=tuple(os.path.realpath(place) for place in (paths.state_dir(), paths.cache_dir())),
    )


async def _counted(snapshot: Snapshot, encoding: str, config: Config, offload: object) -> list[int]:
    """Return the tokens of each file by *encoding*; counts only what nobody has counted before."""
    from rlmd.corpus.blobs import UNCOUNTED
    from rlmd.requests import Count
    from rlmd.tokens.counter import token_counter

    pack, known = snapshot.pack, list(snapshot.files)
    missing = {
        entry.sha256: (entry.span, entry.encoding)
        for entry in known
        if pack.tokens(entry.sha256, encoding) == UNCOUNTED  # type: ignore[arg-type]  # one of ENCODINGS
    }
    if missing:
        async with token_counter(offload, engine=config.tokens.engine)() as count:  # type: ignore[arg-type]
            found = await count(Count(pack.path, list(missing.values()), encoding))  # type: ignore[arg-type]
        for sha256, tokens in zip(missing, found, strict=True):
            pack.count(sha256, encoding, tokens)  # type: ignore[arg-type]
    return [pack.tokens(entry.sha256, encoding) for entry in known]  # type: ignore[arg-type]


def tree_of(files: Iterable[tuple[str, int, int, int]], depth: int) -> Mapping[str, Sum]:
    """Sum *files* under each path of up to *depth* components; `.` is all of them."""
    sums: dict[str, Sum] = defaultdict(Sum)
    for path, *numbers in files:
        parts = path.split("/")
        sums["."].add(*numbers)
        for level in range(1, min(depth, len(parts)) + 1):
            slash = "/" if level < len(parts) else ""
            sums["/".join(parts[:level]) + slash].add(*numbers)
    return dict(sorted(sums.items()))


def _show(progress: Progress) -> None:
    if sys.stderr.isatty():
        total = "" if progress.total is None else f" of {progress.total:,}"
        print(f"\r\033[K{progress.stage}: {progress.done:,}{total} {progress.unit}", end="", file=sys.stderr)


def _as_json(path: str, sums: Mapping[str, Sum]) -> str:
    rows = [{"path": each, **vars(numbers)} for each, numbers in sums.items()]
    return json.dumps({"root": os.path.realpath(path), "tree": rows})


def _as_text(sums: Mapping[str, Sum]) -> str:
    lines = [f"{'o200k':>14} {'cl100k':>14} {'bytes':>14} {'files':>9}  path"]
    lines += [
        f"{each.o200k:>14,} {each.cl100k:>14,} {each.bytes:>14,} {each.files:>9,}  {path}"
        for path, each in sums.items()
    ]
    return "\n".join(lines)
