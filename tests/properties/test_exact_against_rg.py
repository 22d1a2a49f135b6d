"""The search behind an index finds what ripgrep finds, through edits, and pages as the one without."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import trio

from exact_world import Searched, open_searched
from rg_world import WORDS, random_pattern, random_text, ripgrep
from rlmd.corpus import exact, exact_worker, lines, segment, upkeep
from rlmd.errors import BadArgument
from rlmd.look import warm

pytestmark = [
    pytest.mark.skipif(shutil.which("rg") is None, reason="ripgrep is not installed"),
    pytest.mark.real_io,
]

FILES = 40
NAMES = ["a.py", "b.c", "c.md", "d.txt", ".e.py", "f.log"]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make blocks, runs and segments so small that a few files fill many."""
    monkeypatch.setattr(segment, "BLOCK_BYTES", 512)
    monkeypatch.setattr(exact_worker, "RUN_BYTES", 2048)
    monkeypatch.setattr(exact_worker, "SKIPPED_BYTES", 1024)
    monkeypatch.setattr(upkeep, "SEAL_BYTES", 1)
    monkeypatch.setattr(upkeep, "SEGMENT_BYTES", 4096)
    monkeypatch.setattr(upkeep, "MOST_SMALL", 3)
    monkeypatch.setattr(exact, "ALONE_BYTES", 0)
    monkeypatch.setattr(warm, "LEAST_BYTES", 0)


def random_content(choose: random.Random, others: list[bytes]) -> bytes:
    text = random_text(choose)
    match choose.randrange(12):
        case 0:
            return b"\xef\xbb\xbf" + text
        case 1:
            return text.decode("utf-8", "replace").encode("utf-16")
        case 2 if others:
            return choose.choice(others)
        case 3:
            return text + b"\0"
        case 4:
            return text.rstrip(b"\n") + b"x" * choose.choice([600, 5000])
        case _:
            return text


def scramble(choose: random.Random, root: Path, files: int) -> None:
    """Write, rewrite and remove some files."""
    written: list[bytes] = []
    for _ in range(files):
        path = root / choose.choice(["", "sub/", "sub/deep/", "ignored/", "other/"]) / choose.choice(NAMES)
        path = path.with_stem(f"{path.stem}{choose.randrange(9)}")
        if choose.random() < 0.1:
            path.unlink(missing_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        written.append(random_content(choose, written))
        path.write_bytes(written[-1])


def random_request(choose: random.Random) -> dict[str, Any]:
    request: dict[str, Any] = {"pattern": random_pattern(choose), "case_insensitive": choose.random() < 0.4}
    if choose.random() < 0.15:
        word = choose.choice(WORDS).encode("utf-8", "replace").decode()
        request |= {"pattern": word, "fixed_strings": True}
    return request


def random_options(choose: random.Random) -> dict[str, Any]:
    options: dict[str, Any] = {"limit": choose.choice([1, 3, 50, 10_000])}
    options["output_mode"] = choose.choice(["content", "files_with_matches", "count"])
    options["context_lines"] = choose.choice([0, 0, 2])
    options["file_type"] = choose.choice([None, None, "py", "c"])
    options["glob"] = choose.choice([None, None, "*.log", "*.{py,md}", "!sub", "ignored/**", "/sub/**/*.c"])
    return options


async def check(searched: Searched, choose: random.Random) -> None:
    request = random_request(choose)
    flags = ["-F"] * request.get("fixed_strings", False) + ["-i"] * request["case_insensitive"]
    rg = ["--hidden", "-g", "!.git", "--no-messages", *flags, "-e", request["pattern"], "."]
    expected = ripgrep(*rg, cwd=searched.root)

    try:
        found = await searched.with_index(**request, limit=10_000)
    except BadArgument:
        assert expected is None
        return

    assert found is not None
    assert expected is not None
    shown = sorted((f"./{each.path}", each.line, each.text) for each in found.matches)
    # ripgrep prints what it finds before the first NUL of a file; to us such a file is binary.
    binary = {f"./{path.relative_to(searched.root)}" for path in searched.root.rglob("*") if is_binary(path)}
    assert shown == [line for line in expected if line[0] not in binary], request
    await check_options(searched, choose, request)


async def check_options(searched: Searched, choose: random.Random, request: dict[str, Any]) -> None:
    options, below = random_options(choose), choose.choice(["", "", "sub", "other"])
    path, cursor = searched.root / below, None
    for _ in range(3):
        asked = {**request, **options, "cursor": cursor}
        mine = await searched.with_index(path, **asked)
        theirs = await searched.without_index(path, **asked)
        if mine is None:
            assert not list(path.glob("*"))
            return
        assert (mine.matches, mine.files, mine.total, mine.truncated, mine.next_cursor) == (
            theirs.matches,
            theirs.files,
            theirs.total,
            theirs.truncated,
            theirs.next_cursor,
        ), (asked, below)
        if mine.skipped is not None:
            assert mine.skipped.by_reason == theirs.skipped.by_reason
        cursor = mine.next_cursor
        if cursor is None:
            return


def is_binary(path: Path) -> bool:
    if not path.is_file():
        return False
    data = path.read_bytes()
    return b"\0" in data and not data.startswith((b"\xff\xfe", b"\xfe\xff"))


async def check_edits(
    seed: int, root: Path, rounds: int, patterns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose, engine = random.Random(seed), lines.hyperscan
    (root / "tree" / ".git").mkdir(parents=True)
    (root / "tree" / ".gitignore").write_text("ignored/\n*.log\n")
    async with open_searched(root / "tree", root / "cache") as searched:
        for _ in range(rounds):
            scramble(choose, searched.root, FILES)
            if choose.random() < 0.7:
                await searched.index()
            else:
                await searched.world.collect(searched.root)
            for _ in range(patterns):
                monkeypatch.setattr(lines, "hyperscan", engine if choose.random() < 0.7 else None)
                exact_worker.matcher_of.cache_clear()
                scramble(choose, searched.root, choose.choice([0, 0, 2]))
                with trio.fail_after(30):
                    await check(searched, choose)


@pytest.mark.usefixtures("small")
async def test_random_patterns_find_what_ripgrep_finds_through_edits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await check_edits(1, tmp_path, 3, 10, monkeypatch)


@pytest.mark.slow
@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("seed", range(2, 6))
async def test_many_random_patterns_find_what_ripgrep_finds_through_edits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    await check_edits(seed, tmp_path, 5, 25, monkeypatch)
