"""What it costs to remember: durable writes by one caller and by many, beside what the disk itself can do.

Three figures in turn, in the same directory and the same run: the bare disk (4 KiB appended and
fdatasync'ed), the writer as the daemon runs it, and Python's own sqlite3 in a thread, one transaction
a write, with the same indexes.  Ratios are what counts; they are of neighbours in time.
"""

from __future__ import annotations

import json
import os
import random
import re
import sqlite3
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial

import trio

from rlmd.memory.batch import Change, Done
from rlmd.memory.entry import Store
from rlmd.memory.writer import RESTART, memory_writer
from rlmd.supervision import Mailbox, open_supervisor

SECONDS = 2.0
ROUNDS = 5
CALLERS = 64
WORDS = re.findall(
    r"\w+",
    """lock timeout cache actor trio channel write sqlite parse token budget retry agent session memory
    recall daemon socket file span hash index anchor commit batch writer reader page cursor limit""",
)

_PEER_SCHEMA = """
CREATE TABLE memory(id INTEGER PRIMARY KEY, project TEXT, key TEXT, value TEXT, tags TEXT,
                    rev INTEGER DEFAULT 1, UNIQUE (project, key));
CREATE TABLE memory_tag(tag TEXT, id INTEGER, PRIMARY KEY (tag, id)) WITHOUT ROWID;
CREATE VIRTUAL TABLE memory_fts USING fts5(key, value, tags, content='memory', content_rowid='id',
                                           tokenize='porter unicode61');
CREATE TRIGGER memory_insert AFTER INSERT ON memory BEGIN
  INSERT INTO memory_fts(rowid, key, value, tags) VALUES (new.id, new.key, new.value, new.tags);
  INSERT INTO memory_tag SELECT value, new.id FROM json_each(new.tags);
END;
"""

Put = Callable[[Store], Awaitable[object]]


def notes() -> list[Store]:
    """Return memories of about 400 bytes and three tags each."""
    chance = random.Random(7)
    return [
        Store(
            key=f"finding/{number}",
            value=" ".join(chance.choices(WORDS, k=60)),
            project="p",
            tags=("perf", "db", f"t{number % 50}"),
        )
        for number in range(400_000)
    ]


def bare(place: str) -> list[float]:
    """Append 4 KiB and sync, again and again; return the seconds of each."""
    path = f"{place}/bare"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    block, took = os.urandom(4096), []
    until = time.perf_counter() + SECONDS
    while (started := time.perf_counter()) < until:
        os.pwrite(descriptor, block, 4096 * len(took))
        os.fdatasync(descriptor)
        took.append(time.perf_counter() - started)
    os.close(descriptor)
    os.unlink(path)
    return took


async def _drive(put: Put, callers: int, stores: list[Store]) -> list[float]:
    """Let *callers* put one after the other each, for a while; return the seconds of each put."""
    took: list[float] = []
    until = time.perf_counter() + SECONDS

    async def call(caller: int) -> None:
        for number in range(caller, len(stores), callers):
            if (started := time.perf_counter()) >= until:
                return
            await put(stores[number])
            took.append(time.perf_counter() - started)

    async with trio.open_nursery() as nursery:
        for caller in range(callers):
            nursery.start_soon(call, caller)
    return took


async def ours(place: str, callers: int, stores: list[Store]) -> list[float]:
    """Drive the supervised writer."""
    path = f"{place}/memory-{time.time_ns()}.db"
    async with open_supervisor(grace=5) as supervisor:
        writer: Mailbox[Change, Done] = await supervisor.start_batch(
            "memory_writer", partial(memory_writer, path), restart=RESTART
        )
        return await _drive(writer.ask, callers, stores)


async def peer(place: str, callers: int, stores: list[Store]) -> list[float]:
    """Drive Python's sqlite3, one transaction a write, in the one thread that has the connection."""
    db = sqlite3.connect(f"{place}/peer-{time.time_ns()}.db", check_same_thread=False, isolation_level=None)
    db.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;" + _PEER_SCHEMA)
    thread = trio.CapacityLimiter(1)

    def write(store: Store) -> None:
        db.execute(
            "INSERT INTO memory(project, key, value, tags) VALUES (?, ?, ?, ?)",
            (store.project, store.key, store.value, json.dumps(store.tags)),
        )

    async def put(store: Store) -> None:
        await trio.to_thread.run_sync(write, store, limiter=thread)

    took = await _drive(put, callers, stores)
    db.close()
    return took


def main() -> None:
    """Print each round, and the median of the ratios."""
    stores = notes()
    many: list[float] = []
    single: list[float] = []
    with tempfile.TemporaryDirectory(prefix="rlmd-bench-", dir=os.environ.get("RLMD_BENCH_DISK")) as place:
        for _ in range(ROUNDS):
            disk = bare(place)
            one = trio.run(ours, place, 1, stores)
            crowd = trio.run(ours, place, CALLERS, stores)
            theirs = trio.run(peer, place, CALLERS, stores)
            many.append(len(crowd) / len(disk))
            single.append(_p50(one) / _p50(disk))
            print(
                f"bare fdatasync {len(disk) / SECONDS:6.0f}/s p50 {_p50(disk):.2f} ms   "
                f"1 caller p50 {_p50(one):.2f} ms = {single[-1]:.1f} x   "
                f"{CALLERS} callers {len(crowd) / SECONDS:6.0f}/s = {many[-1]:.2f} x, "
                f"p50 {_p50(crowd):.1f} ms   "
                f"sqlite3 {len(theirs) / SECONDS:5.0f}/s   load {os.getloadavg()[0]:.1f}"
            )
    print(
        f"median: {CALLERS} callers {sorted(many)[ROUNDS // 2]:.2f} x the bare rate (bar 4), "
        f"1 caller {sorted(single)[ROUNDS // 2]:.1f} x one fdatasync (bar 3)"
    )


def _p50(took: list[float]) -> float:
    return sorted(took)[len(took) // 2] * 1e3


if __name__ == "__main__":
    main()
