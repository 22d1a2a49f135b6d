"""Memories that cite code, through the verbs of the pipeline's own: stored, recalled, confirmed."""

import subprocess
from dataclasses import dataclass, replace
from functools import partial

import pytest

from memory_world import opened
from rlmd.answers import Cited, StoreRequest
from rlmd.errors import BadArgument, NotFound, OutsideRoots
from rlmd.look.sight import Sight, entry_of
from rlmd.memory.ask import Page, Recall
from rlmd.memory.scope import place_for
from rlmd.roots import Roots
from rlmd.values import Session, WalkRules

pytestmark = pytest.mark.real_io

CODE = "def limit():\n    # the most a caller may ask for at once\n    return 64\n"


@dataclass
class World:
    memory: object
    top: object

    def sight(self, top=None, **rules):
        top = str(top or self.top)
        roots = Roots(allow=(), deny=())
        return Sight(roots, WalkRules(**rules), Session("s", top), place_for(None, top))

    async def store(self, key, *evidence, sight=None, **more):
        sight = sight or self.sight()
        cited = tuple(Cited(*each) for each in evidence)
        standing = Page()
        if more.get("confirm"):
            standing = await self.memory.recaller.page(Recall(project=sight.place.project, key=key))
        request = StoreRequest(key=key, evidence=cited, **more)
        return await self.memory.change(entry_of(request, sight, sight.session, standing))

    async def recall(self, sight=None, **question):
        sight = sight or self.sight()
        asked = Recall(project=sight.place.project, **question)
        return (await self.memory.recaller.recall(asked, sight.find)).items

    async def only(self, **question):
        (item,) = await self.recall(**question)
        return item

    def write(self, text, name="src/a.py"):
        (self.top / name).parent.mkdir(exist_ok=True)
        (self.top / name).write_text(text)


@pytest.fixture
def repository(tmp_path):
    subprocess.run(["git", "init", "-q", str(tmp_path / "repo")], check=True)
    return tmp_path / "repo"


def holding(directory, needle):
    command = ["grep", "-rlaF", needle, str(directory)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()


@pytest.fixture
async def world(tmp_path, repository):
    async with opened(tmp_path / "memory.db") as memory:
        world = World(memory, repository)
        world.write(CODE)
        yield world


async def test_a_memory_says_the_moment_its_code_has_changed(world):
    stored = await world.store("k", ("src/a.py", 2, 3), value="64 at once")
    before = await world.only(key="k")
    world.write("import os\n" + CODE)
    moved = await world.only(key="k")
    world.write(CODE.replace("64", "32"))
    edited = await world.only(key="k")
    world.write("nothing of it\n")
    stale = await world.only(key="k")
    (world.top / "src/a.py").unlink()
    missing = await world.only(key="k")

    assert [each.status for each in stored.anchors] == ["fresh"]
    items = (before, moved, edited, stale, missing)
    assert [item.status for item in items] == ["fresh", "moved", "edited", "stale", "missing"]
    assert (moved.anchors[0].start_line, moved.anchors[0].end_line) == (3, 4)
    assert "-    return 64\n+    return 32" in edited.anchors[0].diff
    assert all(item.value == "64 at once" for item in items)


async def test_what_has_changed_ranks_below_but_is_not_hidden(world):
    await world.store("changed", ("src/a.py", 2, 3), value="limit limit of callers")
    await world.store("same", value="limit of callers and other things")
    first = [item.key for item in await world.recall(query="limit callers")]
    world.write("nothing of it\n")
    then = await world.recall(query="limit callers")

    assert first == ["changed", "same"]
    assert [(item.key, item.status) for item in then] == [("same", "unanchored"), ("changed", "stale")]


async def test_confirm_takes_the_evidence_anew_and_keeps_the_value(world):
    await world.store("k", ("src/a.py", 2, 3), value="64 at once", tags=("t",), kind="decision")
    world.write("import os\n" + CODE.replace("64", "32"))
    before = await world.only(key="k")

    confirmed = await world.store("k", confirm=True)
    after = await world.only(key="k")

    assert (before.status, after.status) == ("edited", "fresh")
    assert confirmed.version == 2
    assert (after.value, after.tags, after.version) == ("64 at once", ("t",), 2)
    assert [each.start_line for each in after.anchors] == [3]


async def test_confirm_refuses_what_is_gone_or_was_never_cited(world):
    await world.store("k", ("src/a.py", 2, 3), value="v")
    await world.store("plain", value="v")
    world.write("nothing of it\n")

    with pytest.raises(NotFound, match="is stale"):
        await world.store("k", confirm=True)
    with pytest.raises(BadArgument, match="no evidence"):
        await world.store("plain", confirm=True)


async def test_the_worst_of_several_places_is_what_a_memory_is_worth(world):
    world.write(CODE, "b.py")
    await world.store("k", ("src/a.py", 2, 3), ("b.py", 1, 3), value="v")
    world.write("import os\n" + CODE, "b.py")

    item = await world.only(key="k")

    assert (item.status, [each.status for each in item.anchors]) == ("moved", ["fresh", "moved"])


async def test_each_worktree_compares_with_its_own_files(world, tmp_path):
    git = partial(subprocess.run, cwd=world.top, check=True, capture_output=True)
    git(["git", "add", "."])
    git(["git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "first"])
    git(["git", "worktree", "add", "-q", str(tmp_path / "other")])
    await world.store("k", ("src/a.py", 2, 3), value="v")
    (tmp_path / "other/src/a.py").write_text("changed\n")

    (there,) = await world.recall(sight=world.sight(tmp_path / "other"), key="k")

    assert ((await world.only(key="k")).status, there.status) == ("fresh", "stale")


async def test_an_update_without_evidence_is_unanchored_and_undo_brings_the_anchors_back(world):
    await world.store("k", ("src/a.py", 2, 3), value="v")
    await world.store("k", value="w")
    updated = await world.only(key="k")
    await world.memory.undo("k", project=str(world.top.resolve()))

    assert (updated.status, (await world.only(key="k")).status) == ("unanchored", "fresh")


async def test_nobody_sees_through_evidence_what_they_may_not_read(world, tmp_path):
    (tmp_path / "outside.py").write_text(CODE)
    world.write("TOKEN=abc\nOTHER=1\n", ".env")

    with pytest.raises(OutsideRoots):
        await world.store("k", (str(tmp_path / "outside.py"), 1, 2), value="v")
    with pytest.raises(OutsideRoots, match="secret"):
        await world.store("k", (".env", 1, 2), value="v", sight=world.sight(secret=(".env*",)))
    await world.store("k", ("src/a.py", 1, 2), value="v")
    (world.top / "src/a.py").unlink()
    (world.top / "src/a.py").symlink_to(tmp_path / "outside.py")

    assert (await world.only(key="k")).status == "missing"


async def test_secrets_are_replaced_before_anything_is_written_and_counted(world, tmp_path):
    key = "AKIAIOSFODNN7EXAMPLE"
    world.write(f"ID = '{key}'\nother = 1\n")

    stored = await world.store("k", ("src/a.py", 1, 2), value=f"uses {key}", tags=("t", key))

    assert stored.redactions == 3
    assert (await world.only(key="k")).status == "fresh"
    assert holding(tmp_path, key) == [f"{world.top}/src/a.py"]
    with pytest.raises(BadArgument, match="secret"):
        await world.store(key, value="v")


async def test_a_confirmed_memory_that_somebody_changed_meanwhile_is_a_conflict(world):
    await world.store("k", ("src/a.py", 2, 3), value="v")
    sight = world.sight()
    standing = await world.memory.recaller.page(Recall(project=sight.place.project, key="k"))
    await world.store("k", value="w")

    with pytest.raises(Exception, match="stands at version 2"):
        await world.memory.change(
            entry_of(StoreRequest(key="k", confirm=True), sight, sight.session, standing)
        )
    assert replace(await world.only(key="k")).value == "w"
