"""Which memories come first, and what brings one up though it says fewer of the words."""

import pytest

from memory_world import opened
from rlmd.memory.anchor import Anchor
from rlmd.memory.grams import likeness

pytestmark = pytest.mark.real_io


@pytest.fixture
async def memory(tmp_path):
    async with opened(tmp_path / "memory.db") as memory:
        yield memory


async def test_what_stands_beside_a_match_in_its_session_is_found_with_it(memory):
    for number, value in enumerate(["alpha", "the zebra crossed", "beta", "gamma", "delta"]):
        await memory.note(f"k{number}", value, session="s")
    await memory.note("other", "epsilon", session="t")

    assert await memory.keys(query="zebra") == ["k1", "k2", "k0", "k3"]


async def test_what_cites_the_same_file_is_found_with_a_match(memory):
    span = Anchor("src/a.py", 1, 1, "x", b"h", (), (), "")
    await memory.note("match", "zebra", anchors=(span,), session="a")
    await memory.note("same file", "horse", anchors=(span,), session="b")
    await memory.note("other file", "mule", anchors=(), session="c")

    assert await memory.keys(query="zebra") == ["match", "same file"]


async def test_neighbours_obey_every_condition_of_the_question(memory):
    await memory.note("k0", "alpha", "t", session="s")
    await memory.note("k1", "zebra", "t", session="s")
    await memory.note("k2", "beta", session="s")

    assert await memory.keys(query="zebra", tags=("t",)) == ["k1", "k0"]


async def test_words_that_come_with_those_asked_for_decide_between_equals(memory):
    for number in range(4):
        await memory.note(f"good{number}", "commit fsync durable")
    await memory.note("alike", "commit fsync")
    await memory.note("unlike", "commit party")
    for number in range(30):
        await memory.note(f"rest{number}", f"filler text{number}")

    keys = await memory.keys(query="commit", limit=10)

    assert keys.index("alike") < keys.index("unlike")
    assert not [key for key in keys if key.startswith("rest")]


def test_letters_tell_what_is_more_alike():
    found = likeness("serialization of records", ["serialize a record", "serve a meal", ""])

    assert found[0] == 1.0
    assert found[1] < 0.5
    assert found[2] == 0.0
    assert likeness("abcd", []) == []
    assert likeness("the of", ["the of"]) == [0.0]
