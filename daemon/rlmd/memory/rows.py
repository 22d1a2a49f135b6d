"""The one row of each key, and how it gets from one version to the next inside a transaction."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import NamedTuple, cast

import apsw

from rlmd.memory.anchor import Anchor
from rlmd.memory.schema import SEQ_BITS
from rlmd.memory.words import identifier_parts

FORGOTTEN = "deleted"
SUPERSEDED = "superseded"
LIVE = "live"


class Standing(NamedTuple):
    """The row of a key, whatever its state."""

    id: int
    rev: int
    state: str
    expires_ns: int | None
    supersedes: int | None

    def stands(self, now_ns: int) -> bool:
        """Say whether it is there for whoever asks: neither forgotten, superseded nor expired."""
        return self.state == LIVE and (self.expires_ns is None or self.expires_ns > now_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """What one version of a key says; times in nanoseconds since 1970."""

    value: str = ""
    kind: str = "finding"
    tags: tuple[str, ...] = ()
    state: str = LIVE
    session: str | None = None
    agent: str | None = None
    at_ns: int
    expires_ns: int | None = None
    supersedes: int | None = None
    superseded_by: int | None = None
    anchors: tuple[Anchor, ...] = ()


def now() -> int:
    """Return the time as it is kept: `stored_at` shows microseconds and must be exact as a bound."""
    return time.time_ns() // 1_000 * 1_000


class Rows:
    """Finds and advances rows inside the open transaction of *db*."""

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db

    def project_id(self, name: str, *, create: bool) -> int | None:
        """Return the number of a project, making it one if *create*."""
        found = self._db.execute(_PROJECT, {"name": name}).get
        if found is None and create:
            found = self._db.execute(_NEW_PROJECT, {"name": name, "now": time.time_ns()}).get
        return cast("int | None", found)

    def find(self, project_id: int | None, key: str) -> Standing | None:
        """Return the row of *key*, if it has one."""
        row = self._db.execute(_FIND, {"project": project_id, "key": key}).fetchone()
        return None if row is None else Standing(*cast("tuple[int, int, str, int | None, int | None]", row))

    def with_id(self, id_: int) -> tuple[str, Standing]:
        """Return a key and its row by the row's number."""
        key, *row = cast("list[object]", list(self._db.execute(_BY_ID, {"id": id_}).fetchone() or ()))
        return cast("str", key), Standing(*cast("tuple[int, int, str, int | None, int | None]", row))

    def create(self, project_id: int, key: str, version: Version, rev: int = 1) -> int:
        """Insert the first version of *key* and return the row's id."""
        seq = self._next_seq()
        row = self._row(key, version, rev, seq) | {
            "id": (project_id << SEQ_BITS) + seq,
            "project": project_id,
            "key": key,
        }
        self._db.execute(_INSERT, row)
        self._attach(row["id"], rev, version.anchors)
        return cast("int", row["id"])

    def advance(self, standing: Standing, key: str, version: Version) -> int:
        """Keep the version that stands, put the next in its place, and return its number."""
        rev = standing.rev + 1
        self._db.execute(_KEEP_VERSION, {"id": standing.id})
        self._db.execute(_UPDATE, self._row(key, version, rev, self._next_seq()) | {"id": standing.id})
        self._attach(standing.id, rev, version.anchors)
        return rev

    def standing_version(self, id_: int) -> Version:
        """Read what the row says now."""
        return self._version(_READ, {"id": id_})

    def version_before(self, standing: Standing) -> Version | None:
        """Read the version before the one that stands, if it was kept."""
        before = {"id": standing.id, "rev": standing.rev - 1}
        kept = self._db.execute(_IS_KEPT, before).get
        return self._version(_READ_KEPT, before) if kept else None

    def keep_only_number(self, standing: Standing) -> None:
        """Leave of a row its key and the number of its version; what it said goes, history included."""
        gone = self._row("", Version(at_ns=now(), state=FORGOTTEN), standing.rev, self._next_seq())
        self._db.execute(_UPDATE, gone | {"id": standing.id})
        self._db.execute("DELETE FROM memory_rev WHERE memory_id = :id", {"id": standing.id})
        self._db.execute("DELETE FROM anchor WHERE memory_id = :id", {"id": standing.id})

    def remove(self, standing: Standing) -> None:
        """Delete a row with all that hangs on it."""
        self._db.execute("DELETE FROM memory WHERE id = :id", {"id": standing.id})

    def _version(self, sql: str, params: dict[str, int]) -> Version:
        value, kind, tags, state, session, agent, at_ns, expires_ns, supersedes, superseded_by, rev = cast(
            "tuple[str, str, str, str, str | None, str | None, int, int | None, int | None, int | None, int]",
            self._db.execute(sql, params).fetchone(),
        )
        return Version(
            value=value,
            kind=kind,
            tags=tuple(json.loads(tags)),
            state=state,
            session=session,
            agent=agent,
            at_ns=at_ns,
            expires_ns=expires_ns,
            supersedes=supersedes,
            superseded_by=superseded_by,
            anchors=read_anchors(self._db, params["id"], rev),
        )

    def _row(self, key: str, version: Version, rev: int, seq: int) -> dict[str, str | int | None]:
        return {
            "value": version.value,
            "words": identifier_parts(key, version.value) if version.state == LIVE else "",
            "kind": version.kind,
            "tags": json.dumps(version.tags, ensure_ascii=False) if version.tags else "[]",
            "rev": rev,
            "seq": seq,
            "state": version.state,
            "session": version.session,
            "agent": version.agent,
            "at": version.at_ns,
            "expires": version.expires_ns,
            "supersedes": version.supersedes,
            "superseded_by": version.superseded_by,
        }

    def _attach(self, id_: object, rev: int, anchors: tuple[Anchor, ...]) -> None:
        for place, anchor in enumerate(anchors):
            row = {
                "id": cast("int", id_),
                "rev": rev,
                "place": place,
                "path": anchor.path,
                "start": anchor.start_line,
                "end": anchor.end_line,
                "span": anchor.span,
                "hash": anchor.span_hash,
                "above": json.dumps(anchor.above, ensure_ascii=False),
                "below": json.dumps(anchor.below, ensure_ascii=False),
                "sha256": anchor.file_sha256,
            }
            self._db.execute(_ATTACH, row)

    def _next_seq(self) -> int:
        return cast("int", self._db.execute(_NEXT_SEQ).get)


def read_anchors(db: apsw.Connection, id_: int, rev: int) -> tuple[Anchor, ...]:
    """Return the anchors of one version, in the order they were given."""
    rows = db.execute(_ANCHORS, {"id": id_, "rev": rev})
    return tuple(
        Anchor(path, start, end, span, hash_, tuple(json.loads(above)), tuple(json.loads(below)), sha256)
        for path, start, end, span, hash_, above, below, sha256 in cast(
            "list[tuple[str, int, int, str, bytes, str, str, str]]", rows.fetchall()
        )
    )


_PROJECT = "SELECT id FROM project WHERE name = :name"

_NEW_PROJECT = "INSERT INTO project(name, created_ns) VALUES (:name, :now) RETURNING id"

_NEXT_SEQ = "UPDATE counter SET seq = seq + 1 RETURNING seq"

_FIND = """
SELECT id, rev, state, expires_ns, supersedes FROM memory WHERE project_id = :project AND key = :key
"""

_BY_ID = "SELECT key, id, rev, state, expires_ns, supersedes FROM memory WHERE id = :id"

_INSERT = """
INSERT INTO memory(id, project_id, key, value, words, kind, tags, rev, seq, state, session, agent,
                   created_ns, updated_ns, expires_ns, supersedes, superseded_by)
VALUES (:id, :project, :key, :value, :words, :kind, :tags, :rev, :seq, :state, :session, :agent,
        :at, :at, :expires, :supersedes, :superseded_by)
"""

_KEEP_VERSION = """
INSERT INTO memory_rev(memory_id, rev, seq, value, kind, tags, state, session, agent, updated_ns, expires_ns,
                       supersedes, superseded_by)
SELECT id, rev, seq, value, kind, tags, state, session, agent, updated_ns, expires_ns,
       supersedes, superseded_by
FROM memory WHERE id = :id
"""

_UPDATE = """
UPDATE memory SET value = :value, words = :words, kind = :kind, tags = :tags, rev = :rev, seq = :seq,
                  state = :state, session = :session, agent = :agent, updated_ns = :at,
                  expires_ns = :expires, supersedes = :supersedes, superseded_by = :superseded_by
WHERE id = :id
"""

_COLUMNS = """
value, kind, tags, state, session, agent, updated_ns, expires_ns, supersedes, superseded_by, rev
"""

_READ = f"SELECT {_COLUMNS} FROM memory WHERE id = :id"  # noqa: S608  # a list of columns, no data

_READ_KEPT = f"SELECT {_COLUMNS} FROM memory_rev WHERE memory_id = :id AND rev = :rev"  # noqa: S608  # the same

_IS_KEPT = "SELECT 1 FROM memory_rev WHERE memory_id = :id AND rev = :rev"

_ATTACH = """
INSERT INTO anchor(memory_id, rev, place, path, start_line, end_line, span, span_hash, above, below,
                   file_sha256)
VALUES (:id, :rev, :place, :path, :start, :end, :span, :hash, :above, :below, :sha256)
"""

_ANCHORS = """
SELECT path, start_line, end_line, span, span_hash, above, below, file_sha256 FROM anchor
WHERE memory_id = :id AND rev = :rev ORDER BY place
"""
