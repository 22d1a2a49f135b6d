"""What memory.db needs beside being written: expiry, and copies that forget what it forgot."""

from __future__ import annotations

import glob
import os
from datetime import UTC, datetime
from typing import cast

import apsw

from rlmd.errors import Busy
from rlmd.memory.batch import forget_deleted_words
from rlmd.memory.rows import Rows, now
from rlmd.store import copy_database

_RECEIPTS_KEPT_NS = 7 * 86_400 * 10**9
_ROWS_AT_ONCE = 500
BACKUPS = "backups"


def tidy(db: apsw.Connection) -> int:
    """Take out what has expired and receipts older than a week, some hundreds of each; return how many.

    Of an expired key only its number of versions stays, so that no number is given twice.
    """
    rows = Rows(db)
    expired = db.execute(_EXPIRED, {"now": now(), "most": _ROWS_AT_ONCE}).fetchall()
    for (id_,) in cast("list[tuple[int]]", expired):
        rows.keep_only_number(rows.with_id(id_)[1])
    rows.flush()
    before = db.total_changes()
    db.execute(_PRUNE_RECEIPTS, {"before": now() - _RECEIPTS_KEPT_NS, "most": _ROWS_AT_ONCE})
    return len(expired) + db.total_changes() - before


def copies_of(path: str) -> list[str]:
    """Return the backups that lie with *path*: those before migrations, and those asked for."""
    home = os.path.dirname(path)
    return sorted(
        [*glob.glob(f"{glob.escape(path)}.v*.bak"), *glob.glob(f"{glob.escape(home)}/{BACKUPS}/*.db")]
    )


def back_up(path: str) -> str:
    """Write a whole, private and synced copy into `backups` beside *path*; return where it is.

    It is as of one moment, and writes go on meanwhile.  Raises Busy where the disk refuses.
    """
    home = os.path.join(os.path.dirname(path), BACKUPS)
    stamp = datetime.now(tz=UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    target = os.path.join(home, f"memory-{stamp}.db")
    try:
        os.makedirs(home, mode=0o700, exist_ok=True)
        copy_database(path, target)
    except (OSError, apsw.Error) as exc:
        raise Busy(
            f"The backup could not be written: {exc}.", "Free or mend the disk and try again."
        ) from exc
    return target


def purge_in_copy(copy: str, project: str, key: str) -> bool:
    """Remove a key with all its versions and traces from a backup; say whether it was there.

    Backups of every schema have the tables that this needs.  Raises apsw.Error.
    """
    db = apsw.Connection(copy, flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        db.execute(
            "PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON; PRAGMA temp_store = MEMORY"
        ).fetchall()
        named = {"project": project, "key": key}
        with db:
            found = db.execute(_DELETE, named).get is not None
            receipts = db.execute(_DELETE_RECEIPTS, named).get is not None
            if found:
                forget_deleted_words(db)
        if found or receipts:
            db.execute("VACUUM")
        return found
    finally:
        db.close(True)


_EXPIRED = "SELECT id FROM memory WHERE expires_ns <= :now LIMIT :most"

_PRUNE_RECEIPTS = """
DELETE FROM receipt WHERE (project_id, request_id) IN (
  SELECT project_id, request_id FROM receipt WHERE at_ns < :before LIMIT :most)
"""

_DELETE = """
DELETE FROM memory WHERE key = :key AND project_id = (SELECT id FROM project WHERE name = :project)
RETURNING id
"""

_DELETE_RECEIPTS = """
DELETE FROM receipt WHERE key = :key AND project_id = (SELECT id FROM project WHERE name = :project)
RETURNING key
"""
