"""What a database file is whose contents can be had again."""

import os

import apsw
import pytest

from rlmd.store import Schema, open_disposable, open_writer, remove_database


def make_notes(db):
    db.execute("CREATE TABLE note(text TEXT)")


def add_author(db):
    db.execute("ALTER TABLE note ADD COLUMN author TEXT")


FIRST, SECOND = Schema(7, (make_notes,)), Schema(7, (make_notes, add_author))


def test_it_does_not_wait_for_the_disk(tmp_path):
    with open_disposable(str(tmp_path / "cache.db"), FIRST) as db:
        assert db.execute("PRAGMA synchronous").get == 1
        assert db.execute("PRAGMA journal_mode").get == "wal"
        assert db.execute("PRAGMA wal_autocheckpoint").get == 1000


def test_what_it_held_is_there_again(tmp_path):
    path = str(tmp_path / "cache.db")
    with open_disposable(path, FIRST) as db:
        db.execute("INSERT INTO note VALUES ('kept')")
    db.close()

    with open_disposable(path, FIRST) as db:
        assert db.execute("SELECT text FROM note").get == "kept"


@pytest.mark.parametrize("theirs", [Schema(8, (make_notes,)), SECOND])
def test_what_is_foreign_or_newer_is_made_anew(tmp_path, theirs):
    path = str(tmp_path / "cache.db")
    with open_writer(path, theirs) as db:
        db.execute("INSERT INTO note(text) VALUES ('theirs')")
    db.close()

    with open_disposable(path, FIRST) as db:
        assert db.execute("SELECT count(*) FROM note").get == 0
        assert db.execute("PRAGMA application_id").get == 7


def test_removing_leaves_nothing_beside(tmp_path):
    path = str(tmp_path / "cache.db")
    db = apsw.Connection(path)
    db.execute("PRAGMA journal_mode = WAL; CREATE TABLE note(text)").fetchall()
    beside = len(os.listdir(tmp_path))
    db.close()
    (tmp_path / "cache.db-wal").touch()

    remove_database(path)
    remove_database(path)

    assert (beside, os.listdir(tmp_path)) == (3, [])
