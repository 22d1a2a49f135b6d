"""Trees that are watched: known to be fresh, told to who listens, looked at whole where they must be."""

import os
from pathlib import Path

import pytest
import trio

from corpus_world import World, open_world
from rlmd.corpus import watch
from rlmd.corpus.keeper import Held, Stock, TakeStock
from rlmd.corpus.news import News

pytestmark = pytest.mark.real_io


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "pkg/deep").mkdir(parents=True)
    (root / "a.py").write_text("a\n")
    (root / "pkg/b.py").write_text("b\n")
    return root


async def held(world: World) -> Held:
    stock = await world.keeper.ask(TakeStock())
    assert isinstance(stock, Stock)
    return stock.corpora[-1]


async def test_a_watched_tree_is_fresh_until_it_changes(cache: Path, tree: Path) -> None:
    with trio.fail_after(5):
        async with open_world(cache) as world:
            await world.collect(tree)
            before = await held(world)
            (tree / "a.py").write_text("changed\n")
            after = await held(world)

    assert (before.fresh, before.unwatched, before.age_s) == (True, None, 0.0)
    assert (after.fresh, after.unwatched) == (False, None)
    assert after.age_s > 0


async def test_only_what_has_changed_is_looked_at(cache: Path, tree: Path) -> None:
    with trio.fail_after(5):
        async with open_world(cache) as world:
            await world.collect(tree)
            world.read.clear()
            (tree / "pkg/b.py").write_text("changed\n")
            (tree / "pkg/deep/new.py").write_text("new\n")
            snapshot = await world.collect(tree)

            assert sorted(world.read) == ["pkg/b.py", "pkg/deep/new.py"]
            assert snapshot.files.paths == ("a.py", "pkg/b.py", "pkg/deep/new.py")


async def test_who_listens_hears_of_every_change(cache: Path, tree: Path) -> None:
    news = News()
    with trio.fail_after(5), news.read() as reader:
        async with open_world(cache, news=news) as world:
            await world.collect(tree)
            (tree / "pkg/b.py").write_text("changed\n")

            assert "pkg/b.py" in (await reader.next())[str(tree)]


async def test_more_directories_than_allowed_are_not_watched_and_still_right(cache: Path, tree: Path) -> None:
    with trio.fail_after(5):
        async with open_world(cache, watches=2) as world:
            await world.collect(tree)
            (tree / "pkg/deep/new.py").write_text("new\n")
            snapshot = await world.collect(tree)
            standing = await held(world)

    assert "pkg/deep/new.py" in snapshot.files.paths
    assert "corpus.watches" in str(standing.unwatched)
    assert not standing.fresh


async def test_an_evicted_tree_gives_its_watches_back(cache: Path, tree: Path) -> None:
    (tree.parent / "other").mkdir()
    with trio.fail_after(5):
        async with open_world(cache, watches=4, snapshots=1) as world:
            await world.collect(tree)
            await world.collect(tree.parent / "other")
            await world.collect(tree)

            assert (await held(world)).unwatched is None


async def test_an_overflow_has_all_looked_at(
    cache: Path, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel drops events when its queue is full, and says so; here the queue is ours."""
    with trio.fail_after(5):
        async with open_world(cache) as world:
            await world.collect(tree)
            (tree / "pkg/b.py").write_text("lost\n")
            lost = [watch.Event(-1, int(watch.Mask.OVERFLOW), "")]
            monkeypatch.setattr(watch.Inotify, "read", lambda _: [lost.pop()] if lost else [])
            snapshot = await world.collect(tree)

            entry = snapshot.entry("pkg/b.py")
            assert entry is not None
            assert snapshot.pack.read(entry.span) == b"lost\n"


async def test_another_tree_moved_into_its_place_is_looked_at_whole(cache: Path, tree: Path) -> None:
    with trio.fail_after(5):
        async with open_world(cache) as world:
            await world.collect(tree)
            swap(tree)

            assert (await world.collect(tree)).files.paths == ("only.py",)


def swap(tree: Path) -> None:
    other = tree.with_name("other")
    other.mkdir()
    (other / "only.py").write_text("x\n")
    tree.rename(tree.with_name("gone"))
    os.rename(other, tree)


async def test_a_failed_collection_forgets_what_it_was_told(cache: Path, tree: Path) -> None:
    with trio.fail_after(5):
        async with open_world(cache) as world:
            await world.collect(tree)
            (tree / "a.py").write_text("changed\n")
            world.may_read = trio.Event()
            world.reading = trio.Event()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(world.collect, tree)
                await world.reading.wait()
                nursery.cancel_scope.cancel()
            world.may_read.set()
            snapshot = await world.collect(tree)

            entry = snapshot.entry("a.py")
            assert entry is not None
            assert snapshot.pack.read(entry.span) == b"changed\n"
