from collections import Counter
from pathlib import Path

import pytest
import trio

from corpus_world import World, open_world
from rlmd.corpus import text
from rlmd.corpus.keeper import CollectText
from rlmd.corpus.search import Ranked
from rlmd.corpus.snapshot import Snapshot
from rlmd.errors import Busy
from rlmd.offload import OffloadDied

pytestmark = pytest.mark.real_io


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Thirty modules of four functions, a README, a test and a copy of one module."""
    root = tmp_path / "tree"
    (root / "pkg").mkdir(parents=True)
    (root / "tests").mkdir()
    for number in range(30):
        (root / f"pkg/module_{number:02}.py").write_text(module(f"m{number}"))
    (root / "README.md").write_text("# Tree\n\nNothing to see.\n")
    (root / "pkg/backoff.py").write_text(module("retry_delay"))
    (root / "tests/test_backoff.py").write_text(
        "from pkg import retry_delay\n\n\ndef test_retry_delay():\n    retry_delay()\n"
    )
    (root / "pkg/copy.py").write_text(module("retry_delay"))
    return root


def module(name: str) -> str:
    return "".join(
        f"def {name}_{part}(value):\n" + "    value += 1\n" * 12 + "    return value\n\n\n" for part in "abcd"
    )


def places(ranked: Ranked) -> list[tuple[str, int, int]]:
    return [(each.path, each.start_line, each.end_line) for each in ranked.passages]


async def test_whole_definitions_of_the_right_file_come_first(cache: Path, tree: Path) -> None:
    with trio.fail_after(10):
        async with open_world(cache) as world:
            ranked = await world.search(await world.collect(tree), "where is the retry delay computed?")

    assert {path for path, _, _ in places(ranked)[:3]} == {"pkg/backoff.py"}
    assert {span[1:] for span in places(ranked)[:3]} <= {(1, 16), (17, 32), (33, 48), (49, 64)}
    assert ranked.terms == {"retri": 1, "delay": 1, "comput": 1}
    assert ranked.unindexed == []


async def test_passages_are_many_from_many_files_at_most_three_each_without_twins(
    cache: Path, tree: Path
) -> None:
    with trio.fail_after(10):
        async with open_world(cache) as world:
            ranked = await world.search(await world.collect(tree), "retry delay")

    per_file = Counter(path for path, _, _ in places(ranked))
    assert len(ranked.passages) >= 20
    assert len(per_file) >= 10
    assert max(per_file.values()) == 3
    assert not {"pkg/backoff.py", "pkg/copy.py"} <= {each.path for each in ranked.passages if each.score > 0}
    assert len(set(places(ranked))) == len(ranked.passages)
    assert [each.score for each in ranked.passages] == sorted(
        (each.score for each in ranked.passages), reverse=True
    )


async def test_a_question_that_matches_nothing_is_answered_from_the_front(cache: Path, tree: Path) -> None:
    with trio.fail_after(10):
        async with open_world(cache) as world:
            snapshot = await world.collect(tree)
            nothing = await world.search(snapshot, "zyzzyva?")
            stop_words = await world.search(snapshot, "nothing to")

    assert nothing.passages[0].path == "README.md"
    assert {each.score for each in nothing.passages} == {0.0}
    assert len(nothing.passages) >= 20
    assert stop_words.passages[0].path == "README.md"
    assert stop_words.passages[0].score > 0


async def test_the_kind_of_question_turns_the_order(cache: Path, tmp_path: Path) -> None:
    root = tmp_path / "both"
    root.mkdir()
    (root / "cache.py").write_text("def evict():\n    'evict the cache entries'\n")
    (root / "guide.md").write_text("# Evict\n\nHow to evict the cache entries.\n")
    with trio.fail_after(10):
        async with open_world(cache) as world:
            snapshot = await world.collect(root)
            docs = await world.search(snapshot, "evict entries", "docs")
            code = await world.search(snapshot, "evict entries", "code")

    assert (docs.passages[0].path, code.passages[0].path) == ("guide.md", "cache.py")


async def test_an_edit_costs_its_file_alone_and_the_old_text_is_not_found(cache: Path, tree: Path) -> None:
    with trio.fail_after(10):
        async with open_world(cache) as world:
            await world.search(await world.collect(tree), "delay")
            (tree / "pkg/module_07.py").write_text(module("heartbeat"))
            world.offload.calls.clear()

            ranked = await world.search(await world.collect(tree), "heartbeat m7")

            (call,) = world.offload.calls
            assert isinstance(call[2], list)
            assert len(call[2]) == 1
            assert ranked.passages[0].path == "pkg/module_07.py"
            assert [each.path for each in ranked.passages if each.score > 0] == ["pkg/module_07.py"] * 3


async def test_an_older_snapshot_is_still_searched_as_it_was(cache: Path, tree: Path) -> None:
    with trio.fail_after(10):
        async with open_world(cache) as world:
            old = await world.collect(tree)
            (tree / "pkg/module_07.py").write_text(module("heartbeat"))
            await world.search(await world.collect(tree), "heartbeat")

            assert (await world.search(old, "m7")).passages[0].path == "pkg/module_07.py"
            assert {each.score for each in (await world.search(old, "heartbeat")).passages} == {0.0}


async def test_without_time_it_answers_from_what_is_indexed_and_names_the_rest(
    cache: Path, tree: Path
) -> None:
    with trio.fail_after(10):
        async with open_world(cache) as world:
            snapshot = await world.collect(tree)

            ranked = await world.search(snapshot, "retry delay", deadline_s=0)

            assert len(ranked.passages) >= 20
            assert {entry.path for entry in ranked.unindexed} == set(snapshot.files.paths) - {"pkg/copy.py"}


async def test_sources_are_indexed_before_tests_and_docs(
    cache: Path, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rlmd.corpus.shard.BATCH_BYTES", 4000)
    with trio.fail_after(10):
        async with open_world(cache) as world:
            snapshot = await world.collect(tree)
            await world.search(snapshot, "delay")
            (*_, last) = world.offload.calls

            assert len(world.offload.calls) > 3
            assert isinstance(last[2], list)
            assert last[2][-1].style == "named"
            assert snapshot.files[snapshot.files.row("README.md") or 0].span in [
                content.span for content in last[2]
            ]


async def test_two_who_wait_share_the_build(cache: Path, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlmd.corpus.shard.BATCH_BYTES", 4000)
    with trio.fail_after(10):
        async with open_world(cache) as world:
            snapshot = await world.collect(tree)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(world.search, snapshot, "delay")
                nursery.start_soon(world.search, snapshot, "retry")

            numbers = indexed(world)
            assert len(numbers) == len(set(numbers)) == len(snapshot.files) - 1


def indexed(world: World) -> list[int]:
    return [content.number for call in world.offload.calls for content in call[2]]  # type: ignore[attr-defined]


async def test_a_content_that_kills_the_worker_is_given_up_and_the_others_are_not(
    cache: Path, tree: Path
) -> None:
    with trio.fail_after(10):
        async with open_world(cache) as world:
            snapshot = await world.collect(tree)
            world.offload.failing = [OffloadDied("died") for _ in range(6)]  # the whole, halves, ... one

            ranked = await world.search(snapshot, "retry delay")

            assert len(ranked.unindexed) == 1
            numbers = indexed(world)
            assert len(numbers) == len(set(numbers))


async def test_a_full_disk_is_busy(cache: Path, tree: Path) -> None:
    with trio.fail_after(10):
        async with open_world(cache) as world:
            snapshot = await world.collect(tree)
            world.offload.failing = [ValueError("No space left on device (os error 28)")]

            with pytest.raises(Busy, match="full"):
                await world.search(snapshot, "retry")
            assert (await world.search(snapshot, "retry delay")).unindexed == []


async def test_a_long_text_is_searched_piece_by_piece_with_its_own_line_numbers(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text, "PIECE_BYTES", 20_000)
    monkeypatch.setattr("rlmd.corpus.shard.PIECE_BYTES", 20_000)
    lines = [f"12:00:00 worker {number} is fine" for number in range(5000)]
    lines[3210] = "12:00:01 disk quota exceeded"
    with trio.fail_after(10):
        async with open_world(cache) as world:
            snapshot = await world.keeper.ask(CollectText("\n".join(lines)))
            assert isinstance(snapshot, Snapshot)

            ranked = await world.search(snapshot, "quota exceeded")
            many = await world.search(snapshot, "worker fine")

            assert len(world.offload.calls) > 5
            first = ranked.passages[0]
            assert first.start_line <= 3211 <= first.end_line
            assert first.end_line - first.start_line < 40
            assert len(many.passages) >= 20


async def test_the_same_question_has_the_same_answer(cache: Path, tree: Path) -> None:
    with trio.fail_after(10):
        async with open_world(cache) as world:
            first = await world.search(await world.collect(tree), "module value delay")
        async with open_world(cache) as world:
            second = await world.search(await world.collect(tree), "module value delay")

    assert first.passages == second.passages


async def test_the_last_who_waits_cancels_the_build_and_what_was_begun_is_done_again(
    cache: Path, tree: Path
) -> None:
    with trio.fail_after(10):
        async with open_world(cache) as world:
            snapshot = await world.collect(tree)
            world.offload.gate = trio.Event()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(world.search, snapshot, "delay")
                await world.offload.called.wait()
                nursery.cancel_scope.cancel()
            world.offload.gate.set()

            ranked = await world.search(snapshot, "retry delay")

            assert ranked.unindexed == []
            assert ranked.passages[0].path == "pkg/backoff.py"
            assert len(indexed(world)) == len(set(indexed(world))) == 2 * (len(snapshot.files) - 1)


def remove_modules(tree: Path) -> None:
    for path in tree.glob("pkg/module_*.py"):
        path.unlink()


def generations(cache: Path) -> list[str]:
    return [path.name for path in cache.glob("**/words/*/[0-9]")]


async def test_an_index_that_is_mostly_dead_is_begun_anew(
    cache: Path, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rlmd.corpus.build.FEW_DEAD", 3)
    with trio.fail_after(10):
        async with open_world(cache) as world:
            await world.search(await world.collect(tree), "delay")
            remove_modules(tree)
            snapshot = await world.collect(tree)
            world.offload.calls.clear()

            ranked = await world.search(snapshot, "retry delay")

            assert ranked.passages[0].path == "pkg/backoff.py"
            assert len(indexed(world)) == len(snapshot.files) - 1
            assert generations(cache) == ["2"]
