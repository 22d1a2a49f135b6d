"""What leaves as lines of JSON comes back as it was; what was tampered with does not."""

import json

import pytest

from memory_world import note, opened
from rlmd.errors import BadArgument
from rlmd.memory.anchor import Anchor
from rlmd.memory.entry import Forget
from rlmd.memory.exchange import Import
from rlmd.store import integrity

pytestmark = pytest.mark.real_io

ANCHOR = Anchor("src/a.py", 2, 3, "a\nb", b"0123456789abcdef", ("above",), (), "0" * 64)


async def exported(memory, project="*", after=0):
    page = await memory.recaller.export(project, after)
    assert page.next_cursor is None
    return page.lines


async def fill(memory):
    await memory.note("k", "first", "t", "é", session="s", kind="decision")
    await memory.note("k", 'second "quoted"\n\\ 日本', anchors=(ANCHOR,))
    await memory.note("wrong", "w", "t")
    await memory.note("right", "r", "t", supersedes="wrong")
    await memory.store(
        note("gone", "g"), Forget("gone", "p"), note("ttl", "x", ttl_s=1e6), note("o", project="q")
    )


@pytest.fixture
def path(tmp_path):
    return tmp_path / "memory.db"


async def test_an_export_imported_elsewhere_is_the_same_export(path, tmp_path):
    async with opened(path) as memory:
        await fill(memory)
        lines = await exported(memory)
    async with opened(tmp_path / "other.db") as other:
        imported = await other.change(Import(lines))
        again = await exported(other)
        twice = await other.change(Import(lines))

        assert again == lines
        assert (imported.imported, imported.unchanged, imported.conflicts) == (9, 0, ())
        assert (twice.imported, twice.unchanged, twice.conflicts) == (0, 9, ())
        assert sorted(await other.keys(tags=("t",))) == ["right"]
        assert (await other.undo("gone")).state == "live"
    assert integrity(str(tmp_path / "other.db")) == ()


async def test_a_project_is_exported_alone(path):
    async with opened(path) as memory:
        await fill(memory)

        assert [json.loads(line)["key"] for line in await exported(memory, "q")] == ["o"]
        assert await exported(memory, "nowhere") == ()


async def test_pages_of_an_export_are_the_whole_though_writes_go_on(path, monkeypatch):
    monkeypatch.setattr("rlmd.memory.exchange.export.__defaults__", (400,))
    async with opened(path) as memory:
        for number in range(10):
            await memory.note(f"k{number % 4}", f"v{number}")
        keys, after = [], 0
        while after is not None:
            page = await memory.recaller.export("p", after)
            keys += [(json.loads(line)["key"], json.loads(line)["version"]) for line in page.lines]
            after = page.next_cursor
            if len(keys) < 5:
                await memory.note("k0", "later")

    assert keys[:10] == [(f"k{number % 4}", 1 + number // 4) for number in range(10)]
    assert len(set(keys)) == len(keys)


async def test_an_import_continues_a_history_and_never_writes_over_another(path, tmp_path):
    async with opened(path) as memory:
        await memory.note("k", "one")
        first = await exported(memory)
        await memory.note("k", "two")
        both = await exported(memory)
    async with opened(tmp_path / "behind.db") as behind:
        await behind.change(Import(first))
        assert (await behind.change(Import(both))).imported == 1
        assert await behind.values() == {"k": "two"}
    async with opened(tmp_path / "otherwise.db") as otherwise:
        await otherwise.note("k", "mine")
        told = await otherwise.change(Import(both))
        assert (told.imported, told.conflicts) == (0, ("k",))
        assert await otherwise.values() == {"k": "mine"}


@pytest.mark.parametrize(
    "tamper",
    [
        lambda line: line.replace("one", "two"),
        lambda line: line.replace('"version":1', '"version":2'),
        lambda line: line[:-5],
        lambda line: "[]",
        lambda line: "{}",
        lambda line: line.replace('"rlmd_memory":1', '"rlmd_memory":2'),
    ],
)
async def test_a_line_that_was_changed_is_refused_and_nothing_of_the_import_stays(path, tmp_path, tamper):
    async with opened(path) as memory:
        await memory.note("a", "zero")
        await memory.note("k", "one")
        good, bad = await exported(memory)
    async with opened(tmp_path / "other.db") as other:
        with pytest.raises(BadArgument, match="Line 2 of the import"):
            await other.change(Import((good, tamper(bad))))

        assert await other.keys(project="*") == []


async def test_a_secret_in_an_import_is_replaced(path, tmp_path):
    async with opened(path) as memory:
        await memory.note("k", "uses AKIAIOSFODNN7EXAMPLE")
        lines = await exported(memory)
    async with opened(tmp_path / "other.db") as other:
        told = await other.change(Import(lines))

        assert told.redactions == 1
        assert "AKIA" not in (await other.values())["k"]


async def test_a_backup_is_a_whole_private_file_that_opens(path, tmp_path):
    async with opened(path) as memory:
        await memory.note("k", "v")
        place = await memory.recaller.back_up()
        await memory.note("k", "later")
    async with opened(place) as restored:
        assert await restored.values() == {"k": "v"}
    assert place.startswith(f"{tmp_path}/backups/memory-")
