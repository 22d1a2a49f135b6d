"""Jobs and what they did, on disk before anybody is told so."""

import sqlite3
from contextlib import asynccontextmanager

import pytest
import trio

from rlmd.engine.archive import open_archive
from rlmd.engine.journal import Begin, End, Write, job_journal
from rlmd.engine.ledger import Entry
from rlmd.engine.trajectory import lines_of_json, spent, tree
from rlmd.supervision import open_supervisor

pytestmark = pytest.mark.real_io


def begin(name, **more):
    return Begin(id=name, project="p", query=f"q {name}", mode="rlm", request={"n": 1}, **more)


def entry(turn=1, kind="call", key="k", node="0", **body):
    return Entry(node, turn, kind, key, {"text": "yes", "tokens_in": 3, "tokens_out": 1, "usd": 0.5, **body})


@asynccontextmanager
async def open_journal(path, **more):
    with trio.fail_after(20):
        async with open_supervisor(grace=5) as supervisor:
            journal = await supervisor.start_batch("job_journal", lambda: job_journal(str(path), **more))
            async with open_archive(str(path)) as archive:
                yield journal, archive


async def test_what_was_acknowledged_is_there_after_a_crash(tmp_path):
    path = tmp_path / "jobs.db"
    async with open_journal(path) as (journal, archive):
        await journal.ask(begin("a"))
        await journal.ask(Write("a", entry(turn=2), calls=4, usd=0.25, wall_s=1.5))
        for suffix in ("", "-wal", "-shm"):  # as a kill would leave the files
            (tmp_path / f"copy{suffix}").write_bytes((tmp_path / f"jobs.db{suffix}").read_bytes())

        assert await archive.entries("a") == [entry(turn=2)]

    with sqlite3.connect(tmp_path / "copy") as copy:
        assert copy.execute("SELECT id, state, turn, calls, usd FROM job").fetchall() == [
            ("a", "running", 2, 4, 0.25)
        ]
        assert copy.execute("SELECT count(*) FROM entry").fetchone() == (1,)
    copy.close()


async def test_jobs_are_listed_latest_first_page_by_page(tmp_path):
    async with open_journal(tmp_path / "jobs.db") as (journal, archive):
        for name in "abcde":
            await journal.ask(begin(name))
        await journal.ask(End(id="b", state="done", wall_s=2.5, result={"answer": 1}))

        first = await archive.newest(2)
        rest = await archive.newest(9, before=first[-1].job_id)

        assert [each.job_id for each in [*first, *rest]] == ["e", "d", "c", "b", "a"]
        assert [each.job_id for each in await archive.running()] == ["a", "c", "d", "e"]
        done = await archive.find("b")
        assert (done.state, done.result, done.wall_s, done.request) == ("done", {"answer": 1}, 2.5, {"n": 1})
        assert await archive.find("x") is None


async def test_old_jobs_make_room_but_never_one_that_runs(tmp_path):
    async with open_journal(tmp_path / "jobs.db", keep=2) as (journal, archive):
        await journal.ask(begin("running"))
        await journal.ask(Write("running", entry(), calls=1, usd=None, wall_s=0))
        for name in "abc":
            await journal.ask(begin(name))
            await journal.ask(Write(name, entry(), calls=1, usd=None, wall_s=0))
            await journal.ask(End(id=name, state="failed", wall_s=0))
        await journal.ask(begin("d"))

        assert [each.job_id for each in await archive.newest(9)] == ["d", "c", "running"]
        assert await archive.entries("a") == []
        assert len(await archive.entries("running")) == 1


async def test_how_runs_ended_is_counted(tmp_path):
    async with open_journal(tmp_path / "jobs.db") as (journal, archive):
        assert await archive.runs() == (0, 0)
        for name, mode, partial in [("a", "rlm", False), ("b", "rlm", True), ("c", "direct", False)]:
            await journal.ask(begin(name))
            result = {"mode": mode, "partial": partial}
            await journal.ask(End(id=name, state="done", wall_s=1, result=result))

        assert await archive.runs() == (2, 1)


async def test_many_writes_at_once_are_all_kept(tmp_path):
    async with open_journal(tmp_path / "jobs.db") as (journal, archive):
        await journal.ask(begin("a"))
        async with trio.open_nursery() as nursery:
            for number in range(200):
                note = Write("a", entry(key=str(number)), calls=number, usd=0.0, wall_s=0)
                nursery.start_soon(journal.ask, note)

        assert {each.key for each in await archive.entries("a")} == {str(number) for number in range(200)}


def test_a_trajectory_shows_what_each_part_cost():
    entries = [
        entry(kind="root", key="r", s=2.0),
        entry(key="c", prompt="which?", s=9.0),
        Entry("0/1.x", 1, "root", "r", {"text": "", "tokens_in": 10, "tokens_out": 0, "usd": None, "s": 1.0}),
        Entry("0/1.x", 1, "cell", "c", {"code": "submit(1)\n", "told": "There was no output.", "s": 0.5}),
        Entry("0", 1, "child", "x", {"question": "how?", "answer": "so", "node": "0/1.x"}),
        Entry("0", 1, "cell", "c", {"code": "a = 1\n", "told": "Output:\n1", "s": 0.25}),
    ]

    assert tree(entries).split("\n") == [
        "run 0: 3 calls, 18 tokens, $?, 3.8 s",
        "  turn 1: 2 calls, 8 tokens, $1.0000, 2.2 s",
        "    sub-call 'which?' → 'yes'",
        "    asked a run of its own 'how?' → 'so'",
        "      run 0/1.x: 1 calls, 10 tokens, $?, 1.5 s",
        "        turn 1: 1 calls, 10 tokens, $?, 1.5 s",
        "          | submit(1)",
        "          > There was no output.",
        "    | a = 1",
        "    > Output:",
        "    > 1",
    ]
    assert spent(entries).tokens == 18
    assert next(lines_of_json(entries)).startswith(
        '{"node": "0", "turn": 1, "kind": "root", "key": "r", "text"'
    )
