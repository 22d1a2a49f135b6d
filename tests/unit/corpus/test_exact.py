"""What outlives a search: segments are kept, mended, joined, and believed only for the pack they are of."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from exact_world import Searched, open_searched
from rlmd.corpus import exact, exact_worker, upkeep
from rlmd.corpus.lines import Matcher
from rlmd.look import warm

pytestmark = pytest.mark.real_io


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "SEAL_BYTES", 1)
    monkeypatch.setattr(upkeep, "MOST_SMALL", 2)
    monkeypatch.setattr(exact, "ALONE_BYTES", 0)
    monkeypatch.setattr(warm, "LEAST_BYTES", 0)
    exact_worker.open_segment.cache_clear()
    exact_worker.corpus_of.cache_clear()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "tree").mkdir()
    return tmp_path / "tree"


def segments(searched: Searched) -> list[Path]:
    return sorted(Path(searched.cache).rglob("segment-*"))


async def found(searched: Searched, pattern: str) -> list[tuple[str, int]]:
    result = await searched.with_index(pattern=pattern)
    assert result is not None
    return [(match.path, match.line) for match in result.matches]


async def test_only_what_may_match_is_scanned(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(100):
        (tree / f"f{number:02}").write_text(f"needle{number:02} " + "hay " * 8000 + "\n")
    scanned: list[int] = []
    ends = Matcher.ends
    monkeypatch.setattr(
        exact_worker.Matcher,
        "ends",
        lambda self, text, odd: scanned.append(len(text)) or ends(self, text, odd),
    )

    async with open_searched(tree, tree.parent / "cache") as searched:
        await searched.index()
        assert await found(searched, "needle42") == [("f42", 1)]

    assert sum(scanned) < 10 * 32_000


async def test_the_next_daemon_finds_the_segments_of_the_last(tree: Path) -> None:
    (tree / "a").write_text("needle\n")
    async with open_searched(tree, tree.parent / "cache") as searched:
        await searched.index()
        before = segments(searched)

    async with open_searched(tree, tree.parent / "cache") as searched:
        await searched.world.collect(tree)
        assert await found(searched, "needle") == [("a", 1)]
        await searched.index()
        assert segments(searched) == before


@pytest.mark.parametrize("name", ["blobs.npy", "blocks.npy", "odd.npy", "bits.npy", "meta.json"])
async def test_a_damaged_segment_is_made_anew_and_answers_meanwhile(tree: Path, name: str) -> None:
    (tree / "a").write_text("needle\nnédle\n")
    async with open_searched(tree, tree.parent / "cache") as searched:
        await searched.index()
        (before,) = segments(searched)
        data = bytearray((before / name).read_bytes())
        (before / name).write_bytes(data[: len(data) // 2])
        exact_worker.open_segment.cache_clear()
        exact_worker.corpus_of.cache_clear()

        assert await found(searched, "n.{1,2}dle") == [("a", 1), ("a", 2)]
        await searched.index()
        (after,) = segments(searched)

    assert after != before


async def test_segments_of_another_pack_are_removed(tree: Path) -> None:
    (tree / "a").write_text("needle\n")
    cache = tree.parent / "cache"
    async with open_searched(tree, cache) as searched:
        await searched.index()
        (before,) = segments(searched)
    meta = (before / "meta.json").read_text().replace('"pack": "', '"pack": "another')
    (before / "meta.json").write_text(meta)
    exact_worker.open_segment.cache_clear()
    exact_worker.corpus_of.cache_clear()

    async with open_searched(tree, cache) as searched:
        await searched.index()
        (after,) = segments(searched)

    assert after != before


async def test_many_small_segments_become_one_and_nothing_is_lost(tree: Path) -> None:
    async with open_searched(tree, tree.parent / "cache") as searched:
        for number in range(7):
            (tree / f"f{number}").write_text(f"needle {number}\n")
            await searched.index()
        assert len(segments(searched)) <= 4
        assert await found(searched, "needle") == [(f"f{number}", 1) for number in range(7)]


async def test_cancelling_a_search_returns_at_once(tree: Path) -> None:
    (tree / "a").write_text("needle\n")
    async with open_searched(tree, tree.parent / "cache") as searched:
        await searched.index()
        searched.process.gate = trio.Event()

        with trio.move_on_after(0.05) as scope:
            await searched.with_index(pattern="needle")

    assert scope.cancelled_caught
