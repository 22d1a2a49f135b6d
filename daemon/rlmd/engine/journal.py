"""The actor `job_journal`: what every job was asked, has done and came to, in jobs.db."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import apsw
import trio

from rlmd.answers import JobState, Json
from rlmd.engine.ledger import Entry
from rlmd.store import Keeper, Schema
from rlmd.supervision import Restart

RESTART = Restart(limit=3)
"""How a journal is supervised: one that keeps crashing must end the process."""

_CHECKPOINT_PAGES = 4_096
_CLOSING_S = 10.0

_FIRST = """
CREATE TABLE job(
  id TEXT PRIMARY KEY,
  project TEXT NOT NULL,
  query TEXT NOT NULL,
  mode TEXT NOT NULL,
  request TEXT NOT NULL CHECK (json_valid(request)),      -- what it takes to go on after a crash
  state TEXT NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'done', 'failed', 'cancelled')),
  turn INTEGER NOT NULL DEFAULT 0,
  calls INTEGER NOT NULL DEFAULT 0,
  usd REAL,
  wall_s REAL NOT NULL DEFAULT 0,
  result TEXT CHECK (result IS NULL OR json_valid(result)),
  created_ns INTEGER NOT NULL
) STRICT;
CREATE INDEX job_newest ON job(created_ns DESC, id);
CREATE INDEX job_running ON job(created_ns) WHERE state = 'running';

CREATE TABLE entry(
  job_id TEXT NOT NULL REFERENCES job(id) ON DELETE CASCADE,
  seq INTEGER NOT NULL,
  node TEXT NOT NULL,
  turn INTEGER NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('root', 'call', 'cell', 'child')),
  key TEXT NOT NULL,
  body TEXT NOT NULL CHECK (json_valid(body)),
  at_ns INTEGER NOT NULL,
  PRIMARY KEY (job_id, seq)
) STRICT, WITHOUT ROWID;
"""


def _m0001_jobs_and_what_they_did(db: apsw.Connection) -> None:
    db.execute(_FIRST)


SCHEMA = Schema(
    application_id=0x524C4A31,  # "RLJ1"
    migrations=(_m0001_jobs_and_what_they_did,),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """Take in a job; *request* is JSON that says how to begin it again."""

    id: str
    project: str
    query: str
    mode: str
    request: Json


@dataclass(frozen=True, slots=True)
class Write:
    """Take in what *job* has done, with how far it is and what it has spent."""

    job: str
    entry: Entry
    calls: int
    usd: float | None
    wall_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """Say what a job came to; *result* is JSON, None where there is none."""

    id: str
    state: JobState
    wall_s: float
    result: Json = None


@dataclass(frozen=True, slots=True)
class Whole:
    """Take in a job that has ended already, by one write."""

    begin: Begin
    end: End


Note = Begin | Write | End | Whole
WriteAll = Callable[[list[Note]], Awaitable[Sequence[Exception | None]]]


@asynccontextmanager
async def job_journal(path: str, *, keep: int = 500) -> AsyncIterator[WriteAll]:
    """Own jobs.db for the length of the block; a batch actor, to be supervised by `RESTART`.

    One batch is one transaction, and its answers come after it was synced to disk.  An answer is
    None, or Busy where the disk refuses.  *keep* jobs are kept, those that run beside.  Opening
    raises StoreRefused.
    """
    thread = trio.CapacityLimiter(1)
    keeper = await trio.to_thread.run_sync(Keeper, path, SCHEMA, limiter=thread)

    def commit(notes: list[Note]) -> Sequence[Exception | None]:
        outcomes = keeper.commit(notes, partial(_begin, keep=keep))
        if keeper.wal_pages > _CHECKPOINT_PAGES:
            keeper.checkpoint()
        return outcomes

    async def write(notes: list[Note]) -> Sequence[Exception | None]:
        return await trio.to_thread.run_sync(commit, notes, limiter=thread)

    try:
        yield write
    finally:
        with trio.move_on_after(_CLOSING_S, shield=True):
            await trio.to_thread.run_sync(keeper.close, limiter=thread)


def _begin(db: apsw.Connection, *, keep: int) -> Callable[[Note], None]:
    def apply(note: Note) -> None:
        match note:
            case Begin():
                _take_in(db, note, keep)
            case Write():
                _write(db, note)
            case End():
                _end(db, note)
            case Whole():
                _take_in(db, note.begin, keep)
                _end(db, note.end)

    return apply


def _take_in(db: apsw.Connection, note: Begin, keep: int) -> None:
    db.execute(_FORGET, {"keep": keep})
    given = {"id": note.id, "project": note.project, "query": note.query, "mode": note.mode}
    db.execute(_BEGIN, {**given, "request": json.dumps(note.request), "now": time.time_ns()})


def _end(db: apsw.Connection, note: End) -> None:
    result = None if note.result is None else json.dumps(note.result)
    db.execute(_END, {"id": note.id, "state": note.state, "wall_s": note.wall_s, "result": result})


def _write(db: apsw.Connection, note: Write) -> None:
    entry = note.entry
    db.execute(
        _WRITE,
        {
            "job": note.job,
            "node": entry.node,
            "turn": entry.turn,
            "kind": entry.kind,
            "key": entry.key,
            "body": json.dumps(entry.body),
            "now": time.time_ns(),
        },
    )
    spent = {"job": note.job, "calls": note.calls, "usd": note.usd, "wall_s": note.wall_s}
    db.execute(_PROGRESS, {**spent, "turn": entry.turn if entry.node == "0" else 0})


_BEGIN = """
INSERT INTO job(id, project, query, mode, request, created_ns)
VALUES (:id, :project, :query, :mode, :request, :now)
"""

_WRITE = """
INSERT INTO entry(job_id, seq, node, turn, kind, key, body, at_ns)
SELECT :job, 1 + coalesce(max(seq), 0), :node, :turn, :kind, :key, :body, :now
FROM entry WHERE job_id = :job
"""

_PROGRESS = """
UPDATE job SET calls = :calls, usd = :usd, wall_s = :wall_s, turn = max(turn, :turn) WHERE id = :job
"""

_END = """
UPDATE job SET state = :state, wall_s = :wall_s, result = :result WHERE id = :id
"""

_FORGET = """
DELETE FROM job WHERE state != 'running' AND id IN (
  SELECT id FROM job WHERE state != 'running' ORDER BY created_ns DESC LIMIT -1 OFFSET max(0, :keep - 1)
)
"""
