"""What the word index keeps, from one daemon to the next and from one work tree to another."""

from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from corpus_world import World, open_world
from git_world import git
from rlmd.corpus import index, shard
from rlmd.corpus.register import begin_register, enter, read_register
from rlmd.corpus.search import Ranked

pytestmark = pytest.mark.real_io
QUESTION = "where is the retry delay computed?"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    root.mkdir()
    for number in range(20):
        (root / f"module_{number:02}.py").write_text(f"def part_{number}():\n    return {number}\n")
    (root / "backoff.py").write_text("def retry_delay(attempt):\n    return 2**attempt\n")
    return root


def indexed(world: World) -> int:
    return sum(len(call[2]) for call in world.offload.calls if isinstance(call[2], list))


async def ask(world: World, tree: Path, question: str = QUESTION) -> Ranked:
    return await world.search(await world.collect(tree), question)


async def test_the_next_daemon_indexes_only_what_is_new(cache: Path, tree: Path) -> None:
    with trio.fail_after(10):
        async with open_world(cache) as world:
            before = await ask(world, tree)
        (tree / "new.py").write_text("def heartbeat():\n    pass\n")
        async with open_world(cache) as world:
            new = await ask(world, tree, "heartbeat")
            after = await ask(world, tree)

            assert indexed(world) == 1
            assert new.passages[0].path == "new.py"
            assert after.passages[0].path == before.passages[0].path == "backoff.py"


def damaged(name: str, damage: Callable[[Path], object]) -> Callable[[Path], None]:
    def apply(cache: Path) -> None:
        for path in cache.glob(f"**/words/*/1/0/{name}"):
            damage(path)

    return apply


@pytest.mark.parametrize(
    "damage",
    [
        damaged("contents", lambda path: path.write_bytes(b"rlmd words of another time\n")),
        damaged(
            "contents", lambda path: path.write_bytes(path.read_bytes()[:-9] + b"x" + path.read_bytes()[-8:])
        ),
        damaged("contents", Path.unlink),
        damaged("meta.json", Path.unlink),
        damaged("meta.json", lambda path: path.write_text("{")),
        damaged("*.term", Path.unlink),
        damaged("*.store", lambda path: path.write_bytes(b"")),
    ],
)
async def test_an_index_in_doubt_is_begun_anew(
    cache: Path, tree: Path, damage: Callable[[Path], None]
) -> None:
    with trio.fail_after(10):
        async with open_world(cache) as world:
            before = await ask(world, tree)
        index._writer.cache_clear()  # a daemon that is gone has none
        damage(cache)
        async with open_world(cache) as world:
            after = await ask(world, tree)

            assert indexed(world) == 21
            assert after.passages == before.passages


def test_a_record_that_was_cut_short_costs_its_content_alone(tmp_path: Path) -> None:
    place = tmp_path / "words"
    begin_register(place)
    tantivy = index.Searcher(str(place))
    enter(str(place), [])
    whole = (place / "contents").read_bytes()
    enter(str(place), [(b"a" * 16, 1)])
    (place / "contents").write_bytes((place / "contents").read_bytes()[:-5])

    assert tantivy.cuts == 0
    assert read_register(place) == {}
    assert (place / "contents").read_bytes() == whole


@pytest.fixture
def other(tree: Path) -> Path:
    """A second work tree of the repository at *tree*."""
    git(tree, "init", "-q")
    git(tree, "add", ".")
    git(tree, "commit", "-qm", "All")
    git(tree, "worktree", "add", "-q", "../other", "-b", "side")
    return tree.parent / "other"


async def test_work_trees_of_one_repository_share_their_index(cache: Path, tree: Path, other: Path) -> None:
    (other / "module_03.py").write_text("def heartbeat():\n    pass\n")
    with trio.fail_after(10):
        async with open_world(cache) as world:
            await ask(world, tree)
            world.offload.calls.clear()

            beat = await ask(world, other, "heartbeat")
            first = await ask(world, tree, "heartbeat")

            assert indexed(world) == 1
            assert beat.passages[0].path == "module_03.py"
            assert {each.score for each in first.passages} == {0.0}


async def test_what_an_answer_could_not_wait_for_is_indexed_behind_it(
    cache: Path, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard, "BATCH_FILES", 4)
    with trio.fail_after(10):
        async with open_world(cache) as world:
            snapshot = await world.collect(tree)
            first = await world.search(snapshot, QUESTION, deadline_s=0)
            while indexed(world) < 21:
                world.offload.called = trio.Event()
                await world.offload.called.wait()
            last = await world.search(snapshot, QUESTION)

            assert len(first.unindexed) == 21
            assert last.unindexed == []
            assert indexed(world) == 21


async def test_two_shards_rank_as_one_index_does(
    cache: Path, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with trio.fail_after(10):
        async with open_world(cache / "one") as world:
            one = await ask(world, tree, "retry delay part return")
        monkeypatch.setattr("rlmd.corpus.build.MUCH_BYTES", 0)
        async with open_world(cache / "two", shards=2) as world:
            two = await ask(world, tree, "retry delay part return")

            assert len({call[0] for call in world.offload.calls}) == 2
    assert (one.passages[0].path, two.passages[0].path) == ("backoff.py", "backoff.py")
    scores = {each.path: each.score for each in one.passages}
    assert {each.path: each.score for each in two.passages} == pytest.approx(scores, abs=0.05)
