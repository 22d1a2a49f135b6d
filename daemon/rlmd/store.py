"""Opening and committing to the program's SQLite files: one writer each, any number of readers.

Everything goes through apsw, whose SQLite is the same everywhere and free of the WAL-reset bug of
3.7.0 to 3.51.2; a file opened by two SQLite libraries in one process loses its POSIX locks, so no
other may touch it, nor may anything here `open` a database that exists: closing it would drop them too.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar, cast
from urllib.parse import quote

import apsw

from rlmd import paths
from rlmd.errors import Busy, RequestError

Q = TypeVar("Q")
R = TypeVar("R")
Migration = Callable[[apsw.Connection], None]

_WRITER_PRAGMAS = """
PRAGMA synchronous = FULL;
PRAGMA fullfsync = ON;
PRAGMA checkpoint_fullfsync = ON;
PRAGMA foreign_keys = ON;
PRAGMA wal_autocheckpoint = 0;
PRAGMA journal_size_limit = 67108864;
PRAGMA temp_store = MEMORY;
PRAGMA cache_size = -32768;
PRAGMA trusted_schema = OFF;
PRAGMA cell_size_check = ON;
PRAGMA secure_delete = ON;
"""
_DISPOSABLE_PRAGMAS = """
PRAGMA synchronous = NORMAL;
PRAGMA wal_autocheckpoint = 1000;
"""
_READER_PRAGMAS = """
PRAGMA query_only = ON;
PRAGMA mmap_size = 268435456;
PRAGMA cache_size = -8192;
PRAGMA trusted_schema = OFF;
"""
_WRITER_PATIENCE_MS = 5_000
_READER_PATIENCE_MS = 1_000
_WAL_PAGES_BEFORE_READERS_MUST_WAIT = 16_384

_DISK_ERRORS = (apsw.FullError, apsw.IOError, apsw.CantOpenError, apsw.ReadOnlyError, apsw.BusyError)


class StoreRefused(Exception):
    """The file is not ours to write: foreign, newer than this program, or damaged.  Do not restart."""


@dataclass(frozen=True, slots=True)
class Schema:
    """What a file of ours is: `application_id` in its header, and the steps that lead to its tables.

    `user_version` counts the steps that were taken; each runs in a transaction of its own.
    """

    application_id: int
    migrations: tuple[Migration, ...]


def open_writer(path: str, schema: Schema) -> apsw.Connection:
    """Open the read-write connection of *path*, making or migrating the file first.

    The file is readable by its owner alone, and a copy as it was lies beside it (`.v3.bak` for one
    of version 3) before a migration changes anything.  Raises StoreRefused for a file that is not
    ours or too new, apsw.Error when the disk will not have it.
    """
    if (kind := paths.network_of(path)) is not None:
        raise StoreRefused(f"{path}: lies on {kind}, where locks do not hold; set RLMD_STATE_DIR elsewhere")
    if not os.path.lexists(path):
        _make(path)
    os.chmod(path, stat.S_IRUSR | stat.S_IWUSR)
    db = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        db.set_busy_timeout(_WRITER_PATIENCE_MS)
        version = _recognise(db, path, schema)
        _execute(db, "PRAGMA page_size = 4096; PRAGMA auto_vacuum = INCREMENTAL;")
        _require_wal(db, path)
        _execute(db, _WRITER_PRAGMAS)
        _migrate(db, path, schema, version)
    except (apsw.NotADBError, apsw.CorruptError) as exc:
        db.close(True)
        what = "is not a database" if isinstance(exc, apsw.NotADBError) else "is damaged"
        raise StoreRefused(f"{path}: {what}; move it away, or restore a backup") from exc
    except BaseException:  # nobody else could close it
        db.close(True)
        raise
    return db


def open_disposable(path: str, schema: Schema) -> apsw.Connection:
    """Open a file whose contents can be had again, as `open_writer` does but without waiting for the disk.

    A power cut may cost the latest commits.  Whatever cannot be used, a foreign file or one of a
    newer version too, is removed and made anew.
    """
    try:
        db = open_writer(path, schema)
    except (StoreRefused, apsw.CorruptError):
        remove_database(path)
        db = open_writer(path, schema)
    _execute(db, _DISPOSABLE_PRAGMAS)
    return db


def remove_database(path: str) -> None:
    """Remove the file *path* and what SQLite keeps beside it; nobody may have it open."""
    for suffix in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path + suffix)


def open_reader(path: str, temporary: str = "") -> apsw.Connection:
    """Open a connection that can change nothing; the writer must have opened *path* before.

    *temporary* is a script for what the connection needs of its own in the `temp` schema.
    """
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    db = apsw.Connection(f"file:{quote(path)}?mode=ro", flags=flags)
    db.set_busy_timeout(_READER_PATIENCE_MS)
    _execute(db, f"PRAGMA temp_store = MEMORY; {temporary} {_READER_PRAGMAS}")
    return db


def integrity(path: str) -> tuple[str, ...]:
    """Say what is wrong with the file; nothing when it is sound.

    Reads the whole file, full-text indexes included, by a connection of its own: one that has
    asked an FTS5 table before takes its own outdated notes of that table for corruption.
    """
    try:
        db = open_reader(path)
    except apsw.CorruptError as exc:
        return (str(exc),)
    try:
        found = [str(row[0]) for row in db.execute("PRAGMA integrity_check")]
        orphans = [f"{row[0]}: a row without its {row[2]}" for row in db.execute("PRAGMA foreign_key_check")]
    except apsw.CorruptError as exc:
        return (str(exc),)
    finally:
        db.close(True)
    return tuple(line for line in found if line != "ok") + tuple(orphans)


def copy_database(path: str, target: str) -> None:
    """Write a whole and synced copy of *path*, as of now, to *target*; others may write meanwhile."""
    db = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        db.set_busy_timeout(_WRITER_PATIENCE_MS)
        _back_up(db, target)
    finally:
        db.close(True)


def used_bytes(db: apsw.Connection) -> int:
    """Return the size of what the file holds, free pages left out, as the open transaction sees it."""
    pages = cast("int", _pragma(db, "page_count")) - cast("int", _pragma(db, "freelist_count"))
    return pages * cast("int", _pragma(db, "page_size"))


class Keeper:
    """Owner of the one read-write connection of a file; used by one thread at a time.

    A failing disk closes the connection and the next commit opens it anew: after an fsync that
    failed nobody knows what the kernel still holds, so nothing is tried twice on the same handle.
    """

    def __init__(self, path: str, schema: Schema) -> None:
        self._path = path
        self._schema = schema
        self._db: apsw.Connection | None = None
        self.wal_pages = 0
        self._connection()
        self.empty_log()

    def commit(
        self, requests: Sequence[Q], begin: Callable[[apsw.Connection], Callable[[Q], R]]
    ) -> list[R | RequestError]:
        """Apply each request inside one transaction and return one outcome each, as `transact` does.

        *begin* is called inside the transaction and returns what applies one request.  One that is
        refused by a RequestError leaves no trace and spares the others.
        """

        def apply_all(db: apsw.Connection, requests: Sequence[Q]) -> list[R | RequestError]:
            apply = begin(db)
            return [_attempt(db, request, apply) for request in requests]

        def apply_guarded(db: apsw.Connection, requests: Sequence[Q]) -> list[R | RequestError]:
            apply = begin(db)
            return [_attempt_guarded(db, request, apply) for request in requests]

        try:
            return self.transact(requests, apply_all)
        except _RefusedTooLateError:
            return self.transact(requests, apply_guarded)

    def transact(
        self,
        requests: Sequence[Q],
        apply: Callable[[apsw.Connection, Sequence[Q]], list[R]],
    ) -> list[R | RequestError]:
        """Let *apply* write all requests in one transaction; return its outcomes once that is on disk.

        When the disk fails, every outcome is Busy; anything else undoes the transaction and is raised.
        """
        try:
            db = self._connection()
            with _transaction(db):
                outcomes: list[R | RequestError] = [*apply(db, requests)]
        except _DISK_ERRORS as exc:
            self._abandon()
            return [_refusal(self._path, exc) for _ in requests]
        return outcomes

    def checkpoint(self) -> None:
        """Copy the write-ahead log into the file as far as readers allow, so that it can begin anew.

        A log that readers have kept from shrinking for long makes new ones wait a moment.
        """
        if self._db is None:
            return
        impatient = self.wal_pages > _WAL_PAGES_BEFORE_READERS_MUST_WAIT
        mode = apsw.SQLITE_CHECKPOINT_RESTART if impatient else apsw.SQLITE_CHECKPOINT_PASSIVE
        try:
            logged, copied = self._db.wal_checkpoint(mode=mode)
            self.wal_pages = max(0, logged - copied)
        except apsw.BusyError:
            return
        except _DISK_ERRORS:
            self._abandon()

    def empty_log(self) -> bool:
        """Copy the whole write-ahead log into the file and cut it to nothing; False where that failed.

        Readers that are in the middle of an answer are waited for, some seconds at most.
        """
        if self._db is not None:
            with contextlib.suppress(*_DISK_ERRORS):
                self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
                self.wal_pages = 0
                return True
        return False

    def close(self) -> None:
        """Empty the write-ahead log, where the disk still lets us, and close."""
        self.empty_log()
        self._abandon()

    def _connection(self) -> apsw.Connection:
        if self._db is None:
            self._db = open_writer(self._path, self._schema)
            self._db.set_wal_hook(self._note_wal)
        return self._db

    def _note_wal(self, _db: apsw.Connection, _name: str, pages: int) -> int:
        self.wal_pages = pages
        return apsw.SQLITE_OK

    def _abandon(self) -> None:
        if self._db is not None:
            with contextlib.suppress(apsw.Error):
                self._db.close(True)
        self._db = None


@contextlib.contextmanager
def _transaction(db: apsw.Connection) -> Iterator[None]:
    """Commit what the block wrote, or none of it."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:  # cancelled or failed, none of it is written
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


class _RefusedTooLateError(Exception):
    """A request was refused after it had written: only a savepoint can take that back."""


def _attempt(db: apsw.Connection, request: Q, apply: Callable[[Q], R]) -> R | RequestError:
    """Apply *request* without a savepoint, because each makes FTS5 write out what it gathers."""
    changes = db.total_changes()
    try:
        return apply(request)
    except RequestError as refused:
        if db.total_changes() != changes:
            raise _RefusedTooLateError from refused
        return refused


def _attempt_guarded(db: apsw.Connection, request: Q, apply: Callable[[Q], R]) -> R | RequestError:
    db.execute("SAVEPOINT request")
    outcome: R | RequestError
    try:
        outcome = apply(request)
    except RequestError as refused:
        db.execute("ROLLBACK TO request")
        outcome = refused
    db.execute("RELEASE request")
    return outcome


def _refusal(path: str, exc: apsw.Error) -> Busy:
    directory = os.path.dirname(path)
    kept = "Nothing stored before is lost"
    match exc:
        case apsw.FullError():
            what, hint = (
                f"The disk under {directory} is full; this was not stored. {kept}.",
                "Free some space",
            )
        case apsw.BusyError():
            what, hint = f"Another process holds {path}; this was not stored. {kept}.", "Stop it"
        case apsw.ReadOnlyError():
            what, hint = f"{directory} is read-only; this was not stored. {kept}.", "Make it writable"
        case _:
            what = f"The disk under {directory} fails ({exc}); this may not be stored. {kept}."
            hint = "Free or mend the disk"
    return Busy(what, f"{hint}, then try again with the same request_id.")


def _make(path: str) -> None:
    """Create an empty private file that outlives a power cut."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, stat.S_IRUSR | stat.S_IWUSR))
    _sync(os.path.dirname(path) or ".")


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _recognise(db: apsw.Connection, path: str, schema: Schema) -> int:
    """Return how many migrations the file has seen."""
    version = cast("int", _pragma(db, "user_version"))
    application_id = _pragma(db, "application_id")
    empty = db.execute("SELECT count(*) FROM sqlite_schema").get == 0
    if application_id != schema.application_id and not (empty and application_id == 0 and version == 0):
        raise StoreRefused(f"{path}: belongs to another program; move it away")
    if version > len(schema.migrations):
        raise StoreRefused(
            f"{path}: was written by a newer version of this program "
            f"(schema {version}, known {len(schema.migrations)}); upgrade, or restore a backup"
        )
    return version


def _require_wal(db: apsw.Connection, path: str) -> None:
    if _pragma(db, "journal_mode = WAL") != "wal":
        raise StoreRefused(f"{path}: its file system cannot hold a write-ahead log")


def _migrate(db: apsw.Connection, path: str, schema: Schema, version: int) -> None:
    if 0 < version < len(schema.migrations):
        _back_up(db, f"{path}.v{version}.bak")
    for number, migration in enumerate(schema.migrations[version:], start=version + 1):
        with _transaction(db):
            migration(db)
            db.execute(f"PRAGMA application_id = {schema.application_id}")
            db.execute(f"PRAGMA user_version = {number}")


def _back_up(db: apsw.Connection, target: str) -> None:
    """Write a whole copy to *target*; SQLite takes an empty file for it, but does not sync it."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(target)
    _make(target)
    db.execute("VACUUM INTO ?", (target,))
    _sync(target)


def _execute(db: apsw.Connection, script: str) -> None:
    """Run every statement of *script*: apsw stops at the first row until it is fetched."""
    db.execute(script).fetchall()


def _pragma(db: apsw.Connection, text: str) -> object:
    return db.execute(f"PRAGMA {text}").get
