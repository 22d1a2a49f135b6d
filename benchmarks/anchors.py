"""Anchors over real history: spans of files of an old commit, looked for at a later one.

Truth is git's own line map.  `python -m benchmarks.anchors REPOSITORY…` takes others than the one it
stands in.
"""

from __future__ import annotations

import random
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rlmd.memory.anchor import Anchor, check
from rlmd.memory.evidence import Lines, anchor_at

SPANS_PER_FILE = 6
FILES = 250
COMMITS = 400
HUNK = re.compile(r"^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@", re.MULTILINE)


@dataclass
class Tally:
    """What was said of spans, by what is true of them; seconds of each check."""

    said: Counter[tuple[str, str, bool]] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    false_fresh: list[str] = field(default_factory=list)

    def moved_at_gits_line(self) -> float:
        """Return the share of moved spans that were found, at the line git says."""
        moved = {key: count for key, count in self.said.items() if key[0] == "moved"}
        return sum(count for key, count in moved.items() if key[2]) / max(1, sum(moved.values()))


def compare(repository: str, old: str, new: str, tally: Tally, *, seed: int = 0) -> int:
    """Anchor random spans of every file changed between two commits; return how many files."""
    git = Git(repository)
    chance = random.Random(seed)
    names = git("diff", "--name-only", "--diff-filter=M", old, new).split("\n")
    files = [name for name in names if name.endswith((".py", ".ts", ".js", ".md", ".rst", ".toml", ".c"))]
    for name in files[:FILES]:
        before, after = (git("show", f"{commit}:{name}").split("\n") for commit in (old, new))
        if len(before) >= 30:
            _compare_file(before, after, git("diff", "-U0", old, new, "--", name), name, chance, tally)
    return len(files)


def _compare_file(
    before: list[str], after: list[str], diff: str, name: str, chance: random.Random, tally: Tally
) -> None:
    touched, shifts = _line_map(diff)
    for _ in range(SPANS_PER_FILE):
        start = chance.randrange(1, len(before) - 12)
        end = start + chance.randrange(2, 11)
        if sum(len(line.strip()) > 3 for line in before[start - 1 : end]) < 2:
            continue
        anchor, _ = anchor_at(Lines(before, ""), name, start, end, shown=name)
        inside = any(start < line <= end for line, _ in shifts) or any(
            line in touched for line in range(start, end + 1)
        )
        shift = max((at for at in shifts if at[0] <= start), default=(0, 0))[1]
        truth = "changed" if inside else "moved" if shift else "same"
        _note(tally, truth, anchor, after, start + shift)


def _note(tally: Tally, truth: str, anchor: Anchor, after: list[str], line: int) -> None:
    started = time.perf_counter()
    found = check(anchor, after)
    tally.seconds.append(time.perf_counter() - started)
    right = found.status in {"fresh", "moved"} and found.start_line == line
    tally.said[truth, found.status, right] += 1
    if truth == "changed" and found.status == "fresh":
        tally.false_fresh.append(f"{anchor.path}:{anchor.start_line}-{anchor.end_line}")


def _line_map(diff: str) -> tuple[set[int], list[tuple[int, int]]]:
    """Return the lines that are gone, and from which line on all others are shifted by how much."""
    gone: set[int] = set()
    shifts: list[tuple[int, int]] = []
    for found in HUNK.finditer(diff):
        old, old_count, new, new_count = (int(1 if part is None else part) for part in found.groups())
        gone.update(range(old, old + old_count))
        after_old = old + (old_count or 1)
        after_new = new + (new_count or 1)
        shifts.append((after_old, after_new - after_old))
    return gone, shifts


class Git:
    def __init__(self, repository: str) -> None:
        self._repository = repository

    def __call__(self, *arguments: str) -> str:
        command = ["git", "-C", self._repository, *arguments]
        return subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", check=False
        ).stdout


def measure(repository: str) -> Tally:
    """Compare the latest commit with some before it, up to COMMITS back."""
    git = Git(repository)
    commits = git("rev-list", "--first-parent", f"--max-count={COMMITS}", "HEAD").split()
    tally, files = Tally(), 0
    steps = sorted({min(back, len(commits) - 1) for back in (5, 20, 60, 150, COMMITS - 1)})
    for seed, back in enumerate(steps):
        files += compare(repository, commits[back], commits[0], tally, seed=seed)
    print(
        f"\n{Path(repository).resolve().name}: {len(commits)} commits, {files} changed files, "
        f"{sum(tally.said.values())} spans"
    )
    return tally


def main(repositories: Sequence[str] = (".",)) -> None:
    for repository in repositories:
        tally = measure(repository)
        for (truth, said, right), count in sorted(tally.said.items()):
            print(f"  {truth:8} {said:10} {'at the right line' if right else '':18} {count:5}")
        times = sorted(tally.seconds)
        print(f"  changed but called fresh: {len(tally.false_fresh)} (bar 0) {tally.false_fresh[:5]}")
        print(f"  moved at git's line: {tally.moved_at_gits_line():.1%} (bar 95 %)")
        p50, p99 = times[len(times) // 2] * 1e3, times[len(times) * 99 // 100] * 1e3
        print(f"  check p50 {p50:.2f} ms (bar 2), p99 {p99:.1f} ms")


if __name__ == "__main__":
    main(sys.argv[1:] or (".",))
