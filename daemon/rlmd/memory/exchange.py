"""Memories as lines of JSON, one version a line in the order they were written, and back again.

Each line hashes its own version and names the hash of the one before, so that an import knows a line
that was changed, and a history that is another than the one it continues.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from typing import cast

import apsw

from rlmd.errors import BadArgument
from rlmd.memory.anchor import Anchor
from rlmd.memory.entry import EVERY_PROJECT
from rlmd.memory.rows import FORGOTTEN, LIVE, SUPERSEDED, Rows, Standing, Version, read_anchors
from rlmd.memory.words import require_text
from rlmd.redact import redact

FORMAT = 1
PAGE_BYTES = 512 << 10

Json = dict[str, object]


@dataclass(frozen=True, slots=True)
class Exported:
    """Some lines, and where the next begin; None after the last."""

    lines: tuple[str, ...]
    next_cursor: int | None


@dataclass(frozen=True, slots=True)
class Import:
    """Lines of an export to take over, in their order."""

    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Imported:
    """How many versions were new, how many were there already, and which keys stand otherwise here."""

    imported: int
    unchanged: int
    conflicts: tuple[str, ...]
    redactions: int = 0


def export(db: apsw.Connection, project: str, after: int, page_bytes: int = PAGE_BYTES) -> Exported:
    """Return the versions of *project* ("*" = all) written after number *after*, oldest first.

    A version keeps its number for good, so following the cursor misses nothing that stood all the while.
    """
    lines: list[str] = []
    size, last = 0, after
    with db:
        asked = {"project": project, "all": project == EVERY_PROJECT, "after": after}
        for id_, rev, seq in cast("list[tuple[int, int, int]]", db.execute(_VERSIONS, asked)):
            line = json.dumps(_line(db, id_, rev), ensure_ascii=False, separators=(",", ":"))
            size += len(line)
            if lines and size > page_bytes:
                return Exported(tuple(lines), last)
            lines.append(line)
            last = seq
    return Exported(tuple(lines), None)


def take_over(db: apsw.Connection, request: Import, *, max_value_bytes: int) -> Imported:
    """Write the versions that continue what stands here; leave alone whatever stands otherwise.

    Raises BadArgument for a line that is none, or that was changed after it was written.
    """
    taker = _Taker(db, max_value_bytes)
    for number, line in enumerate(request.lines, start=1):
        try:
            taker.take(json.loads(line))
        except (ValueError, KeyError, TypeError, BadArgument) as exc:
            raise BadArgument(f"Line {number} of the import: {exc}", "Nothing of it was imported.") from exc
    taker.rows.flush()
    return Imported(taker.imported, taker.unchanged, tuple(taker.conflicts), taker.redactions)


class _Taker:
    def __init__(self, db: apsw.Connection, max_value_bytes: int) -> None:
        self._db = db
        self.rows = Rows(db)
        self._max_value_bytes = max_value_bytes
        self.imported = self.unchanged = self.redactions = 0
        self.conflicts: dict[str, None] = {}

    def take(self, line: Json) -> None:
        project, key, rev = (
            cast("str", line["project"]),
            cast("str", line["key"]),
            cast("int", line["version"]),
        )
        require_text("project", project, most=4_096)
        require_text("key", key, most=256)
        if line["sha256"] != _hash(line):
            raise BadArgument(f"{key!r} version {rev} was changed after it was exported")
        project_id = cast("int", self.rows.project_id(project, create=True))
        standing = self.rows.find(project_id, key)
        if standing is not None:
            self.rows.flush()
        if standing is not None and rev <= standing.rev:
            self._compare(standing, line, rev)
        elif standing is None or (
            rev == standing.rev + 1 and _hash_of(self._db, standing.id, standing.rev) == line["previous"]
        ):
            self._write(project_id, standing, line, rev)
        else:
            self.conflicts[key] = None

    def _compare(self, standing: Standing, line: Json, rev: int) -> None:
        if _hash_of(self._db, standing.id, rev) == line["sha256"]:
            self.unchanged += 1
        else:
            self.conflicts[cast("str", line["key"])] = None

    def _write(self, project_id: int, standing: Standing | None, line: Json, rev: int) -> None:
        key = cast("str", line["key"])
        version = self._version(project_id, line)
        if standing is None:
            self.rows.create(project_id, key, version, rev)
        else:
            self.rows.advance(standing, key, version)
        self.imported += 1

    def _version(self, project_id: int, line: Json) -> Version:
        value = redact(cast("str", line["value"]))
        require_text("value", value.text, least=0, most=self._max_value_bytes)
        self.redactions += value.count
        return Version(
            value=value.text,
            kind=cast("str", line["kind"]),
            tags=tuple(cast("list[str]", line["tags"])),
            state=_STATES[cast("str", line["state"])],
            session=cast("str | None", line["session"]),
            agent=cast("str | None", line["agent"]),
            at_ns=cast("int", line["stored_at_ns"]),
            expires_ns=cast("int | None", line["expires_at_ns"]),
            supersedes=self._id_of(project_id, line["supersedes"]),
            superseded_by=self._id_of(project_id, line["superseded_by"]),
            anchors=tuple(_anchor(each) for each in cast("list[Json]", line["anchors"])),
        )

    def _id_of(self, project_id: int, key: object) -> int | None:
        found = None if key is None else self.rows.find(project_id, cast("str", key))
        return None if found is None else found.id


def _line(db: apsw.Connection, id_: int, rev: int) -> Json:
    """Return one version as it is written down, with the hashes of itself and of the one before."""
    line = _facts(db, id_, rev)
    line["previous"] = _hash_of(db, id_, rev - 1)
    return line | {"sha256": _hash(line)}


def _hash_of(db: apsw.Connection, id_: int, rev: int) -> str | None:
    """Return the hash that a kept version would be exported with; None for one that is not kept."""
    known = db.execute(_READ, {"id": id_, "rev": rev}).fetchone()
    return None if known is None else _hash(_facts(db, id_, rev))


def _hash(line: Json) -> str:
    """Hash what a version says: neither its project, which an import may name anew, nor other versions."""
    said = {name: value for name, value in line.items() if name not in {"project", "previous", "sha256"}}
    text = json.dumps(said, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _facts(db: apsw.Connection, id_: int, rev: int) -> Json:
    row = db.execute(_READ, {"id": id_, "rev": rev}).fetchone()
    assert row is not None
    line: Json = dict(zip(_NAMES, row, strict=True))
    line["rlmd_memory"] = FORMAT
    line["tags"] = json.loads(cast("str", line["tags"]))
    line["state"] = {state: name for name, state in _STATES.items()}[cast("str", line["state"])]
    line["anchors"] = [_anchor_line(anchor) for anchor in read_anchors(db, id_, rev)]
    return line


def _anchor_line(anchor: Anchor) -> Json:
    return {
        "path": anchor.path,
        "start_line": anchor.start_line,
        "end_line": anchor.end_line,
        "span": anchor.span,
        "span_hash": base64.b64encode(anchor.span_hash).decode(),
        "above": list(anchor.above),
        "below": list(anchor.below),
        "file_sha256": anchor.file_sha256,
    }


def _anchor(line: Json) -> Anchor:
    return Anchor(
        path=cast("str", line["path"]),
        start_line=cast("int", line["start_line"]),
        end_line=cast("int", line["end_line"]),
        span=cast("str", line["span"]),
        span_hash=base64.b64decode(cast("str", line["span_hash"])),
        above=tuple(cast("list[str]", line["above"])),
        below=tuple(cast("list[str]", line["below"])),
        file_sha256=cast("str", line["file_sha256"]),
    )


_STATES = {"live": LIVE, "superseded": SUPERSEDED, "forgotten": FORGOTTEN}

_NAMES = (
    "project",
    "key",
    "version",
    "value",
    "kind",
    "tags",
    "state",
    "session",
    "agent",
    "stored_at_ns",
    "expires_at_ns",
    "supersedes",
    "superseded_by",
)

_VERSIONS = """
SELECT id, rev, seq FROM (
  SELECT m.id, m.rev, m.seq, m.project_id FROM memory m WHERE m.seq > :after
  UNION ALL
  SELECT m.id, r.rev, r.seq, m.project_id FROM memory_rev r JOIN memory m ON m.id = r.memory_id
  WHERE r.seq > :after
) v WHERE :all OR v.project_id = (SELECT id FROM project WHERE name = :project) ORDER BY seq
"""

_READ = """
SELECT p.name, m.key, v.rev, v.value, v.kind, v.tags, v.state, v.session, v.agent, v.updated_ns,
       v.expires_ns, s.key, b.key
FROM (
  SELECT id, rev, value, kind, tags, state, session, agent, updated_ns, expires_ns, supersedes, superseded_by
  FROM memory WHERE id = :id AND rev = :rev
  UNION ALL
  SELECT memory_id, rev, value, kind, tags, state, session, agent, updated_ns, expires_ns,
         supersedes, superseded_by
  FROM memory_rev WHERE memory_id = :id AND rev = :rev
) v JOIN memory m ON m.id = v.id JOIN project p ON p.id = m.project_id
LEFT JOIN memory s ON s.id = v.supersedes LEFT JOIN memory b ON b.id = v.superseded_by
"""
