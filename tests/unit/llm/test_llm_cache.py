"""What is kept of replies, for how long, and what is left when the file fails."""

import os
from dataclasses import replace

import apsw
import pytest
import trio

from llm_world import chat
from rlmd.llm.cache import LONGEST_BODY, is_keepable, open_cache, request_key
from rlmd.llm.values import Message, Reply, Usage

REPLY = Reply("yes", "stop", Usage(10, 2, 4, 0.25), "m")
KEPT = replace(REPLY, cached=True, usage=Usage(usd=0.0))
A, B, C, D = (bytes([number]) * 32 for number in range(4))


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def remembering(path=None, *, entries=1000, ttl_s=3600.0, clock=None):
    return open_cache(path and str(path), ttl_s=ttl_s, entries=entries, clock=clock or Clock())


async def known(cache, *keys):
    return [await cache.get(key) is not None for key in keys]


async def test_a_kept_reply_is_free(autojump_clock):
    async with remembering() as cache:
        cache.put(A, REPLY)

        assert await cache.get(A) == KEPT
        assert await cache.get(B) is None


async def test_a_reply_is_forgotten_when_its_time_is_over(autojump_clock):
    clock = Clock()
    async with remembering(ttl_s=60, clock=clock) as cache:
        cache.put(A, REPLY)

        clock.now += 59.9
        before = await known(cache, A)
        clock.now += 0.1

        assert (before, await known(cache, A), len(cache)) == ([True], [False], 0)


async def test_the_least_recently_used_makes_room(autojump_clock):
    async with remembering(entries=3) as cache:
        for key in (A, B, C):
            cache.put(key, REPLY)
        await cache.get(A)

        cache.put(D, REPLY)

        assert await known(cache, A, B, C, D) == [True, False, True, True]


@pytest.mark.parametrize(
    "useless",
    [
        replace(REPLY, finish_reason="length"),
        replace(REPLY, finish_reason="content_filter"),
        replace(REPLY, finish_reason="error"),
        replace(REPLY, text=""),
        replace(REPLY, text=" \n"),
        replace(REPLY, text="x" * LONGEST_BODY),
    ],
)
async def test_a_reply_that_is_not_whole_is_not_kept(autojump_clock, useless):
    async with remembering() as cache:
        cache.put(A, useless)

        assert await known(cache, A) == [False]


def test_a_whole_reply_ended_by_the_model_is_keepable():
    assert is_keepable(REPLY)


@pytest.mark.parametrize(
    "other",
    [
        chat("hello!"),
        chat(model="n"),
        chat(max_tokens=1),
        chat(temperature=0.0),
        chat(seed=0),
        chat(stop=("x",)),
        chat(json_schema="{}"),
        replace(chat(), messages=(Message("system", "hello"),)),
        replace(chat(), messages=(Message("user", "hel"), Message("user", "lo"))),
    ],
)
def test_whatever_changes_the_answer_changes_the_key(other):
    assert request_key("p", "e", other) != request_key("p", "e", chat())


def test_a_key_is_of_one_project_and_one_endpoint():
    keys = {request_key(project, endpoint, chat()) for project in "pq" for endpoint in "ef"}

    assert len(keys) == 4


def test_a_hint_about_the_prefix_is_no_part_of_the_key():
    assert request_key("p", "e", chat(cache_prefix=1)) == request_key("p", "e", chat())


def test_a_text_that_is_no_valid_unicode_has_a_key():
    assert request_key("p", "e", chat("\udcff")) != request_key("p", "e", chat("\udcfe"))


@pytest.mark.real_io
async def test_a_reply_outlives_the_daemon_in_a_private_file(tmp_path):
    path = tmp_path / "cache.db"
    with trio.fail_after(5):
        async with remembering(path) as cache:
            cache.put(A, REPLY)

        async with remembering(path) as cache:
            assert await cache.get(A) == KEPT

    assert path.stat().st_mode & 0o077 == 0
    assert os.listdir(tmp_path) == ["cache.db"]


@pytest.mark.real_io
async def test_a_reply_whose_time_is_over_does_not(tmp_path):
    path, clock = tmp_path / "cache.db", Clock()
    with trio.fail_after(5):
        async with remembering(path, clock=clock) as cache:
            cache.put(A, REPLY)
        clock.now += 3600

        async with remembering(path, clock=clock) as cache:
            assert len(cache) == 0

    assert rows(path) == []


@pytest.mark.real_io
async def test_the_order_of_use_outlives_it_too(tmp_path):
    path = tmp_path / "cache.db"
    with trio.fail_after(5):
        async with remembering(path) as cache:
            for key in (A, B, C):
                cache.put(key, REPLY)
        async with remembering(path) as cache:
            await cache.get(A)

        async with remembering(path, entries=2) as cache:
            assert await known(cache, A, B, C) == [True, False, True]

    assert len(rows(path)) == 2


@pytest.mark.real_io
async def test_writes_are_in_the_file_soon_without_being_waited_for(tmp_path):
    path = tmp_path / "cache.db"
    with trio.fail_after(5):
        async with remembering(path) as cache:
            cache.put(A, REPLY)
            while not rows(path):  # noqa: ASYNC110 - a file has no event to wait for
                await trio.sleep(0.01)

            assert await cache.get(A) == KEPT


@pytest.mark.real_io
@pytest.mark.parametrize("content", [b"this is no database" * 100, b"SQLite format 3\0" + b"x" * 9000, b""])
async def test_a_file_that_is_none_is_made_anew(tmp_path, content):
    path = tmp_path / "cache.db"
    path.write_bytes(content)
    with trio.fail_after(5):
        async with remembering(path) as cache:
            cache.put(A, REPLY)

    assert len(rows(path)) == 1


@pytest.mark.real_io
async def test_the_file_of_another_program_is_made_anew(tmp_path):
    path = tmp_path / "cache.db"
    with apsw.Connection(str(path)) as db:
        db.execute("PRAGMA application_id = 7; CREATE TABLE theirs(x)").fetchall()
    db.close()
    with trio.fail_after(5):
        async with remembering(path) as cache:
            cache.put(A, REPLY)

    assert len(rows(path)) == 1


@pytest.mark.real_io
async def test_a_file_that_breaks_under_way_costs_what_it_held_and_no_more(tmp_path, events):
    path = tmp_path / "cache.db"
    with trio.fail_after(5):
        async with remembering(path) as cache:
            cache.put(A, REPLY)
            await cache.write()
            with apsw.Connection(str(path)) as db:
                db.execute("DROP TABLE reply")
            db.close()

            lost = await cache.get(A)
            cache.put(B, REPLY)
            await cache.write()

            assert (lost, await cache.get(B)) == (None, KEPT)

    assert len(rows(path)) == 1
    assert [event["event"] for event in events] == ["cache.lost"]


@pytest.mark.real_io
async def test_a_place_that_holds_no_file_leaves_a_cache_in_memory(tmp_path, events):
    (tmp_path / "cache.db").mkdir()
    with trio.fail_after(5):
        async with remembering(tmp_path / "cache.db") as cache:
            cache.put(A, REPLY)

            assert await cache.get(A) == KEPT

    assert [event["event"] for event in events] == ["cache.unavailable"]


@pytest.mark.real_io
async def test_a_row_that_is_no_reply_is_a_miss(tmp_path):
    path = tmp_path / "cache.db"
    with trio.fail_after(5):
        async with remembering(path) as cache:
            cache.put(A, REPLY)
        with apsw.Connection(str(path)) as db:
            db.execute("UPDATE reply SET body = '[1]'")
        db.close()

        async with remembering(path) as cache:
            assert await known(cache, A) == [False]

    assert rows(path) == []


def rows(path):
    with apsw.Connection(
        f"file:{path}?mode=ro", flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    ) as db:
        found = db.execute("SELECT key FROM reply").fetchall()
    db.close()
    return found
