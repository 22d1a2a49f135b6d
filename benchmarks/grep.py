"""Exact search on Debian's linux-source through a daemon, beside a warm rg process: forty patterns."""

from __future__ import annotations

import contextlib
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import trees
from rlmd.cli.client import Client

ROUNDS = 5
PAGE = 200
FIXED = (
    "kmalloc_array", "zzqq_absent_token", "EXPORT_SYMBOL_GPL(", "return -EINVAL;", "mutex_lock",
    "#include <linux/module.h>", "printk", "return", "the", "TODO", "dma_alloc_coherent", "copy_from_user(",
    "CONFIG_PREEMPT_RT", "sched_setaffinity", "0xdeadbeef",
)  # fmt: skip
REGEX = (
    r"^static int __init", r"struct\s+page\s*\*", r"spin_(un)?lock_irq(save|restore)?\(&\w+->lock",
    r"(kmalloc|kzalloc|vmalloc)\(.*GFP_ATOMIC", r"#define\s+[A-Z_]+_MAX\s+\d+", r'dev_err\(.*failed.*\\n"',
    r"goto (err|out|fail)[a-z_]*;$", r"sizeof\(struct [a-z_]+\) \*", r"0x[0-9a-f]{16}ULL", r"\b[a-z]{3}\d\b",
    r"[0-9a-f]{32}", r"^\s*\}\s*$", r"[A-Z]{4,}_[0-9]+x", r"(foo|bar)_[a-z]+\(", r"\w+_lock\(",
    r"^MODULE_LICENSE\(", r"\bunlikely\(!\w+\)", r"static\s+inline\s+\w+\s+\*", r"irq_(enable|disable)\b",
    r"if \(IS_ERR\(\w+\)\)$",
)  # fmt: skip
ANY_CASE = (
    "todo",
    "fixme|xxx",
    r"spdx-license-identifier: gpl-2\.0\+",
    "linus torvalds",
    "workaround.*errata",
)
ASKED: tuple[tuple[str, dict[str, Any], list[str]], ...] = (
    *((each, {"fixed_strings": True}, ["-F"]) for each in FIXED),
    *((each, {}, []) for each in REGEX),
    *((each, {"case_insensitive": True}, ["-i"]) for each in ANY_CASE),
)


def main() -> None:
    """Collect the tree, wait for its index, compare every pattern's lines with rg's, then time both."""
    try:
        tree = trees.linux_source().resolve()
    except trees.Unavailable as why:
        print(f"skipped: {why}")
        return
    with daemon(tree) as client:
        began = time.perf_counter()
        client.call(
            "rlm_analyze", {"query": "mutex", "paths": ["."], "wait_s": 50, "budget": {"seconds": 40}}
        )
        print(f"collected and answered in {time.perf_counter() - began:.0f} s")
        ratios = [compare(client, tree, *asked) for asked in ASKED]
    print(
        f"\nrg / rlmd over {len(ratios)} patterns: geometric mean {statistics.geometric_mean(ratios):.1f}, "
        f"lowest {min(ratios):.1f}, at least 5: {sum(ratio >= 5 for ratio in ratios)}"
    )


def compare(client: Client, tree: Path, pattern: str, options: dict[str, Any], flags: list[str]) -> float:
    """Print one row, and return how many times faster we are: medians of interleaved rounds."""
    asked = {"pattern": pattern, **options, "limit": PAGE, "max_chars": 100_000}
    command = ["rg", "--no-config", "-n", "--hidden", "-g", "!.git", "--no-messages", *flags, "-e", pattern]
    check(client, asked, command, tree)
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        total = client.call("rlm_grep", asked).facts["total"]
        ours.append(time.perf_counter() - began)
        began = time.perf_counter()
        subprocess.run([*command, "."], cwd=tree, stdout=subprocess.DEVNULL, check=False)
        theirs.append(time.perf_counter() - began)
    ratio = statistics.median(a / b for a, b in zip(theirs, ours, strict=True))
    mine, its = statistics.median(ours) * 1e3, statistics.median(theirs) * 1e3
    name = f"{' '.join([*flags, pattern])[:52]:54}{total:>9,} lines"
    print(f"{name} {mine:7.0f} ms  rg {its:6.0f} ms  {ratio:6.1f} x", flush=True)
    return ratio


def check(client: Client, asked: dict[str, Any], command: Sequence[str], tree: Path) -> None:
    """Compare the number of lines of every file, and the text of the first page; raise AssertionError."""
    run = subprocess.run([*command, "--no-heading", "."], cwd=tree, capture_output=True, check=False)
    lines = [line.removeprefix(b"./").split(b":", 2) for line in run.stdout.split(b"\n")[:-1]]
    expected = Counter(path.decode() for path, _, _ in lines)
    found: dict[str, int] = {}
    cursor = None
    while True:
        page = {**asked, "output_mode": "count", "limit": 10_000, "cursor": cursor}
        facts = client.call("rlm_grep", page).facts
        found |= {match["path"]: match["count"] for match in facts["matches"]}
        cursor = facts["next_cursor"]
        if cursor is None:
            break
    assert found == expected, (asked, set(found.items()) ^ set(expected.items()))
    first = set(sorted(expected)[:PAGE])
    page = sorted(
        (path.decode(), int(number), text) for path, number, text in lines if path.decode() in first
    )
    shown = [(path, number, text.decode("utf-8", "replace")[:500]) for path, number, text in page[:PAGE]]
    matches = client.call("rlm_grep", asked).facts["matches"]
    assert [(each["path"], each["line"], each["text"]) for each in matches] == shown[: len(matches)], asked


@contextlib.contextmanager
def daemon(tree: Path) -> Iterator[Client]:
    """Run a daemon of its own over *tree*, and end it."""
    with tempfile.TemporaryDirectory(prefix="rlmd-grep-") as place:
        env = {name: value for name, value in os.environ.items() if not name.startswith(("RLMD_", "XDG_"))}
        env |= {"HOME": place, "RLMD_SOCKET": f"{place}/s"}
        env |= {"RLMD_STATE_DIR": f"{place}/state", "RLMD_CACHE_DIR": f"{place}/cache"}
        command = [sys.executable, "-m", "rlmd", "serve", "-o", "ingest.max_bytes=8GiB"]
        log = open(f"{place}/log", "w")  # noqa: SIM115 - lives as long as the process
        process = subprocess.Popen(command, env=env, stderr=log)
        try:
            with connected(f"{place}/s") as connection:
                client = Client(connection)
                client.greet(cwd=str(tree), paths=[str(tree)])
                yield client
        finally:
            process.terminate()
            process.wait(60)
            log.close()


@contextlib.contextmanager
def connected(path: str) -> Iterator[socket.socket]:
    """Connect as soon as somebody listens."""
    connection = socket.socket(socket.AF_UNIX)
    deadline = time.monotonic() + 30
    while True:
        try:
            connection.connect(path)
            break
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    with connection:
        yield connection


if __name__ == "__main__":
    main()
