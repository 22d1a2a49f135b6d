"""Reading jobs.db: what jobs there are, what they came to, and what they did."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar, cast

import apsw
import trio

from rlmd.answers import JobState, Json
from rlmd.engine.ledger import Body, Entry, EntryKind
from rlmd.store import open_reader

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A job as the journal has it; `usd` is None where unknown, `result` while there is none."""

    job_id: str
    project: str
    query: str
    mode: str
    state: JobState
    turn: int
    calls: int
    usd: float | None
    wall_s: float
    started_at: str
    request: Json
    result: Json


class Archive:
    """Reads beside the journal, in a thread."""

    def __init__(self, db: apsw.Connection, thread: trio.CapacityLimiter) -> None:
        self._db = db
        self._thread = thread

    async def newest(self, limit: int, before: str | None = None) -> list[Record]:
        """Return up to *limit* jobs, latest first, those older than the job *before*."""
        return await self._in_thread(partial(self._rows, _NEWEST, {"limit": limit, "before": before or ""}))

    async def running(self) -> list[Record]:
        """Return the jobs that have not ended, in the order of their beginning."""
        return await self._in_thread(partial(self._rows, _RUNNING, {}))

    async def find(self, job_id: str) -> Record | None:
        """Return one job."""
        found = await self._in_thread(partial(self._rows, _ONE, {"id": job_id}))
        return found[0] if found else None

    async def entries(self, job_id: str) -> list[Entry]:
        """Return what a job did, in that order."""
        return await self._in_thread(partial(self._entries, job_id))

    async def runs(self) -> tuple[int, int]:
        """Return how many of the latest questions were answered by runs, and how many of those wholly."""
        return await self._in_thread(self._runs)

    def _runs(self) -> tuple[int, int]:
        row = self._db.execute(_RUNS).fetchone()
        return cast("tuple[int, int]", row)

    def _rows(self, sql: str, given: dict[str, str | int]) -> list[Record]:
        return [_record(row) for row in self._db.execute(_COLUMNS + sql, given)]

    def _entries(self, job_id: str) -> list[Entry]:
        rows = cast("list[tuple[str, int, EntryKind, str, str]]", self._db.execute(_ENTRIES, {"id": job_id}))
        return [
            Entry(node, turn, kind, key, cast("Body", json.loads(body)))
            for node, turn, kind, key, body in rows
        ]

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(work, limiter=self._thread)


@asynccontextmanager
async def open_archive(path: str) -> AsyncIterator[Archive]:
    """Open a reader of the journal at *path*, which its actor must have opened before."""
    thread = trio.CapacityLimiter(1)
    db = await trio.to_thread.run_sync(open_reader, path, limiter=thread)
    try:
        yield Archive(db, thread)
    finally:
        with trio.move_on_after(1, shield=True):
            await trio.to_thread.run_sync(partial(db.close, True), limiter=thread)


def _record(row: tuple[object, ...]) -> Record:
    job_id, project, query, mode, state, turn, calls, usd, wall_s, created_ns, request, result = cast(
        "tuple[str, str, str, str, JobState, int, int, float | None, float, int, str, str | None]", row
    )
    began = datetime.fromtimestamp(created_ns / 1e9, UTC)
    return Record(
        job_id=job_id,
        project=project,
        query=query,
        mode=mode,
        state=state,
        turn=turn,
        calls=calls,
        usd=usd,
        wall_s=wall_s,
        started_at=began.isoformat(timespec="milliseconds"),
        request=json.loads(request),
        result=None if result is None else json.loads(result),
    )


_COLUMNS = """
SELECT id, project, query, mode, state, turn, calls, usd, wall_s, created_ns, request, result FROM job
"""
_NEWEST = """
WHERE :before = '' OR (created_ns, id) < (SELECT created_ns, id FROM job WHERE id = :before)
ORDER BY created_ns DESC, id DESC LIMIT :limit
"""
_RUNNING = "WHERE state = 'running' ORDER BY created_ns"
_ONE = "WHERE id = :id"
_ENTRIES = "SELECT node, turn, kind, key, body FROM entry WHERE job_id = :id ORDER BY seq"
_RUNS = """
SELECT count(*), coalesce(sum(NOT json_extract(result, '$.partial')), 0) FROM (
  SELECT result FROM job WHERE state = 'done' AND json_extract(result, '$.mode') = 'rlm'
  ORDER BY created_ns DESC LIMIT 20
)
"""
