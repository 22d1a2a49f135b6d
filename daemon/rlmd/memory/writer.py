"""The memory writer: the only task that changes memory.db."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import cast

import apsw
import trio

from rlmd.errors import BadArgument, TooLarge, VersionConflict
from rlmd.memory.entry import Store, Stored, require_storable
from rlmd.memory.schema import SCHEMA, SEQ_BITS
from rlmd.memory.words import identifier_parts
from rlmd.store import Keeper, used_bytes
from rlmd.supervision import Restart

RESTART = Restart(limit=3)
"""How a memory writer is supervised: one that keeps crashing must end the process."""

_CHECKPOINT_PAGES = 4_096
_QUIET_S = 5.0
_CLOSING_S = 10.0

WriteAll = Callable[[list[Store]], Awaitable[Sequence[Stored | Exception]]]


@asynccontextmanager
async def memory_writer(
    path: str, *, max_value_bytes: int = 65_536, max_bytes: int = 1 << 30
) -> AsyncIterator[WriteAll]:
    """Own memory.db for the length of the block; a batch actor, to be supervised by `RESTART`.

    One batch is one transaction, and its answers come after it was synced to disk.  Each answer is
    a Stored or a RequestError: BadArgument, TooLarge (a value over *max_value_bytes*, or a store
    grown to *max_bytes*: nothing is ever evicted), VersionConflict, or Busy where the disk refuses.
    A batch that was begun is finished, however its askers fare.  Opening raises StoreRefused.
    """
    thread = trio.CapacityLimiter(1)
    keeper = await trio.to_thread.run_sync(Keeper, path, SCHEMA, limiter=thread)

    def begin(db: apsw.Connection) -> Callable[[Store], Stored]:
        return Batch(db, max_value_bytes=max_value_bytes, max_bytes=max_bytes).store

    committed = trio.Event()

    async def write(requests: list[Store]) -> Sequence[Stored | Exception]:
        outcomes = await trio.to_thread.run_sync(keeper.commit, requests, begin, limiter=thread)
        committed.set()
        return outcomes

    async def checkpoint_after_commits() -> None:
        """Copy the log once it has grown, or once nothing came for a while; commits wait for that."""
        nonlocal committed
        while True:
            quiet = True
            with trio.move_on_after(_QUIET_S if keeper.wal_pages else float("inf")):
                await committed.wait()
                quiet = False
            committed = trio.Event()
            if quiet or keeper.wal_pages > _CHECKPOINT_PAGES:
                await trio.to_thread.run_sync(keeper.checkpoint, limiter=thread)

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(checkpoint_after_commits)
            yield write
            nursery.cancel_scope.cancel()
    finally:
        with trio.move_on_after(_CLOSING_S, shield=True):
            await trio.to_thread.run_sync(keeper.close, limiter=thread)


class Batch:
    """Writes requests one after the other inside the open transaction."""

    def __init__(self, db: apsw.Connection, *, max_value_bytes: int, max_bytes: int) -> None:
        self._db = db
        self._max_value_bytes = max_value_bytes
        self._max_bytes = max_bytes
        self._used_bytes = used_bytes(db)

    def store(self, request: Store) -> Stored:
        """Write *request*, or raise what is wrong with it."""
        size_bytes = require_storable(request, max_value_bytes=self._max_value_bytes)
        project_id = self._project_id(request.project)
        if request.request_id is not None and (known := self._receipt(project_id, request)):
            return known
        self._require_room(size_bytes)
        now_ns = (
            time.time_ns() // 1_000 * 1_000
        )  # `stored_at` shows microseconds and must be exact as a bound
        standing = self._db.execute(_STANDING, {"project": project_id, "key": request.key}).fetchone()
        memory_id, rev, expires_ns = cast("tuple[int, int, int | None]", standing or (0, 0, None))
        created = not rev or (expires_ns is not None and expires_ns <= now_ns)
        _require_version(request, 0 if created else rev)
        seq = cast("int", self._db.execute(_NEXT_SEQ).get)
        row = _row(request, now_ns) | {
            "id": memory_id or (project_id << SEQ_BITS) + seq,
            "project": project_id,
            "rev": rev + 1,
            "seq": seq,
            "created": created,
        }
        if rev:
            self._db.execute(_KEEP_VERSION, row)
        self._db.execute(_UPDATE if rev else _INSERT, row)
        if request.request_id is not None:
            self._db.execute(_WRITE_RECEIPT, row)
        return Stored(request.key, request.project, rev + 1, created)

    def _project_id(self, name: str) -> int:
        found = self._db.execute(_PROJECT, {"name": name}).get
        if found is None:
            found = self._db.execute(_NEW_PROJECT, {"name": name, "now": time.time_ns()}).get
        return cast("int", found)

    def _receipt(self, project_id: int, request: Store) -> Stored | None:
        """Return what this request was answered before, if it was."""
        asked = {"project": project_id, "request": request.request_id}
        row = self._db.execute(_READ_RECEIPT, asked).fetchone()
        if row is None:
            return None
        key, rev, created = cast("tuple[str, int, int]", row)
        if key != request.key:
            raise BadArgument(
                f"`request_id` {request.request_id!r} was used to store another key, {key!r}.",
                "A new request takes a new id; only a repeated one takes the old.",
            )
        return Stored(key, request.project, rev, bool(created))

    def _require_room(self, size_bytes: int) -> None:
        self._used_bytes += size_bytes
        if self._used_bytes > self._max_bytes:
            self._used_bytes -= size_bytes
            raise TooLarge(
                f"The memory store is full: {self._used_bytes} of {self._max_bytes} bytes "
                "(memory.max_bytes). This was not stored, and nothing was evicted to make room.",
                "Raise memory.max_bytes.",
            )


def _row(request: Store, now_ns: int) -> dict[str, str | int | None]:
    return {
        "key": request.key,
        "value": request.value,
        "words": identifier_parts(request.key, request.value),
        "kind": request.kind,
        "tags": json.dumps(list(dict.fromkeys(request.tags)), ensure_ascii=False),
        "session": request.session,
        "agent": request.agent,
        "now": now_ns,
        "expires": None if request.ttl_s is None else now_ns + int(request.ttl_s * 1e9),
        "request": request.request_id,
    }


def _require_version(request: Store, version: int) -> None:
    if request.expect_version is None or request.expect_version == version:
        return
    stands = f"stands at version {version}" if version else "does not exist (version 0)"
    raise VersionConflict(
        f"{request.key!r} {stands}, not at {request.expect_version}; nothing was stored.",
        "Recall it, merge, and store again with the version that stands.",
    )


_PROJECT = "SELECT id FROM project WHERE name = :name"

_NEW_PROJECT = "INSERT INTO project(name, created_ns) VALUES (:name, :now) RETURNING id"

_NEXT_SEQ = "UPDATE counter SET seq = seq + 1 RETURNING seq"

_STANDING = """
SELECT id, rev, expires_ns FROM memory WHERE project_id = :project AND key = :key AND state = 'live'
"""

_INSERT = """
INSERT INTO memory(id, project_id, key, value, words, kind, tags, rev, seq, session, agent,
                   created_ns, updated_ns, expires_ns)
VALUES (:id, :project, :key, :value, :words, :kind, :tags, :rev, :seq, :session, :agent,
        :now, :now, :expires)
"""

_KEEP_VERSION = """
INSERT INTO memory_rev(memory_id, rev, seq, value, kind, tags, session, agent, updated_ns, expires_ns)
SELECT id, rev, seq, value, kind, tags, session, agent, updated_ns, expires_ns FROM memory WHERE id = :id
"""

_UPDATE = """
UPDATE memory SET value = :value, words = :words, kind = :kind, tags = :tags, rev = :rev, seq = :seq,
                  session = :session, agent = :agent, updated_ns = :now, expires_ns = :expires
WHERE id = :id
"""

_READ_RECEIPT = "SELECT key, rev, created FROM receipt WHERE project_id = :project AND request_id = :request"

_WRITE_RECEIPT = """
INSERT INTO receipt(project_id, request_id, key, rev, created, at_ns)
VALUES (:project, :request, :key, :rev, :created, :now)
"""
