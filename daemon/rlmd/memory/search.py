"""How a question becomes SQL, for one read-only connection in one thread."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple, cast

import apsw

from rlmd.memory.ask import Item, Page, Place, Recall, instant_ns, iso, place_of
from rlmd.memory.entry import EVERY_PROJECT, State
from rlmd.memory.query import Planner
from rlmd.memory.ranking import Params, Ranking, Weights
from rlmd.memory.rows import read_anchors
from rlmd.memory.schema import SEQ_BITS

_SHORT_TAG = 2_000
_HOLD = {"any": " OR ", "all": " AND "}


class _Found(NamedTuple):
    """A memory that belongs on the page; `seq` is its place among the newest."""

    id: int
    seq: int = 0
    score: float = 1.0


class Reader:
    """A connection, and the questions it can answer."""

    def __init__(self, db: apsw.Connection, weights: Weights | None = None) -> None:
        self.db = db
        self._planner = Planner(db)
        self._ranking = Ranking(db, self._planner, weights)

    def count(self) -> int:
        """Count the memories that stand."""
        return cast("int", self.db.execute(_COUNT, {"now": time.time_ns()}).get)

    def recall(self, request: Recall) -> Page:
        """Answer from one state of the file."""
        with self.db:
            projects = self._projects(request.project)
            if not projects:
                return Page()
            mark = cast("int", self.db.execute("SELECT seq FROM counter").get)
            place = place_of(request) or Place(mark, seq=mark + 1)
            found = self._find(request, projects, place)
            page = found[: request.limit]
            items = tuple(self._item(one, request) for one in page)
            anchors = tuple(
                read_anchors(self.db, one.id, item.version) for one, item in zip(page, items, strict=True)
            )
        if len(found) == len(page):
            return Page(items, anchors)
        shown = (*place.shown, *(one.id for one in page)) if request.query is not None else ()
        end = Place(place.mark, items[-1].key, page[-1].id, page[-1].seq, shown)
        return Page(items, anchors, end.cursor(request))

    def _projects(self, name: str) -> list[int]:
        sql = (
            "SELECT id FROM project" if name == EVERY_PROJECT else "SELECT id FROM project WHERE name = :name"
        )
        return [cast("int", row[0]) for row in self.db.execute(sql, {"name": name})]

    def _find(self, request: Recall, projects: list[int], place: Place) -> list[_Found]:
        """Return what comes after *place*, one more than the limit where there is more."""
        if request.history:
            asked = {
                "project": projects[0],
                "key": request.key,
                "before": place.seq,
                "most": request.limit + 1,
            }
            rows = self.db.execute(_HISTORY, asked).fetchall()
            return [_Found(*cast("tuple[int, int]", row)) for row in rows]
        where, params = _conditions(request)
        params |= {"mark": place.mark, "seq_bits": (1 << SEQ_BITS) - 1, "most": request.limit + 1}
        if request.project != EVERY_PROJECT:
            where += " AND m.project_id = :project"
            params["project"] = projects[0]
        if request.query is not None:
            return self._by_text(request, where, params, place)
        if request.key is not None or request.prefix is not None:
            params |= {"after_key": place.key, "after_id": place.id}
            rows = self.db.execute(_BY_KEY.format(where=where), params).fetchall()
            return [_Found(cast("int", id_)) for (id_,) in rows]
        return self._newest(request, projects, where, params, place)

    def _by_text(self, request: Recall, where: str, params: Params, place: Place) -> list[_Found]:
        """Rank what holds one of the rarer words; fill up with the newest that hold a common one."""
        tags = self._planner.tagged(request.tags, _HOLD[request.match]) if request.tags else ""
        match = self._planner.plan(request.query or "", tags)
        project = cast("int", params.get("project", 0))
        low, high = (project << SEQ_BITS, (project + 1) << SEQ_BITS) if project else (0, (1 << 63) - 1)
        most = cast("int", params["most"])
        params |= {"low": low, "high": high}
        found = []
        if match.rare:
            ranked = self._ranking.best(match, params, where, place.shown)
            found = [_Found(id_, 0, score) for id_, score in ranked]
        for question in (match.all, match.every):
            if question and len(found) < most:
                shown = json.dumps([*place.shown, *(one.id for one in found)])
                params |= {"match": question, "shown": shown, "most": most - len(found)}
                rows = self.db.execute(_BY_AGE_OF_MATCH.format(where=where), params).fetchall()
                found += [_Found(*cast("tuple[int, int, float]", row)) for row in rows]
        return found

    def _newest(
        self, request: Recall, projects: list[int], where: str, params: Params, place: Place
    ) -> list[_Found]:
        """Merge the newest of each tag, each read in the order of its index.

        A memory that was written again since the first page keeps the place it had then.
        """
        params["before"] = place.seq
        most = cast("int", params["most"])
        tags = tuple(dict.fromkeys(request.tags))
        if len(tags) > 1 and request.match == "all":
            sources = list(self._with_all(tags, projects, where, params))
        elif tags:
            sources = [
                (_NEWEST_OF_TAG, params | {"project": project, "tag": tag, "floor": 0})
                for project in projects
                for tag in tags
            ]
        else:
            sources = [(_NEWEST, params)]
        if request.cursor is not None:
            sources.append((_WRITTEN_SINCE, params))
        rows = {row for sql, bound in sources for row in self.db.execute(sql.format(where=where), bound)}
        found = [_Found(*cast("tuple[int, int]", row)) for row in rows]
        return sorted(found, key=lambda one: -one.seq)[:most]

    def _with_all(
        self, tags: tuple[str, ...], projects: list[int], where: str, params: Params
    ) -> Iterator[tuple[str, Params]]:
        """Yield, per project, how to find what has all of *tags*: among the newest of the rarest first.

        Where those do not fill the page, what many have is met in the full-text index, which leaps
        from one to the next.
        """
        question = self._planner.tagged(tags, " AND ")
        for project in projects:
            counted = ((self._count_tag(project, tag), tag) for tag in tags)
            driving = params | {"project": project, "tag": min(counted)[1]}
            floor = cast("int | None", self.db.execute(_FLOOR, driving).get) if question else None
            driving["floor"] = floor or 0
            found = self.db.execute(_NEWEST_OF_TAG.format(where=where), driving).fetchall()
            if floor is None or len(found) >= cast("int", params["most"]):
                yield _NEWEST_OF_TAG, driving
            else:
                low, high = project << SEQ_BITS, (project + 1) << SEQ_BITS
                yield _NEWEST_OF_MATCH, params | {"match": question, "low": low, "high": high}

    def _count_tag(self, project: int, tag: str) -> int:
        return cast("int", self.db.execute(_COUNT_TAG, {"project": project, "tag": tag}).get)

    def _item(self, found: _Found, request: Recall) -> Item:
        asked = {"id": found.id, "chars": request.value_chars, "seq": found.seq}
        row = self.db.execute(_ITEM_OF_HISTORY if request.history else _ITEM, asked).fetchone()
        key, value, chars, tags, project, version, updated_ns, state, successor = cast(
            "tuple[str, str, int, str, str, int, int, str, str | None]", row
        )
        if chars > request.value_chars:
            value += (
                f"… [cut: {request.value_chars} of {chars} characters; a larger value_chars gets the rest]"
            )
        return Item(
            key=key,
            value=value,
            tags=tuple(json.loads(tags)),
            project=project,
            version=version,
            stored_at=iso(updated_ns),
            score=found.score,
            superseded_by=successor,
            state=_STATES[state],
        )


def _conditions(request: Recall) -> tuple[str, Params]:
    """Return what holds for every memory that is returned, as SQL over `m`, but for its project."""
    standing = "m.state = 'live'" if request.key is None else "m.state IN ('live', 'superseded')"
    parts = [f"{standing} AND (m.expires_ns IS NULL OR m.expires_ns > :now)"]
    params: Params = {"now": time.time_ns()}
    if request.key is not None:
        parts.append("m.key = :key")
        params["key"] = request.key
    if request.prefix is not None:
        parts.append("m.key >= :prefix AND m.key < :beyond")
        params |= {"prefix": request.prefix, "beyond": request.prefix + "\U0010ffff"}
    if request.kind is not None:
        parts.append("m.kind = :kind")
        params["kind"] = request.kind
    if request.since is not None:
        parts.append("m.updated_ns >= :since")
        params["since"] = instant_ns("since", request.since, end_of_day=False)
    if request.until is not None:
        parts.append("m.updated_ns <= :until")
        params["until"] = instant_ns("until", request.until, end_of_day=True)
    if tags := sorted(set(request.tags)):
        parts.append(f"{_TAGS_HELD.format(wanted='tags')} >= :tags_needed")
        params |= {"tags": json.dumps(tags), "tags_needed": 1 if request.match == "any" else len(tags)}
    if request.not_tags:
        parts.append(f"{_TAGS_HELD.format(wanted='not_tags')} = 0")
        params["not_tags"] = json.dumps(request.not_tags)
    return " AND ".join(parts), params


# The one thing ever put into these texts is {where}: fragments of this file, their values bound.

_TAGS_HELD = """(
  SELECT count(*) FROM memory_tag h
  WHERE h.project_id = m.project_id AND h.seq = m.seq AND h.tag IN (SELECT value FROM json_each(:{wanted})))
"""

_COUNT = "SELECT count(*) FROM memory WHERE state = 'live' AND (expires_ns IS NULL OR expires_ns > :now)"

_COUNT_TAG = f"""
SELECT count(*) FROM (SELECT 1 FROM memory_tag WHERE project_id = :project AND tag = :tag LIMIT {_SHORT_TAG})
"""  # noqa: S608  # a number of this file

_FLOOR = f"""
SELECT seq FROM memory_tag WHERE project_id = :project AND tag = :tag AND seq < :before
ORDER BY seq DESC LIMIT 1 OFFSET {_SHORT_TAG}
"""  # noqa: S608  # a number of this file

_BY_KEY = """
SELECT m.id FROM memory m WHERE {where} AND (m.key, m.id) > (:after_key, :after_id)
ORDER BY m.key, m.id LIMIT :most
"""

_BY_AGE_OF_MATCH = """
SELECT m.id, 0, 0.0 FROM memory_fts CROSS JOIN memory m ON m.id = memory_fts.rowid
WHERE memory_fts MATCH :match AND memory_fts.rowid BETWEEN :low AND :high
  AND (m.id & :seq_bits) <= :mark AND m.id NOT IN (SELECT value FROM json_each(:shown))
  AND {where}
ORDER BY memory_fts.rowid DESC LIMIT :most
"""

_NEWEST = """
SELECT m.id, m.seq FROM memory m WHERE {where} AND m.seq < :before ORDER BY m.seq DESC LIMIT :most
"""

_NEWEST_OF_TAG = """
SELECT m.id, t.seq FROM memory_tag t CROSS JOIN memory m ON m.id = t.memory_id
WHERE t.project_id = :project AND t.tag = :tag AND t.seq < :before AND t.seq > :floor AND {where}
ORDER BY t.seq DESC LIMIT :most
"""

_NEWEST_OF_MATCH = """
SELECT m.id, m.seq FROM memory_fts CROSS JOIN memory m ON m.id = memory_fts.rowid
WHERE memory_fts MATCH :match AND memory_fts.rowid BETWEEN :low AND :high AND m.seq < :before AND {where}
ORDER BY m.seq DESC LIMIT :most
"""

_WRITTEN_SINCE = """
SELECT m.id, (SELECT max(r.seq) FROM memory_rev r WHERE r.memory_id = m.id AND r.seq <= :mark) AS place
FROM memory m
WHERE m.seq > :mark AND (m.id & :seq_bits) <= :mark AND {where} AND place < :before
ORDER BY place DESC LIMIT :most
"""

_ITEM = """
SELECT m.key, substr(m.value, 1, :chars), length(m.value), m.tags, p.name, m.rev, m.updated_ns, m.state, s.key
FROM memory m JOIN project p ON p.id = m.project_id LEFT JOIN memory s ON s.id = m.superseded_by
WHERE m.id = :id
"""

_HISTORY = """
SELECT m.id, m.seq FROM memory m WHERE m.project_id = :project AND m.key = :key AND m.seq < :before
UNION ALL
SELECT r.memory_id, r.seq FROM memory m JOIN memory_rev r ON r.memory_id = m.id
WHERE m.project_id = :project AND m.key = :key AND r.seq < :before
ORDER BY 2 DESC LIMIT :most
"""

_ITEM_OF_HISTORY = """
SELECT m.key, substr(r.value, 1, :chars), length(r.value), r.tags, p.name, r.rev, r.updated_ns, r.state, s.key
FROM (
  SELECT id, rev, value, tags, updated_ns, state, superseded_by FROM memory WHERE id = :id AND seq = :seq
  UNION ALL
  SELECT memory_id, rev, value, tags, updated_ns, state, superseded_by FROM memory_rev
  WHERE memory_id = :id AND seq = :seq
) r JOIN memory m ON m.id = r.id JOIN project p ON p.id = m.project_id
LEFT JOIN memory s ON s.id = r.superseded_by
"""

_STATES: Mapping[str, State] = {"live": "live", "superseded": "superseded", "deleted": "forgotten"}
"""What callers call the states."""
