"""The one row of each key, and how it gets from one version to the next inside a transaction."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, cast

import apsw

from rlmd.memory.anchor import Anchor
from rlmd.memory.schema import SEQ_BITS
from rlmd.memory.words import identifier_parts

FORGOTTEN = "deleted"
SUPERSEDED = "superseded"
LIVE = "live"

_encoded = json.JSONEncoder(ensure_ascii=False).encode
Row = dict[str, str | int | bytes | None]


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
    """Finds and advances rows inside the open transaction of *db*.

    What it is told to write it gathers, and writes all of it at once with `flush`: indexes and the log
    cost by the statement, not by the row.  Nobody else may write these tables meanwhile, and whoever
    reads them by other means flushes before.
    """

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db
        self._projects: dict[str, int] = {}
        self._known: dict[tuple[int, str], Standing | None] = {}
        self._created: list[Row] = []
        self._advanced: list[Row] = []
        self._anchors: list[Row] = []
        self._emptied: list[int] = []
        self._touched: set[int | tuple[int, str]] = set()
        self._seq: int | None = None

    def expect(self, places: Iterable[tuple[str, str]]) -> None:
        """Read the rows of these projects and keys in one go, for `find` to know them."""
        asked = list(dict.fromkeys(places))
        for at, project_id, *row in self._db.execute(_EXPECTED, {"places": json.dumps(asked)}).fetchall():
            project, key = asked[cast("int", at)]
            self._projects[project] = cast("int", project_id)
            self._known[self._projects[project], key] = None if row[0] is None else Standing(*row)  # type: ignore[arg-type]  # as the columns are declared

    def project_id(self, name: str, *, create: bool) -> int | None:
        """Return the number of a project, making it one if *create*."""
        if name not in self._projects:
            found = self._db.execute(_PROJECT, {"name": name}).get
            if found is None and create:
                found = self._db.execute(_NEW_PROJECT, {"name": name, "now": time.time_ns()}).get
            if found is None:
                return None
            self._projects[name] = cast("int", found)
        return self._projects[name]

    def find(self, project_id: int | None, key: str) -> Standing | None:
        """Return the row of *key*, if it has one."""
        if project_id is None:
            return None
        place = project_id, key
        if place in self._touched:
            self.flush()
        if place in self._known:
            return self._known[place]
        row = self._db.execute(_FIND, {"project": project_id, "key": key}).fetchone()
        return None if row is None else Standing(*row)

    def with_id(self, id_: int) -> tuple[str, Standing]:
        """Return a key and its row by the row's number."""
        self.flush()
        key, *row = cast("list[object]", list(self._db.execute(_BY_ID, {"id": id_}).fetchone() or ()))
        return cast("str", key), Standing(*row)  # type: ignore[arg-type]  # as the columns are declared

    def create(self, project_id: int, key: str, version: Version, rev: int = 1) -> int:
        """Insert the first version of *key* and return the row's id."""
        seq = self._next_seq()
        id_ = (project_id << SEQ_BITS) + seq
        row = _row(key, version, rev, seq)
        row |= {"id": id_, "project": project_id, "key": key}
        self._created.append(row)
        self._touched |= {id_, (project_id, key)}
        self._attach(id_, rev, version.anchors)
        return id_

    def advance(self, standing: Standing, key: str, version: Version) -> int:
        """Keep the version that stands, put the next in its place, and return its number."""
        if standing.id in self._touched:
            self.flush()
        rev = standing.rev + 1
        row = _row(key, version, rev, self._next_seq())
        row["id"] = standing.id
        self._advanced.append(row)
        self._touched |= {standing.id, (standing.id >> SEQ_BITS, key)}
        self._attach(standing.id, rev, version.anchors)
        return rev

    def standing_version(self, id_: int) -> Version:
        """Read what the row says now."""
        return self._version(_READ, {"id": id_})

    def version_before(self, standing: Standing) -> Version | None:
        """Read the version before the one that stands, if it was kept."""
        before = {"id": standing.id, "rev": standing.rev - 1}
        self.flush()
        kept = self._db.execute(_IS_KEPT, before).get
        return self._version(_READ_KEPT, before) if kept else None

    def keep_only_number(self, standing: Standing) -> None:
        """Leave of a row its key and the number of its version; what it said goes, history included."""
        row = _row("", Version(at_ns=now(), state=FORGOTTEN), standing.rev, self._next_seq())
        row["id"] = standing.id
        self._advanced.append(row)
        self._emptied.append(standing.id)
        self._touched.add(standing.id)

    def remove(self, standing: Standing) -> None:
        """Delete a row with all that hangs on it."""
        self.flush()
        self._known.clear()
        self._db.execute("DELETE FROM memory WHERE id = :id", {"id": standing.id})

    def flush(self) -> None:
        """Write what was gathered, the indexes of tags and words included."""
        if not self._touched:
            return
        created, advanced, anchors, emptied = self._created, self._advanced, self._anchors, self._emptied
        self._created, self._advanced, self._anchors, self._emptied = [], [], [], []
        self._touched.clear()
        self._known.clear()
        self._db.execute("UPDATE counter SET seq = :seq", {"seq": self._seq})
        self._db.executemany(_INSERT, created)
        if advanced:
            old = {"ids": json.dumps([row["id"] for row in advanced])}
            for statement in (_KEEP_VERSIONS, _TAKE_WORDS_OUT, _TAKE_TAGS_OUT):
                self._db.execute(statement, old)
            self._db.executemany(_UPDATE, advanced)
        if emptied:
            for table in ("memory_rev", "anchor"):
                self._db.execute(_EMPTY.format(table=table), {"ids": json.dumps(emptied)})
        self._db.executemany(_ATTACH, anchors)
        new = {"ids": json.dumps([row["id"] for row in (*created, *advanced) if row["state"] == LIVE])}
        self._db.execute(_PUT_TAGS_IN, new)
        self._db.execute(_PUT_WORDS_IN, new)

    def _version(self, sql: str, params: dict[str, int]) -> Version:
        self.flush()
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

    def _attach(self, id_: int, rev: int, anchors: tuple[Anchor, ...]) -> None:
        self._anchors += [
            {
                "id": id_,
                "rev": rev,
                "place": place,
                "path": anchor.path,
                "start": anchor.start_line,
                "end": anchor.end_line,
                "span": anchor.span,
                "hash": anchor.span_hash,
                "above": _encoded(anchor.above),
                "below": _encoded(anchor.below),
                "sha256": anchor.file_sha256,
            }
            for place, anchor in enumerate(anchors)
        ]

    def _next_seq(self) -> int:
        if self._seq is None:
            self._seq = cast("int", self._db.execute("SELECT seq FROM counter").get)
        self._seq += 1
        return self._seq


def _row(key: str, version: Version, rev: int, seq: int) -> Row:
    return {
        "value": version.value,
        "words": identifier_parts(key, version.value) if version.state == LIVE else "",
        "kind": version.kind,
        "tags": _encoded(version.tags),
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

_EXPECTED = """
SELECT j.key, p.id, m.id, m.rev, m.state, m.expires_ns, m.supersedes
FROM json_each(:places) j CROSS JOIN project p ON p.name = j.value ->> 0
LEFT JOIN memory m ON m.project_id = p.id AND m.key = j.value ->> 1
"""

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

_KEEP_VERSIONS = """
INSERT INTO memory_rev(memory_id, rev, seq, value, kind, tags, state, session, agent, updated_ns, expires_ns,
                       supersedes, superseded_by)
SELECT id, rev, seq, value, kind, tags, state, session, agent, updated_ns, expires_ns,
       supersedes, superseded_by
FROM memory WHERE id IN (SELECT value FROM json_each(:ids))
"""

_TAKE_WORDS_OUT = """
INSERT INTO memory_fts(memory_fts, rowid, key, value, words, tags)
SELECT 'delete', id, key, value, words, tags FROM memory
WHERE id IN (SELECT value FROM json_each(:ids)) AND state = 'live'
"""

_PUT_WORDS_IN = """
INSERT INTO memory_fts(rowid, key, value, words, tags)
SELECT m.id, m.key, m.value, m.words, m.tags FROM json_each(:ids) j CROSS JOIN memory m ON m.id = j.value
"""

_TAKE_TAGS_OUT = """
DELETE FROM memory_tag WHERE (project_id, tag, seq) IN (
  SELECT m.project_id, t.value, m.seq FROM json_each(:ids) j CROSS JOIN memory m ON m.id = j.value
  CROSS JOIN json_each(m.tags) t WHERE m.state = 'live')
"""

_PUT_TAGS_IN = """
INSERT INTO memory_tag(project_id, tag, seq, memory_id)
SELECT m.project_id, t.value, m.seq, m.id FROM json_each(:ids) j CROSS JOIN memory m ON m.id = j.value
CROSS JOIN json_each(m.tags) t
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

_EMPTY = "DELETE FROM {table} WHERE memory_id IN (SELECT value FROM json_each(:ids))"

_ATTACH = """
INSERT INTO anchor(memory_id, rev, place, path, start_line, end_line, span, span_hash, above, below,
                   file_sha256)
VALUES (:id, :rev, :place, :path, :start, :end, :span, :hash, :above, :below, :sha256)
"""

_ANCHORS = """
SELECT path, start_line, end_line, span, span_hash, above, below, file_sha256 FROM anchor
WHERE memory_id = :id AND rev = :rev ORDER BY place
"""
