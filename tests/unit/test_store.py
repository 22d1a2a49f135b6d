"""What a database file has to be before the program writes to it, and what a commit promises."""

import os
import stat
from functools import partial

import apsw
import pytest

from rlmd.errors import BadArgument, RequestError
from rlmd.store import Keeper, Schema, StoreRefused, integrity, open_reader, open_writer


def make_notes(db):
    db.execute("CREATE TABLE note(text TEXT NOT NULL CHECK (text <> 'forbidden')) STRICT")


def add_author(db):
    db.execute("ALTER TABLE note ADD COLUMN author TEXT")


def fail_half_way(db):
    db.execute("CREATE TABLE half(x)")
    raise ZeroDivisionError


FIRST = Schema(0x6E6F7465, (make_notes,))
SECOND = Schema(0x6E6F7465, (make_notes, add_author))


def write_note(db, text):
    if text == "bad":
        raise BadArgument("no such note")
    db.execute("INSERT INTO note(text) VALUES (:text)", {"text": text})
    if text == "too late":
        raise BadArgument("no such note")
    return text.upper()


def writing(db):
    return partial(write_note, db)


def notes(path):
    with open_reader(str(path)) as db:
        return [text for (text,) in db.execute("SELECT text FROM note ORDER BY rowid")]


def pragma(db, name):
    return db.execute(f"PRAGMA {name}").get


def test_a_new_file_is_private_synced_and_marked_as_ours(tmp_path):
    path = tmp_path / "notes.db"

    db = open_writer(str(path), FIRST)

    assert {
        name: stat.S_IMODE(os.stat(tmp_path / name).st_mode) for name in os.listdir(tmp_path)
    } == dict.fromkeys(["notes.db", "notes.db-wal", "notes.db-shm"], 0o600)
    assert {
        name: pragma(db, name)
        for name in ("application_id", "user_version", "journal_mode", "synchronous", "secure_delete")
    } == {
        "application_id": FIRST.application_id,
        "user_version": 1,
        "journal_mode": "wal",
        "synchronous": 2,
        "secure_delete": 1,
    }
    assert pragma(db, "wal_autocheckpoint") == 0
    db.close()


def test_a_file_that_others_could_read_is_closed_to_them(tmp_path):
    path = tmp_path / "notes.db"
    open_writer(str(path), FIRST).close()
    path.chmod(0o644)

    open_writer(str(path), FIRST).close()

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_older_file_is_migrated_and_kept_as_it_was_beside(tmp_path):
    path = tmp_path / "notes.db"
    Keeper(str(path), FIRST).commit(["old"], writing)

    db = open_writer(str(path), SECOND)

    assert db.execute("SELECT text, author FROM note").fetchall() == [("old", None)]
    assert pragma(db, "user_version") == 2
    db.close()
    backup = tmp_path / "notes.db.v1.bak"
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    with apsw.Connection(str(backup)) as old:
        assert (pragma(old, "user_version"), old.execute("SELECT * FROM note").fetchall()) == (1, [("old",)])
    old.close()


def test_a_new_file_needs_no_backup(tmp_path):
    open_writer(str(tmp_path / "notes.db"), SECOND).close()

    assert os.listdir(tmp_path) == ["notes.db"]


def test_a_migration_that_fails_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "notes.db"
    Keeper(str(path), FIRST).close()

    with pytest.raises(ZeroDivisionError):
        open_writer(str(path), Schema(FIRST.application_id, (make_notes, fail_half_way)))

    db = open_writer(str(path), FIRST)
    assert [name for (name,) in db.execute("SELECT name FROM sqlite_schema")] == ["note"]
    db.close()


def test_a_file_of_a_newer_version_is_refused_untouched(tmp_path):
    path = tmp_path / "notes.db"
    Keeper(str(path), SECOND).close()
    before = path.read_bytes()

    with pytest.raises(StoreRefused, match="newer version"):
        open_writer(str(path), FIRST)

    assert path.read_bytes() == before


def test_a_file_on_a_network_file_system_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("rlmd.paths.network_of", lambda _: "nfs4")

    with pytest.raises(StoreRefused, match=r"lies on nfs4.*RLMD_STATE_DIR"):
        open_writer(str(tmp_path / "notes.db"), FIRST)

    assert list(tmp_path.iterdir()) == []


def test_a_database_of_another_program_is_refused_untouched(tmp_path):
    path = tmp_path / "notes.db"
    other = apsw.Connection(str(path))
    other.execute("CREATE TABLE theirs(x)")
    other.close()
    before = path.read_bytes()

    with pytest.raises(StoreRefused, match="another program"):
        open_writer(str(path), FIRST)

    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused_untouched(tmp_path):
    path = tmp_path / "notes.db"
    path.write_text("dear diary\n" * 100)

    with pytest.raises(StoreRefused, match="not a database"):
        open_writer(str(path), FIRST)

    assert path.read_text() == "dear diary\n" * 100


def test_a_reader_can_change_nothing(tmp_path):
    path = str(tmp_path / "notes.db")
    writer = open_writer(path, FIRST)
    reader = open_reader(path)

    with pytest.raises(apsw.ReadOnlyError):
        reader.execute("INSERT INTO note VALUES ('mine')")

    reader.close()
    writer.close()


@pytest.mark.parametrize("bad", ["bad", "too late"])
def test_a_refused_request_leaves_no_trace_and_spares_its_batch(tmp_path, bad):
    keeper = Keeper(str(tmp_path / "notes.db"), FIRST)

    outcomes = keeper.commit(["one", bad, "two"], writing)

    assert [str(outcome) for outcome in outcomes] == ["ONE", "no such note", "TWO"]
    assert notes(tmp_path / "notes.db") == ["one", "two"]
    keeper.close()


def test_a_bug_undoes_its_whole_batch_and_is_raised(tmp_path):
    keeper = Keeper(str(tmp_path / "notes.db"), FIRST)

    with pytest.raises(apsw.ConstraintError):
        keeper.commit(["one", "forbidden"], writing)

    assert keeper.commit(["three"], writing) == ["THREE"]
    assert notes(tmp_path / "notes.db") == ["three"]
    keeper.close()


def test_a_checkpoint_empties_the_log_into_the_file(tmp_path):
    path = tmp_path / "notes.db"
    keeper = Keeper(str(path), FIRST)
    keeper.commit(["x" * 100_000], writing)
    grown = keeper.wal_pages

    keeper.checkpoint()

    assert (grown > 25, keeper.wal_pages) == (True, 0)
    assert path.stat().st_size > 100_000
    keeper.close()
    assert not (tmp_path / "notes.db-wal").exists()


def test_a_log_that_a_reader_holds_back_is_not_waited_for(tmp_path):
    path = str(tmp_path / "notes.db")
    keeper = Keeper(path, FIRST)
    keeper.commit(["before"], writing)
    reader = open_reader(path)
    reader.execute("BEGIN; SELECT * FROM note").fetchall()
    keeper.commit(["x" * 100_000], writing)

    keeper.checkpoint()

    assert keeper.wal_pages > 25
    assert len(reader.execute("SELECT * FROM note").fetchall()) == 1
    reader.close()
    keeper.close()


def test_another_process_that_holds_the_file_makes_a_commit_busy(tmp_path, monkeypatch):
    monkeypatch.setattr("rlmd.store._WRITER_PATIENCE_MS", 10)
    path = str(tmp_path / "notes.db")
    keeper = Keeper(path, FIRST)
    other = open_writer(path, FIRST)
    other.execute("BEGIN IMMEDIATE")

    (refused,) = keeper.commit(["one"], writing)

    assert isinstance(refused, RequestError)
    assert (refused.code, "Another process" in refused.message) == ("busy", True)
    other.execute("ROLLBACK")
    other.close()
    assert keeper.commit(["two"], writing) == ["TWO"]
    keeper.close()


def test_integrity_finds_nothing_in_a_sound_file_and_something_in_a_damaged_one(tmp_path):
    path = tmp_path / "notes.db"
    keeper = Keeper(str(path), FIRST)
    keeper.commit([f"note {number} {'x' * 200}" for number in range(200)], writing)
    keeper.close()
    found = integrity(str(path))
    content = bytearray(path.read_bytes())
    content[-4096:] = b"\xff" * 4096
    path.write_bytes(content)

    assert (found, integrity(str(path)) != ()) == ((), True)
