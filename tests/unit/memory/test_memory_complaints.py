"""What users of other memories complained of, each as a test by its name."""

import pytest
import trio

from memory_world import note, opened
from rlmd.memory.entry import Stored
from rlmd.store import integrity

pytestmark = pytest.mark.real_io


@pytest.fixture
async def memory(tmp_path):
    async with opened(tmp_path / "memory.db") as memory:
        yield memory


async def test_concurrent_writers_never_discard_each_others_memories(memory, tmp_path):
    async def write(caller):
        for number in range(10):
            await memory.note(f"k{caller}/{number}", "v", "t")

    async with trio.open_nursery() as nursery:
        for caller in range(32):
            nursery.start_soon(write, caller)

    assert (await memory.recaller.holdings()).items == 320
    assert integrity(str(tmp_path / "memory.db")) == ()


async def test_the_same_fact_told_twice_stays(memory):
    await memory.note("k", "the daemon binds a Unix socket")
    await memory.note("k", "the daemon binds a Unix socket")

    assert await memory.values(query="daemon") == {"k": "the daemon binds a Unix socket"}


async def test_a_correction_never_coexists_with_the_wrong_fact_in_any_way_of_recall(memory):
    await memory.note("old", "the port is 80", "port", session="s")
    await memory.note("new", "the port is 8080", "port", session="s", supersedes="old")

    for question in ({"query": "port"}, {"tags": ("port",)}, {"prefix": "o"}, {}, {"query": "prot"}):
        assert "old" not in await memory.keys(**question)


async def test_what_was_purged_does_not_come_back_through_another_index(memory):
    await memory.note("a", "lock", session="s")
    await memory.note("k", "zebra", "t", session="s")
    await memory.note("b", "lock", session="s")
    await memory.purge("k")

    for question in (
        {"query": "zebra"},
        {"query": "zebar"},
        {"query": "lock"},
        {"tags": ("t",)},
        {"key": "k"},
    ):
        assert "k" not in await memory.keys(**question)
    assert await memory.history("k") == []


async def test_a_note_is_in_the_index_in_the_moment_it_was_edited(memory):
    for number in range(20):
        await memory.note("k", f"word{number}")

        assert await memory.keys(query=f"word{number}") == ["k"]


async def test_nothing_is_evicted_when_the_quota_is_full(tmp_path):
    async with opened(tmp_path / "memory.db", max_bytes=400_000) as memory:
        kept = []
        for number in range(60):
            (outcome,) = await memory.write([note(f"k{number:02}", "x" * 10_000)])
            kept += [f"k{number:02}"] if isinstance(outcome, Stored) else []

        assert 10 < len(kept) < 60
        assert await memory.keys(prefix="k", limit=200) == kept


async def test_a_mistyped_word_finds_what_was_meant(memory):
    await memory.note("k", "the supervisor restarts the writer")
    await memory.note("other", "sockets")

    assert await memory.keys(query="supervisr") == ["k"]
    assert await memory.keys(query="xylophone") == []
