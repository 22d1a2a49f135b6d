"""Forgetting, undoing, superseding and purging, and what every way of recall makes of them."""

import os
import subprocess

import pytest

from memory_world import note, opened
from rlmd.errors import BadArgument, NotFound, VersionConflict
from rlmd.memory.batch import Batch
from rlmd.memory.care import tidy
from rlmd.memory.entry import Forget, Store
from rlmd.memory.schema import SCHEMA
from rlmd.store import Keeper, integrity

pytestmark = pytest.mark.real_io

QUESTIONS = ({"key": "k"}, {"prefix": "k"}, {"query": "zebra"}, {"tags": ("t",)}, {}, {"project": "*"})


@pytest.fixture
def path(tmp_path):
    return tmp_path / "memory.db"


@pytest.fixture
async def memory(path):
    async with opened(path) as memory:
        yield memory


async def found(memory, key="k"):
    """Say for each way of recall whether it returns *key*."""
    return [key in await memory.keys(**question) for question in QUESTIONS]


async def test_a_forgotten_memory_is_recalled_in_no_way_but_its_history(memory):
    await memory.note("k", "zebra", "t")

    changed = await memory.forget("k")

    assert (changed.version, changed.state) == (2, "forgotten")
    assert await found(memory) == [False] * 6
    assert await memory.history("k") == [(2, "forgotten", ""), (1, "live", "zebra")]
    assert (await memory.recaller.holdings()).items == 0


async def test_undo_brings_a_forgotten_memory_back_as_it_was(memory):
    await memory.note("k", "zebra", "t", kind="decision")
    await memory.forget("k")

    changed = await memory.undo("k")

    assert (changed.version, changed.state) == (3, "live")
    assert await found(memory) == [True] * 6
    (item,) = (await memory.page(key="k", kind="decision")).items
    assert (item.value, item.tags, item.version) == ("zebra", ("t",), 3)


async def test_undo_takes_back_an_update_and_undoing_that_brings_it_again(memory):
    await memory.note("k", "first")
    await memory.note("k", "second")

    await memory.undo("k")
    once = await memory.values()
    await memory.undo("k")

    assert (once, await memory.values()) == ({"k": "first"}, {"k": "second"})
    assert [version for version, _, _ in await memory.history("k")] == [4, 3, 2, 1]


async def test_undoing_the_first_version_forgets_it(memory):
    await memory.note("k", "zebra", "t")

    assert (await memory.undo("k")).state == "forgotten"
    assert await found(memory) == [False] * 6


@pytest.mark.parametrize("verb", ["forget", "undo", "purge"])
async def test_what_does_not_stand_cannot_be_changed_and_the_nearest_key_is_named(memory, verb):
    await memory.note("parser/limits")

    with pytest.raises(NotFound, match="'parser/limit' stands in p") as refused:
        await getattr(memory, verb)("parser/limit")

    assert refused.value.hint == "The nearest that are: parser/limits."


async def test_a_forgotten_key_may_be_stored_as_new_and_its_versions_go_on(memory):
    await memory.note("k", "old")
    await memory.forget("k")

    with pytest.raises(VersionConflict, match="does not exist"):
        await memory.note("k", "new", expect_version=2)
    stored = await memory.note("k", "new", expect_version=0)

    assert (stored.version, stored.created) == (3, True)


async def test_history_is_paged_and_survives_writes_in_between(memory):
    for number in range(5):
        await memory.note("k", f"v{number}")
    page = await memory.page(key="k", history=True, limit=2)
    await memory.note("k", "later")
    rest = await memory.page(key="k", history=True, limit=10, cursor=page.next_cursor)

    assert [item.value for item in (*page.items, *rest.items)] == ["v4", "v3", "v2", "v1", "v0"]


async def test_a_superseded_memory_is_returned_to_its_key_alone_and_names_its_successor(memory):
    await memory.note("wrong", "zebra", "t")
    await memory.note("right", "zebra", "t", supersedes="wrong")

    for question in QUESTIONS[1:]:
        asked = question | ({"prefix": ""} if "prefix" in question else {})
        if asked != {"prefix": ""}:
            assert "wrong" not in await memory.keys(**asked)
    (item,) = (await memory.page(key="wrong")).items
    assert (item.value, item.state, item.superseded_by) == ("zebra", "superseded", "right")
    assert await memory.keys() == ["right"]


async def test_superseding_what_is_unknown_stores_nothing(memory):
    with pytest.raises(NotFound, match="'wrong'"):
        await memory.note("right", supersedes="wrong")
    with pytest.raises(BadArgument, match="supersedes"):
        await memory.note("right", supersedes="right")

    assert await memory.keys() == []


async def test_undoing_a_correction_brings_back_what_it_corrected_and_the_other_way_round(memory):
    await memory.note("wrong", "w")
    await memory.note("right", "r", supersedes="wrong")

    await memory.undo("right")
    undone = await memory.keys()
    await memory.undo("right")

    assert (undone, await memory.keys()) == (["wrong"], ["right"])


async def test_a_refused_correction_among_good_ones_spares_them(memory):
    outcomes = await memory.write(
        [
            note("a"),
            note("b", project="new", supersedes="nothing"),
            note("c", project="new"),
            Forget("a", "p"),
        ]
    )

    assert [type(outcome).__name__ for outcome in outcomes] == ["Stored", "NotFound", "Stored", "Changed"]
    assert await memory.keys(project="*") == ["c"]


async def test_a_repeated_request_is_answered_with_its_own_anchors_and_version(memory):
    first = await memory.note("k", "v", request_id="r")
    await memory.forget("k")

    assert await memory.note("k", "v", request_id="r") == first
    assert await memory.keys() == []


def holding(directory, *needles):
    """Name the files that hold one of *needles*; our own process would drop SQLite's locks."""
    patterns = [word for needle in needles for word in ("-e", needle)]
    command = ["grep", "-rlaF", *patterns, str(directory)]
    told = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return sorted(os.path.relpath(name, directory) for name in told.splitlines())


async def test_purge_leaves_no_byte_in_any_file(path, tmp_path):
    async with opened(path) as memory:
        for number in range(300):
            await memory.note(f"other{number}", f"lock number {number} " * 20, "t")
        await memory.note("secret-name", "zebracorn " * 900, "unicorntag", request_id="r1")
        await memory.store(
            note("secret-name", "wolpertinger", "t"),
            note("secret-name", "quaggafish"),
            Forget("secret-name", "p"),
        )
        await memory.note("secret-name", "zebracorn again", "unicorntag", supersedes="other1")
        for number in range(100):
            await memory.note(f"more{number}", "lock")
        needles = ("zebracorn", "wolpertinger", "quaggafish", "unicorntag", "secret-name")
        before = holding(tmp_path, *needles)

        changed = await memory.purge("secret-name")

        assert before
        assert (changed.state, changed.version) == ("purged", 0)
        assert holding(tmp_path, *needles) == []
        assert await memory.keys(query="lock", limit=1) != []
        assert len((await memory.page(prefix="other", limit=200)).items) == 200
    assert holding(tmp_path, *needles) == []
    assert integrity(str(path)) == ()


async def test_purge_leaves_no_byte_of_a_memory_that_was_forgotten_before(path, tmp_path):
    async with opened(path) as memory:
        await memory.store(note("k", "zebracorn"), note("k", "wolpertinger"), Forget("k", "p"))

        await memory.purge("k")

        assert holding(tmp_path, "zebracorn", "wolpertinger") == []


async def test_purge_reaches_backups_old_and_new(path, tmp_path):
    async with opened(path) as memory:
        await memory.note("k", "zebracorn")
        await memory.note("keep", "lock")
    (tmp_path / "backups").mkdir()
    for copy in (tmp_path / "memory.db.v1.bak", tmp_path / "backups" / "memory-1.db"):
        copy.write_bytes(path.read_bytes())
    async with opened(path) as memory:
        await memory.purge("k")

        assert holding(tmp_path, "zebracorn") == []
        assert len(holding(tmp_path, "lock")) == 3


async def test_a_purge_that_cannot_reach_a_backup_says_so_and_may_be_repeated(path, tmp_path):
    (tmp_path / "backups").mkdir()
    broken = tmp_path / "backups" / "memory-1.db"
    broken.write_text("no database")
    async with opened(path) as memory:
        await memory.note("k", "zebracorn")
        with pytest.raises(Exception, match="backup cannot be changed"):
            await memory.purge("k")
        broken.unlink()

        assert (await memory.purge("k")).state == "purged"
        with pytest.raises(NotFound):
            await memory.purge("k")


async def test_what_has_expired_makes_room_before_a_store_is_refused(path, monkeypatch):
    now_ns = 1_700_000_000_000_000_000
    monkeypatch.setattr("time.time_ns", lambda: now_ns)
    async with opened(path, max_value_bytes=1 << 20, max_bytes=1 << 20) as memory:
        await memory.note("old", "x" * 600_000, ttl_s=10)
        now_ns += 10 * 10**9

        await memory.note("new", "y" * 600_000)

        assert await memory.keys() == ["new"]
        assert (await memory.note("old")).version == 2


def test_receipts_are_kept_a_week_and_no_longer(tmp_path, monkeypatch):
    now_ns = 1_700_000_000_000_000_000
    monkeypatch.setattr("time.time_ns", lambda: now_ns)
    keeper = Keeper(str(tmp_path / "memory.db"), SCHEMA)
    request = Store(key="k", value="v", project="p", request_id="r")

    def store():
        (stored,) = keeper.transact(
            [request], lambda db, requests: Batch(db, max_value_bytes=100, max_bytes=1 << 30).write(requests)
        )
        return stored.version

    def pruned():
        return keeper.transact([None], lambda db, _: [tidy(db)])

    assert (store(), store()) == (1, 1)

    assert pruned() == [0]
    now_ns += 8 * 86_400 * 10**9
    assert (pruned(), pruned()) == ([1], [0])
    assert store() == 2
    keeper.close()
