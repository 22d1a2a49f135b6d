import os
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from corpus_world import open_world
from rlmd.corpus.keeper import CollectFile, CollectText, Kept
from rlmd.corpus.snapshot import Snapshot
from rlmd.errors import BadArgument, NotFound, TooLarge
from rlmd.supervision import ActorCrashed
from rlmd.values import Progress

pytestmark = pytest.mark.real_io
LONG_AGO = 1_000_000_000


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Three files that were left alone for years."""
    root = tmp_path / "tree"
    (root / "pkg").mkdir(parents=True)
    write(root / "README.md", "# Tree\n")
    write(root / "pkg/a.py", "def alpha():\n    return 1\n")
    write(root / "pkg/b.py", "def beta():\n    return 2\n")
    return root


def write(path: Path, text: str) -> None:
    path.write_text(text)
    os.utime(path, (LONG_AGO, LONG_AGO))


def indexes(cache: Path) -> list[str]:
    return [path.name for path in cache.glob("**/words/*") if path.name != "past"]


async def test_a_tree_becomes_a_snapshot_with_its_totals(cache: Path, tree: Path) -> None:
    with trio.fail_after(5):
        async with open_world(cache) as world:
            snapshot = await world.collect(tree)

    assert list(snapshot.files.paths) == ["README.md", "pkg/a.py", "pkg/b.py"]
    assert snapshot.bytes == sum((tree / path).stat().st_size for path in snapshot.files.paths)
    assert snapshot.tokens == sum(entry.size_bytes // 4 for entry in snapshot.files)
    assert snapshot.root == str(tree)


async def test_the_same_tree_elsewhere_has_the_same_id_and_costs_no_count(cache: Path, tree: Path) -> None:
    with trio.fail_after(5):
        async with open_world(cache) as world:
            first = await world.collect(tree)
            twin = tree.parent / "twin"
            twin.mkdir()
            for path in ("README.md", "pkg/a.py", "pkg/b.py"):
                (twin / path).parent.mkdir(exist_ok=True)
                (twin / path).write_bytes((tree / path).read_bytes())
            second = await world.collect(twin)

            assert second.id == first.id
            assert world.counted == 3
            assert [entry.span for entry in second.files] == [entry.span for entry in first.files]


async def test_nothing_changed_gives_the_same_snapshot(cache: Path, tree: Path) -> None:
    with trio.fail_after(5):
        async with open_world(cache) as world:
            assert await world.collect(tree) is await world.collect(tree)


async def test_a_file_just_written_is_read_again_because_its_stamps_may_lie(cache: Path, tree: Path) -> None:
    with trio.fail_after(5):
        async with open_world(cache, watches=0) as world:
            await world.collect(tree)
            world.read.clear()

            await world.collect(tree)

            assert sorted(world.read) == ["README.md", "pkg/a.py", "pkg/b.py"]


async def test_settled_files_are_not_read_again(
    cache: Path, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rlmd.corpus.collect.GRAIN_NS", -1_000_000_000)
    (tree / "image.bin").write_bytes(b"\0" * 100)
    with trio.fail_after(5):
        async with open_world(cache) as world:
            first = await world.collect(tree)
            world.read.clear()
            write(tree / "pkg/b.py", "def gamma():\n    return 3\n")

            second = await world.collect(tree)

            assert world.read == ["pkg/b.py"]
            assert second.id != first.id
            assert second.skipped == first.skipped
            assert second.skipped.by_reason == {"binary": 1}


async def test_a_refused_file_is_looked_at_again_when_it_has_changed(
    cache: Path, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rlmd.corpus.collect.GRAIN_NS", -1_000_000_000)
    (tree / "image.bin").write_bytes(b"\0" * 100)
    with trio.fail_after(5):
        async with open_world(cache) as world:
            first = await world.collect(tree)
            (tree / "image.bin").write_bytes(b"text\n")

            second = await world.collect(tree)

    assert first.skipped.by_reason == {"binary": 1}
    assert second.skipped.by_reason == {}
    assert second.entry("image.bin") is not None


async def test_a_corpus_in_use_is_not_evicted(cache: Path, tree: Path) -> None:
    with trio.fail_after(5):
        async with open_world(cache, snapshots=1) as world:
            snapshot = await world.collect(tree)
            world.offload.gate = trio.Event()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(world.search, snapshot, "alpha")
                await world.offload.called.wait()
                await world.collect(tree, ["README.md"])
                kept = await world.keeper.ask(Kept())
                world.offload.gate.set()

    assert isinstance(kept, list)
    assert snapshot in kept


async def test_a_snapshot_stays_as_it_was_though_files_change(cache: Path, tree: Path) -> None:
    with trio.fail_after(5):
        async with open_world(cache) as world:
            snapshot = await world.collect(tree)
            (tree / "pkg/a.py").unlink()
            (tree / "pkg/b.py").write_text("rewritten")
            await world.collect(tree)

            entry = snapshot.entry("pkg/b.py")
            assert entry is not None
            assert snapshot.pack.read(entry.span) == b"def beta():\n    return 2\n"


async def test_who_comes_during_a_refresh_waits_for_the_next_and_sees_the_write_before(
    cache: Path, tree: Path
) -> None:
    found: dict[str, Snapshot] = {}

    async def ask(world, name: str) -> None:
        found[name] = await world.collect(tree)

    with trio.fail_after(5):
        async with open_world(cache) as world, trio.open_nursery() as nursery:
            world.may_read = trio.Event()
            nursery.start_soon(ask, world, "early")
            await world.reading.wait()
            write(tree / "new.py", "x = 1\n")
            nursery.start_soon(ask, world, "late")
            nursery.start_soon(ask, world, "later")
            await wait_all_tasks_blocked()
            world.may_read.set()

    assert found["early"].entry("new.py") is None
    assert found["late"].entry("new.py") is not None
    assert found["late"] is found["later"]


async def test_the_last_waiter_to_go_cancels_the_refresh(cache: Path, tree: Path) -> None:
    with trio.fail_after(5):
        async with open_world(cache) as world:
            world.may_read = trio.Event()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(world.collect, tree)
                await world.reading.wait()
                began = trio.current_time()
                nursery.cancel_scope.cancel()
            assert trio.current_time() - began < 0.1

            world.may_read.set()
            assert len((await world.collect(tree)).files) == 3


async def test_a_waiter_that_goes_leaves_the_refresh_to_the_others(cache: Path, tree: Path) -> None:
    with trio.fail_after(5):
        async with open_world(cache) as world:
            world.may_read = trio.Event()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(world.collect, tree)
                await world.reading.wait()
                impatient, patient = trio.CancelScope(), list[Snapshot]()

                async def give_up() -> None:
                    with impatient:
                        await world.collect(tree)

                async def stay() -> None:
                    patient.append(await world.collect(tree))

                nursery.start_soon(give_up)
                nursery.start_soon(stay)
                await wait_all_tasks_blocked()
                impatient.cancel()
                world.may_read.set()

            assert len(patient[0].files) == 3


async def test_too_many_files_name_the_largest_directories(cache: Path, tree: Path) -> None:
    with trio.fail_after(5):
        async with open_world(cache, max_files=2) as world:
            with pytest.raises(TooLarge) as caught:
                await world.collect(tree)

    assert "pkg" in caught.value.hint
    assert "ingest.max_files" in caught.value.hint


async def test_too_many_bytes_are_refused(cache: Path, tree: Path) -> None:
    with trio.fail_after(5):
        async with open_world(cache, max_bytes=30) as world:
            with pytest.raises(TooLarge, match="30 bytes"):
                await world.collect(tree)


async def test_a_crash_in_one_collection_leaves_others_and_the_next_alone(cache: Path, tree: Path) -> None:
    other = tree.parent / "other"
    other.mkdir()
    write(other / "x.py", "x = 1\n")
    with trio.fail_after(5):
        async with open_world(cache) as world:
            kept = await world.collect(other)
            world.broken = True

            with pytest.raises(ActorCrashed):
                await world.collect(tree)

            world.broken = False
            assert await world.collect(other) is kept
            assert len((await world.collect(tree)).files) == 3


async def test_progress_names_every_stage(cache: Path, tree: Path) -> None:
    heard: list[Progress] = []
    with trio.fail_after(5):
        async with open_world(cache) as world:
            snapshot = await world.collect(tree, report=heard.append)

    last = {each.stage: (each.done, each.total) for each in heard}
    assert last == {"walk": (3, None), "read": (snapshot.bytes,) * 2, "count": (snapshot.bytes,) * 2}


async def test_the_least_recently_used_corpus_goes_and_with_a_text_its_index(cache: Path, tree: Path) -> None:
    with trio.fail_after(5):
        async with open_world(cache, snapshots=1) as world:
            text = await world.keeper.ask(CollectText("one\ntwo"))
            assert isinstance(text, Snapshot)
            await world.search(text, "one")
            assert len(indexes(cache)) == 1
            second = await world.collect(tree)
            await wait_all_tasks_blocked(0.05)

            assert await world.keeper.ask(Kept()) == [second]
            assert indexes(cache) == []


async def test_one_file_is_known_by_the_name_it_was_asked_by(cache: Path, tree: Path) -> None:
    with trio.fail_after(5):
        async with open_world(cache) as world:
            snapshot = await world.keeper.ask(CollectFile(str(tree / "pkg/a.py"), "./a.py"))

            assert isinstance(snapshot, Snapshot)
            assert snapshot.files.paths == ("./a.py",)
            again = await world.keeper.ask(CollectFile(str(tree / "pkg/a.py"), "./a.py"))
            assert again is snapshot


async def test_a_file_that_cannot_be_asked_about_says_why(cache: Path, tree: Path) -> None:
    (tree / "image").write_bytes(b"\0\1")
    with trio.fail_after(5):
        async with open_world(cache) as world:
            with pytest.raises(BadArgument, match="binary"):
                await world.keeper.ask(CollectFile(str(tree / "image"), "image"))
            with pytest.raises(NotFound):
                await world.keeper.ask(CollectFile(str(tree / "gone"), "gone"))


async def test_an_inline_text_is_a_corpus_of_one_file(cache: Path) -> None:
    with trio.fail_after(5):
        async with open_world(cache) as world:
            snapshot = await world.keeper.ask(CollectText("one\ntwo\n"))

            assert isinstance(snapshot, Snapshot)
            (entry,) = snapshot.files
            assert (entry.path, snapshot.pack.read(entry.span)) == ("text", b"one\ntwo\n")
            assert await world.keeper.ask(CollectText("one\ntwo\n")) is snapshot


async def test_the_tokenizer_loads_while_the_first_tree_is_walked_and_never_again(
    cache: Path, tree: Path
) -> None:
    with trio.fail_after(5):
        async with open_world(cache) as world:
            await world.collect(tree)
            await world.collect(tree / "pkg")

            assert (world.warmed, world.counted) == (1, 3)


async def test_a_tree_without_texts_does_not_wait_for_the_tokenizer(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with trio.fail_after(5):
        async with open_world(cache) as world:
            world.may_warm = trio.Event()

            assert len((await world.collect(tmp_path / "empty")).files) == 0


async def test_what_is_skipped_anew_changes_the_snapshot_and_keeps_its_files(
    cache: Path, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rlmd.corpus.collect.GRAIN_NS", -1_000_000_000)
    with trio.fail_after(5):
        async with open_world(cache) as world:
            first = await world.collect(tree)
            (tree / "image.bin").write_bytes(b"\0" * 100)

            second = await world.collect(tree)

            assert second is not first
            assert second.files is first.files
            assert second.skipped.by_reason == {"binary": 1}
