"""What the writer acknowledges, refuses, and keeps."""

import threading
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

import apsw
import pytest
import trio
import trio.lowlevel

from rlmd.errors import BadArgument, TooLarge, VersionConflict
from rlmd.memory.entry import Forget, Purge, Store, Stored, Undo
from rlmd.memory.writer import RESTART, memory_writer
from rlmd.store import StoreRefused, open_reader
from rlmd.supervision import ActorCrashed, open_supervisor

pytestmark = pytest.mark.real_io

NOTE = Store(key="k", value="v", project="p")


@asynccontextmanager
async def writing(path, **limits):
    """Run a supervised writer and yield its mailbox; the clock is real, the time bounded."""
    with trio.fail_after(20):
        async with open_supervisor(grace=5) as supervisor:
            actor = partial(memory_writer, str(path), **limits)
            yield await supervisor.start_batch("memory_writer", actor, restart=RESTART)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "memory.db"


def rows(path, sql):
    db = open_reader(str(path))
    try:
        return db.execute(sql).fetchall()
    finally:
        db.close()


async def test_the_first_version_is_created_and_later_ones_are_not(path):
    async with writing(path) as mailbox:
        first = await mailbox.ask(NOTE)
        second = await mailbox.ask(replace(NOTE, value="w"))

    assert (first, second) == (Stored("k", "p", 1, created=True), Stored("k", "p", 2, created=False))


async def test_what_was_acknowledged_is_in_the_file_at_once(path):
    async with writing(path) as mailbox:
        await mailbox.ask(NOTE)

        assert rows(path, "SELECT key, value FROM memory") == [("k", "v")]


async def test_an_update_keeps_the_version_before_it(path):
    async with writing(path) as mailbox:
        for value in "abc":
            await mailbox.ask(replace(NOTE, value=value, tags=(value,)))

    assert rows(path, "SELECT rev, value, tags FROM memory_rev") == [(1, "a", '["a"]'), (2, "b", '["b"]')]
    assert rows(path, "SELECT rev, value, tags FROM memory") == [(3, "c", '["c"]')]


async def test_the_same_key_in_two_projects_is_two_memories(path):
    async with writing(path) as mailbox:
        await mailbox.ask(NOTE)
        other = await mailbox.ask(replace(NOTE, project="q"))

    assert other == Stored("k", "q", 1, created=True)


async def test_a_repeated_request_is_answered_as_the_first_time_and_writes_nothing(path):
    once = replace(NOTE, request_id="r1")
    async with writing(path) as mailbox:
        first = await mailbox.ask(once)
        await mailbox.ask(replace(NOTE, value="between"))
        again = await mailbox.ask(once)

    assert again == first
    assert rows(path, "SELECT rev, value FROM memory") == [(2, "between")]


async def test_a_request_id_is_remembered_across_restarts(path):
    once = replace(NOTE, request_id="r1")
    async with writing(path) as mailbox:
        first = await mailbox.ask(once)
    async with writing(path) as mailbox:
        again = await mailbox.ask(once)

    assert (again, rows(path, "SELECT rev FROM memory")) == (first, [(1,)])


async def test_a_request_id_of_another_key_is_refused(path):
    async with writing(path) as mailbox:
        await mailbox.ask(replace(NOTE, request_id="r1"))
        with pytest.raises(BadArgument, match="another key"):
            await mailbox.ask(replace(NOTE, key="other", request_id="r1"))


async def test_a_refused_request_id_may_be_used_again(path):
    async with writing(path) as mailbox:
        with pytest.raises(VersionConflict):
            await mailbox.ask(replace(NOTE, request_id="r1", expect_version=1))

        assert (await mailbox.ask(replace(NOTE, request_id="r1"))).created


@pytest.mark.parametrize(("stored", "expected"), [(0, 1), (1, 0), (2, 1), (1, 2)])
async def test_a_version_that_does_not_stand_is_a_conflict_naming_the_one_that_does(path, stored, expected):
    async with writing(path) as mailbox:
        for _ in range(stored):
            await mailbox.ask(NOTE)

        with pytest.raises(VersionConflict, match=rf"version {stored}\b"):
            await mailbox.ask(replace(NOTE, value="w", expect_version=expected))

    assert rows(path, "SELECT count(*) FROM memory WHERE value = 'w'") == [(0,)]


async def test_of_64_callers_with_the_same_expectation_exactly_one_wins_each_round(path):
    won, lost = [], []

    async def contend(mailbox, version, caller):
        try:
            won.append(await mailbox.ask(replace(NOTE, value=str(caller), expect_version=version)))
        except VersionConflict as conflict:
            lost.append(conflict.message)

    async with writing(path) as mailbox:
        for version in range(4):
            async with trio.open_nursery() as nursery:
                for caller in range(64):
                    nursery.start_soon(contend, mailbox, version, caller)

    assert [stored.version for stored in won] == [1, 2, 3, 4]
    assert len(lost) == 4 * 63
    assert all(f"stands at version {1 + number // 63}," in message for number, message in enumerate(lost))


async def test_an_expired_key_is_as_if_never_stored_but_its_versions_go_on(path, monkeypatch):
    now_ns = 1_700_000_000_000_000_000
    monkeypatch.setattr("time.time_ns", lambda: now_ns)
    async with writing(path) as mailbox:
        await mailbox.ask(replace(NOTE, ttl_s=10))
        now_ns += 10 * 10**9
        again = await mailbox.ask(replace(NOTE, expect_version=0))

    assert again == Stored("k", "p", 2, created=True)
    assert rows(path, "SELECT expires_ns FROM memory") == [(None,)]


async def test_tags_are_kept_in_order_and_once(path):
    async with writing(path) as mailbox:
        await mailbox.ask(replace(NOTE, tags=("b", "a", "b", "é")))

    assert rows(path, "SELECT tags FROM memory") == [('["b", "a", "é"]',)]


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"key": ""}, BadArgument, "`key` has 0 characters"),
        ({"key": "k" * 257}, BadArgument, "257"),
        ({"key": "a\0b"}, BadArgument, "NUL"),
        ({"value": "a\0b"}, BadArgument, "NUL"),
        ({"value": "\ud800"}, BadArgument, "surrogate"),
        ({"tags": ("",)}, BadArgument, "`tags`"),
        ({"tags": ("t",) * 65}, BadArgument, "65"),
        ({"project": "*"}, BadArgument, "`project`"),
        ({"kind": "\udc80"}, BadArgument, "`kind`"),
        ({"request_id": ""}, BadArgument, "`request_id`"),
        ({"ttl_s": 0}, BadArgument, "`ttl_s`"),
        ({"ttl_s": float("nan")}, BadArgument, "`ttl_s`"),
        ({"ttl_s": float("inf")}, BadArgument, "`ttl_s`"),
        ({"expect_version": -1}, BadArgument, "`expect_version`"),
        ({"value": "é" * 501}, TooLarge, "memory.max_value_bytes"),
        ({"value": "x" * 1001}, TooLarge, "memory.max_value_bytes"),
    ],
)
async def test_what_cannot_be_stored_is_refused_by_name_and_spares_its_batch(path, change, error, says):
    async with batches(path) as write:
        good, bad, other = await write([NOTE, replace(NOTE, **change), replace(NOTE, key="k2")])

    assert isinstance(bad, error)
    assert says in bad.message
    assert (good.version, other.version) == (1, 1)


@asynccontextmanager
async def batches(path):
    with trio.fail_after(20):
        async with memory_writer(str(path), max_value_bytes=1000) as write:
            yield write


async def test_the_largest_value_and_an_empty_one_are_stored(path):
    async with writing(path, max_value_bytes=1000) as mailbox:
        await mailbox.ask(replace(NOTE, value="é" * 500))
        await mailbox.ask(replace(NOTE, value=""))

    assert rows(path, "SELECT length(value) FROM memory_rev UNION ALL SELECT length(value) FROM memory") == [
        (500,),
        (0,),
    ]


async def test_a_full_store_refuses_and_evicts_nothing(path):
    kept = 0
    async with writing(path, max_bytes=1_000_000) as mailbox:
        refused = None
        while refused is None:
            try:
                await mailbox.ask(replace(NOTE, key=f"k{kept}", value="x" * 20_000))
                kept += 1
            except TooLarge as full:
                refused = full.message

    assert "nothing was evicted" in refused
    assert kept > 10
    assert rows(path, "SELECT count(*) FROM memory") == [(kept,)]
    assert path.stat().st_size < 1_100_000


async def test_cancelling_an_asker_whose_write_was_taken_still_writes_it(path, monkeypatch):
    taken, may_go_on, ended = trio.Event(), threading.Event(), []

    def hold(*texts):
        trio.from_thread.run_sync(taken.set)
        may_go_on.wait(10)
        return ""

    async def ask(mailbox, scope):
        with scope:
            await mailbox.ask(NOTE)
        ended.append(rows(path, "SELECT value FROM memory"))

    monkeypatch.setattr("rlmd.memory.rows.identifier_parts", hold)
    async with writing(path) as mailbox, trio.open_nursery() as nursery:
        scope = trio.CancelScope()
        nursery.start_soon(ask, mailbox, scope)
        await taken.wait()
        scope.cancel()
        may_go_on.set()

    assert scope.cancelled_caught
    assert ended == [[("v",)]]


async def test_a_writer_that_meets_a_bug_answers_restarts_and_goes_on(path, monkeypatch, events):
    def broken(*texts):
        monkeypatch.undo()
        raise ZeroDivisionError

    async with writing(path) as mailbox:
        await mailbox.ask(NOTE)
        monkeypatch.setattr("rlmd.memory.rows.identifier_parts", broken)
        with pytest.raises(ActorCrashed):
            await mailbox.ask(NOTE)
        again = await mailbox.ask(NOTE)

    assert again.version == 2


async def test_a_file_that_is_not_ours_ends_the_boot(path):
    path.write_text("dear diary")

    with pytest.raises(StoreRefused):
        async with writing(path):
            pass  # pragma: no cover


async def test_the_log_is_emptied_when_nothing_comes_for_a_while(path, monkeypatch):
    monkeypatch.setattr("rlmd.memory.writer._QUIET_S", 0.01)
    async with writing(path) as mailbox:
        await mailbox.ask(replace(NOTE, value="x" * 50_000))
        while path.stat().st_size < 50_000:  # noqa: ASYNC110  a file tells nobody that it grew
            await trio.sleep(0.001)


async def test_the_log_stays_bounded_while_writes_keep_coming(path, monkeypatch):
    monkeypatch.setattr("rlmd.memory.writer._CHECKPOINT_PAGES", 50)
    async with writing(path) as mailbox:
        for number in range(60):
            await mailbox.ask(replace(NOTE, key=f"k{number}", value="x" * 50_000))

        assert (path.parent / "memory.db-wal").stat().st_size < 1_500_000


async def test_indexes_agree_with_the_memories_after_every_kind_of_write(path):
    async with writing(path) as mailbox:
        for number in range(50):
            await mailbox.ask(
                replace(
                    NOTE, key=f"k{number % 7}", value=f"parseURL number {number}", tags=(f"t{number % 3}",)
                )
            )
        for change in (
            Forget("k1", NOTE.project),
            Purge("k2", NOTE.project),
            Undo("k3", NOTE.project),
            Forget("k4", NOTE.project),
            Undo("k4", NOTE.project),
            replace(NOTE, key="k7", tags=("t0", "t1"), supersedes="k5"),
        ):
            await mailbox.ask(change)
    db = apsw.Connection(str(path))

    db.execute("INSERT INTO memory_fts(memory_fts, rank) VALUES ('integrity-check', 1)")
    assert db.execute("SELECT key FROM memory WHERE state = 'live' ORDER BY key").fetchall() == [
        ("k0",),
        ("k3",),
        ("k4",),
        ("k6",),
        ("k7",),
    ]
    assert db.execute("SELECT count(*) FROM memory_tag").get == 6
    assert db.execute("SELECT count(*) FROM memory_fts WHERE memory_fts MATCH 'k1 OR k2 OR k5'").get == 0
    db.close()
