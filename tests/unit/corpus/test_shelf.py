"""What outlives the daemon: found again, shared, owned by one, and thrown away rather than trusted."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from corpus_world import World, open_world
from rlmd.corpus import storage
from rlmd.corpus.keeper import CollectText
from rlmd.corpus.pack import DiskFull, Pack
from rlmd.corpus.snapshot import Snapshot

pytestmark = pytest.mark.real_io
LONG_AGO = 1_000_000_000


@pytest.fixture(autouse=True)
def promptly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "SAVE_EVERY_S", 0.0)
    monkeypatch.setattr("rlmd.corpus.collect.GRAIN_NS", -1_000_000_000)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "pkg").mkdir(parents=True)
    for number in range(6):
        write(root / f"pkg/f{number}.py", f"x = {number}\n" * 100)
    (root / "pkg/image").write_bytes(b"\0\1")
    return root


def write(path: Path, text: str) -> None:
    path.write_text(text)
    os.utime(path, (LONG_AGO, LONG_AGO))


def shelf(cache: Path) -> Path:
    return cache / "corpus/v1"


def size_of(path: Path) -> int:
    return path.stat().st_size


def moved(root: Path) -> Path:
    return root.rename(root.with_name("moved"))


def contents(snapshot: Snapshot) -> dict[str, bytes]:
    return {entry.path: snapshot.pack.read(entry.span) for entry in snapshot.files}


def as_on_disk(root: Path) -> dict[str, bytes]:
    files = {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    return {path: data for path, data in files.items() if b"\0" not in data}


async def test_the_next_daemon_reads_and_counts_only_what_has_changed(cache: Path, tree: Path) -> None:
    with trio.fail_after(5):
        async with open_world(cache) as world:
            first = await world.collect(tree)
        write(tree / "pkg/f3.py", "changed\n")
        async with open_world(cache) as world:
            second = await world.collect(tree)

            assert world.read == ["pkg/f3.py"]
            assert world.counted == 1
            assert contents(second) == as_on_disk(tree)
            assert second.skipped == first.skipped


async def test_a_twin_of_the_tree_costs_no_count_after_a_restart(cache: Path, tree: Path) -> None:
    with trio.fail_after(5):
        async with open_world(cache) as world:
            await world.collect(tree)
        before = size_of(shelf(cache) / "pack")
        twin = moved(tree)
        async with open_world(cache) as world:
            await world.collect(twin)

            assert world.counted == 0
        assert size_of(shelf(cache) / "pack") == before


def flip(path: Path, at: int) -> None:
    """Change one bit, as a bad disk or a stranger would."""
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))


def swap_for_a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES = {
    "a bit of the pack": lambda place: flip(place / "pack", 100),
    "the end of the pack": lambda place: os.truncate(place / "pack", 300),
    "the head of the pack": lambda place: flip(place / "pack", 3),
    "another pack": lambda place: (place / "pack").write_bytes(b"x" * 4096),
    "no pack": lambda place: (place / "pack").unlink(),
    "a bit of the blobs": lambda place: flip(place / "blobs", 300),
    "half of the blobs": lambda place: os.truncate(place / "blobs", 200),
    "empty blobs": lambda place: os.truncate(place / "blobs", 0),
    "newer blobs": lambda place: (place / "blobs").write_bytes(b"rlmd blobs 999\n{}\n" + b"\0" * 99),
    "a bit of the tree": lambda place: flip(next((place / "trees").iterdir()), 300),
    "no trees": lambda place: next((place / "trees").iterdir()).unlink(),
    "a directory in its place": lambda place: swap_for_a_directory(place / "blobs"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
async def test_a_damaged_cache_is_never_believed(
    cache: Path, tree: Path, damage: Callable[[Path], object]
) -> None:
    with trio.fail_after(5):
        async with open_world(cache) as world:
            before = await world.collect(tree)
        damage(shelf(cache))
        async with open_world(cache) as world:
            after = await world.collect(tree)

            assert contents(after) == as_on_disk(tree)
            assert (after.id, after.tokens) == (before.id, before.tokens)


async def test_what_was_written_after_the_last_save_is_looked_through(cache: Path, tree: Path) -> None:
    """As after a kill: the pack is not as the last save left it."""
    with trio.fail_after(5):
        async with open_world(cache) as world:
            await world.collect(tree)
        with (shelf(cache) / "pack").open("ab") as pack:
            pack.write(b"half a conte")
        async with open_world(cache) as world:
            again = await world.collect(tree)

            assert world.read == []
            assert contents(again) == as_on_disk(tree)


async def test_a_second_daemon_works_on_its_own_and_leaves_the_first_alone(cache: Path, tree: Path) -> None:
    with trio.fail_after(5):
        async with open_world(cache) as first, open_world(cache) as second:
            ours, theirs = await first.collect(tree), await second.collect(tree)

            assert ours.id == theirs.id
            assert ours.pack.path != theirs.pack.path
            assert contents(ours) == contents(theirs)
        async with open_world(cache) as third:
            await third.collect(tree)

            assert third.read == []


async def eventually(world: World, expected: int, pack: Pack) -> None:
    while pack.stat().st_blocks * 512 > expected:
        await world.keeper.ask(CollectText("nudge"))
        await trio.sleep(0.01)


async def test_what_nothing_needs_goes_when_there_is_too_much_and_the_rest_stays(
    cache: Path, tmp_path: Path
) -> None:
    kept, dropped = tmp_path / "kept", tmp_path / "dropped"
    for root, letter in ((kept, "k"), (dropped, "d")):
        root.mkdir()
        for number in range(10):
            write(root / f"{number}", f"{letter}{number}" * 50_000)
    with trio.fail_after(10):
        async with open_world(cache, snapshots=1, most_bytes=1_500_000) as world:
            await world.collect(dropped)
            held = await world.collect(kept)
            await eventually(world, 1_500_000, held.pack)

            assert contents(held) == as_on_disk(kept)
            assert contents(await world.collect(dropped)) == as_on_disk(dropped)


async def test_a_full_disk_lets_go_what_the_failed_collection_wrote(
    cache: Path, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = tree.parent / "small"
    small.mkdir()
    write(small / "a", "small\n")
    room = [3000]
    real = os.pwritev

    def pwritev(file: int, pieces: list[memoryview], offset: int) -> int:
        room[0] -= sum(map(len, pieces))
        if room[0] < 0:
            raise OSError(28, "No space left on device")
        return real(file, pieces, offset)

    monkeypatch.setattr(os, "pwritev", pwritev)
    with trio.fail_after(5):
        async with open_world(cache) as world:
            with pytest.raises(DiskFull):
                await world.collect(tree)
            room[0] = 10**6
            held = await world.collect(small)

            assert [blob.span for _, blob in held.pack.blobs.items()] == [held.files.span_at(0)]
