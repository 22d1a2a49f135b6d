"""What each request_id was answered, so that asking twice writes once."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import NamedTuple, cast

import apsw

from rlmd.errors import BadArgument
from rlmd.memory.rows import Rows


class Receipt(NamedTuple):
    """The answer to a request: which key it wrote, as which version."""

    key: str
    rev: int
    created: bool


class Receipts:
    """Knows the answers that were given, those of the open transaction included, and keeps new ones."""

    def __init__(self, db: apsw.Connection, rows: Rows) -> None:
        self._db = db
        self._rows = rows
        self._known: dict[tuple[int, str], Receipt] = {}
        self._new: list[dict[str, int | str]] = []

    def expect(self, requests: Iterable[tuple[str, str]]) -> None:
        """Read the receipts of these projects and request ids in one go: `find` knows no others."""
        asked = json.dumps(list(dict.fromkeys(requests)))
        if asked == "[]":
            return
        for project, request, key, rev, created in cast(
            "list[tuple[int, str, str, int, int]]", self._db.execute(_EXPECTED, {"asked": asked}).fetchall()
        ):
            self._known[project, request] = Receipt(key, rev, bool(created))

    def find(self, project_id: int, request_id: str, key: str) -> Receipt | None:
        """Return what the request was answered before, if it was; raise BadArgument for another's id."""
        known = self._known.get((project_id, request_id))
        if known is not None and known.key != key:
            raise BadArgument(
                f"`request_id` {request_id!r} was used to store another key, {known.key!r}.",
                "A new request takes a new id; only a repeated one takes the old.",
            )
        return known

    def keep(self, project_id: int, request_id: str, receipt: Receipt, at_ns: int) -> None:
        """Remember an answer; `flush` writes it."""
        self._known[project_id, request_id] = receipt
        self._new.append(
            {
                "project": project_id,
                "request": request_id,
                "key": receipt.key,
                "rev": receipt.rev,
                "created": receipt.created,
                "now": at_ns,
            }
        )

    def forget(self, project_id: int, key: str) -> None:
        """Delete every receipt that names *key*."""
        self.flush()
        self._known = {
            place: said for place, said in self._known.items() if (place[0], said.key) != (project_id, key)
        }
        self._db.execute(_PURGE, {"project": project_id, "key": key})

    def flush(self) -> None:
        """Write what is kept."""
        new, self._new = self._new, []
        if new:
            self._db.executemany(_WRITE, new)


_EXPECTED = """
SELECT r.project_id, r.request_id, r.key, r.rev, r.created
FROM json_each(:asked) j CROSS JOIN project p ON p.name = j.value ->> 0
CROSS JOIN receipt r ON r.project_id = p.id AND r.request_id = j.value ->> 1
"""

_WRITE = """
INSERT INTO receipt(project_id, request_id, key, rev, created, at_ns)
VALUES (:project, :request, :key, :rev, :created, :now)
"""

_PURGE = "DELETE FROM receipt WHERE project_id = :project AND key = :key"
