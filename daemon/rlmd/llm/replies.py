"""The file behind the response cache; used by one thread at a time."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import apsw

from rlmd.llm.values import Reply, Usage
from rlmd.store import Schema, open_disposable, remove_database


def _make_tables(db: apsw.Connection) -> None:
    db.execute(
        "CREATE TABLE reply(key BLOB PRIMARY KEY, used INTEGER NOT NULL, expires REAL NOT NULL, "
        "body TEXT NOT NULL) STRICT"
    )


SCHEMA = Schema(application_id=0x726C6D63, migrations=(_make_tables,))


@dataclass(frozen=True, slots=True)
class Entry:
    """A reply to be written."""

    key: bytes
    expires: float
    body: str


class ReplyFile:
    """Replies by key, each with its wall-clock second of expiry and its place in the order of use."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._used = 0
        self._db = open_disposable(path, SCHEMA)

    def remake(self) -> None:
        """Begin with an empty file, whatever is wrong with this one."""
        self._db.close(True)
        remove_database(self._path)
        self._db = open_disposable(self._path, SCHEMA)

    def load(self, now: float) -> list[tuple[bytes, float]]:
        """Drop what has expired and return key and expiry of the rest, those unused the longest first."""
        self._db.execute("DELETE FROM reply WHERE expires <= :now", {"now": now})
        self._used = cast("int", self._db.execute("SELECT coalesce(max(used), 0) FROM reply").get)
        rows = self._db.execute("SELECT key, expires FROM reply ORDER BY used").fetchall()
        return cast("list[tuple[bytes, float]]", rows)

    def read(self, key: bytes) -> str | None:
        """Return the body of *key*, None where there is none."""
        body = self._db.execute("SELECT body FROM reply WHERE key = :key", {"key": key}).get
        return cast("str | None", body)

    def write(self, entries: Iterable[Entry], used: Iterable[bytes], dropped: Iterable[bytes]) -> None:
        """Store *entries*, forget *dropped*, and note that *used* were used, the last one latest."""
        with self._db:
            self._db.executemany("DELETE FROM reply WHERE key = :key", ({"key": key} for key in dropped))
            for entry in entries:
                self._db.execute(_PUT, {"key": entry.key, "expires": entry.expires, "body": entry.body})
            for key in used:
                self._used += 1
                self._db.execute(
                    "UPDATE reply SET used = :used WHERE key = :key", {"used": self._used, "key": key}
                )

    def close(self) -> None:
        """Close the file."""
        self._db.close(True)


_PUT = """
INSERT INTO reply(key, used, expires, body) VALUES (:key, 0, :expires, :body)
ON CONFLICT(key) DO UPDATE SET expires = excluded.expires, body = excluded.body
"""


def encode(reply: Reply) -> str:
    """Write *reply* down."""
    usage = reply.usage
    counted = [usage.tokens_in, usage.tokens_out, usage.cached_tokens, usage.usd]
    return json.dumps([reply.text, reply.finish_reason, counted, reply.model])


def decode(body: str) -> Reply:
    """Read what `encode` wrote; anything else raises TypeError or ValueError."""
    text, finish_reason, counted, model = json.loads(body)
    return Reply(text, finish_reason, Usage(*counted), model)
