"""The tables of memory.db, as the numbered steps that led to them.  A released step never changes.

`memory` holds the version of each key that stands, `memory_rev` those before it.  Every write takes
the next number of `counter`, and that number is the row's `seq`: a change feed, and the order of
"newest first".  A memory's `id` is its project's number << 40 plus the `seq` it was created with, so
that the full-text index, whose only cheap filter is a range of row ids, can be asked per project.
"""

from __future__ import annotations

import apsw

from rlmd.store import Schema

SEQ_BITS = 40
TOKENIZER = ("porter", "unicode61", "remove_diacritics", "2")

_FIRST = """
CREATE TABLE counter(seq INTEGER NOT NULL) STRICT;
INSERT INTO counter VALUES (0);

CREATE TABLE project(
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL UNIQUE,
  created_ns INTEGER NOT NULL
) STRICT;

CREATE TABLE memory(
  id INTEGER PRIMARY KEY,
  project_id INTEGER NOT NULL REFERENCES project(id) ON DELETE CASCADE,
  key TEXT NOT NULL CHECK (length(key) BETWEEN 1 AND 256),
  value TEXT NOT NULL,
  words TEXT NOT NULL,      -- the parts of identifiers in key and value, for the full-text index
  kind TEXT NOT NULL,
  tags TEXT NOT NULL CHECK (json_valid(tags)),
  importance INTEGER NOT NULL DEFAULT 1 CHECK (importance BETWEEN 0 AND 3),
  rev INTEGER NOT NULL,
  seq INTEGER NOT NULL UNIQUE,
  state TEXT NOT NULL DEFAULT 'live' CHECK (state IN ('live', 'superseded', 'archived', 'deleted')),
  superseded_by INTEGER REFERENCES memory(id) ON DELETE SET NULL,
  session TEXT,
  agent TEXT,
  created_ns INTEGER NOT NULL,
  updated_ns INTEGER NOT NULL,
  expires_ns INTEGER
) STRICT;
CREATE UNIQUE INDEX memory_live_key ON memory(project_id, key) WHERE state = 'live';
CREATE INDEX memory_newest ON memory(project_id, seq, updated_ns) WHERE state = 'live';
CREATE INDEX memory_superseded_by ON memory(superseded_by) WHERE superseded_by IS NOT NULL;

CREATE TABLE memory_rev(
  memory_id INTEGER NOT NULL REFERENCES memory(id) ON DELETE CASCADE,
  rev INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  value TEXT NOT NULL,
  kind TEXT NOT NULL,
  tags TEXT NOT NULL,
  session TEXT,
  agent TEXT,
  updated_ns INTEGER NOT NULL,
  expires_ns INTEGER,
  PRIMARY KEY (memory_id, rev)
) STRICT, WITHOUT ROWID;

-- What each request_id was answered, so that asking twice writes once.
CREATE TABLE receipt(
  project_id INTEGER NOT NULL REFERENCES project(id) ON DELETE CASCADE,
  request_id TEXT NOT NULL,
  key TEXT NOT NULL,
  rev INTEGER NOT NULL,
  created INTEGER NOT NULL,
  at_ns INTEGER NOT NULL,
  PRIMARY KEY (project_id, request_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE anchor(
  id INTEGER PRIMARY KEY,
  memory_id INTEGER NOT NULL REFERENCES memory(id) ON DELETE CASCADE,
  path TEXT NOT NULL,
  start_line INTEGER NOT NULL,
  end_line INTEGER NOT NULL,
  span TEXT NOT NULL,
  span_hash BLOB NOT NULL,
  context TEXT NOT NULL,
  commit_id TEXT,
  status TEXT NOT NULL DEFAULT 'fresh'
    CHECK (status IN ('fresh', 'moved', 'ambiguous', 'edited', 'stale', 'missing')),
  checked_ns INTEGER NOT NULL
) STRICT;
CREATE INDEX anchor_path ON anchor(path);
CREATE INDEX anchor_memory ON anchor(memory_id);

CREATE TABLE link(
  src INTEGER NOT NULL REFERENCES memory(id) ON DELETE CASCADE,
  rel TEXT NOT NULL,
  dst INTEGER NOT NULL REFERENCES memory(id) ON DELETE CASCADE,
  PRIMARY KEY (src, rel, dst)
) STRICT, WITHOUT ROWID;
CREATE INDEX link_dst ON link(dst);

CREATE TABLE memory_tag(
  project_id INTEGER NOT NULL,
  tag TEXT NOT NULL,
  seq INTEGER NOT NULL,
  memory_id INTEGER NOT NULL,
  PRIMARY KEY (project_id, tag, seq)
) STRICT, WITHOUT ROWID;

CREATE VIEW memory_live AS SELECT id, key, value, words, tags FROM memory WHERE state = 'live';
CREATE VIRTUAL TABLE memory_fts USING fts5(
  key, value, words, tags,
  content = 'memory_live', content_rowid = 'id', tokenize = 'porter unicode61 remove_diacritics 2'
);

-- Both indexes follow the row by triggers, not by the writer's hand: whatever ever changes a memory
-- (an import, a repair, a later verb) changes them in the same statement and cannot forget to.
-- The full-text index needs the old text to take a row out, so that happens before the change.
CREATE TRIGGER memory_insert AFTER INSERT ON memory WHEN new.state = 'live' BEGIN
  INSERT INTO memory_fts(rowid, key, value, words, tags)
    VALUES (new.id, new.key, new.value, new.words, new.tags);
  INSERT INTO memory_tag SELECT new.project_id, value, new.seq, new.id FROM json_each(new.tags);
END;
CREATE TRIGGER memory_before_update BEFORE UPDATE ON memory WHEN old.state = 'live' BEGIN
  INSERT INTO memory_fts(memory_fts, rowid, key, value, words, tags)
    VALUES ('delete', old.id, old.key, old.value, old.words, old.tags);
  DELETE FROM memory_tag
    WHERE project_id = old.project_id AND seq = old.seq AND tag IN (SELECT value FROM json_each(old.tags));
END;
CREATE TRIGGER memory_after_update AFTER UPDATE ON memory WHEN new.state = 'live' BEGIN
  INSERT INTO memory_fts(rowid, key, value, words, tags)
    VALUES (new.id, new.key, new.value, new.words, new.tags);
  INSERT INTO memory_tag SELECT new.project_id, value, new.seq, new.id FROM json_each(new.tags);
END;
CREATE TRIGGER memory_delete BEFORE DELETE ON memory WHEN old.state = 'live' BEGIN
  INSERT INTO memory_fts(memory_fts, rowid, key, value, words, tags)
    VALUES ('delete', old.id, old.key, old.value, old.words, old.tags);
  DELETE FROM memory_tag
    WHERE project_id = old.project_id AND seq = old.seq AND tag IN (SELECT value FROM json_each(old.tags));
END;
"""

_SECOND = """
-- A forgotten or superseded memory keeps its row, so that its version numbers go on; every version
-- has the state it was in and the memory it took the place of, so that any change can be undone.
ALTER TABLE memory ADD COLUMN supersedes INTEGER REFERENCES memory(id) ON DELETE SET NULL;
ALTER TABLE memory_rev ADD COLUMN state TEXT NOT NULL DEFAULT 'live'
  CHECK (state IN ('live', 'superseded', 'deleted'));
ALTER TABLE memory_rev ADD COLUMN superseded_by INTEGER REFERENCES memory(id) ON DELETE SET NULL;
ALTER TABLE memory_rev ADD COLUMN supersedes INTEGER REFERENCES memory(id) ON DELETE SET NULL;
DROP INDEX memory_live_key;
CREATE UNIQUE INDEX memory_key ON memory(project_id, key);
CREATE INDEX memory_session ON memory(session, id) WHERE session IS NOT NULL;
CREATE INDEX memory_supersedes ON memory(supersedes) WHERE supersedes IS NOT NULL;
CREATE INDEX memory_expiry ON memory(expires_ns) WHERE expires_ns IS NOT NULL;
CREATE INDEX memory_rev_seq ON memory_rev(seq);
CREATE INDEX memory_rev_superseded_by ON memory_rev(superseded_by) WHERE superseded_by IS NOT NULL;
CREATE INDEX memory_rev_supersedes ON memory_rev(supersedes) WHERE supersedes IS NOT NULL;
CREATE INDEX receipt_age ON receipt(at_ns);

-- Neither had rows before.  What an anchor is worth is found out whenever it is recalled, not kept.
DROP TABLE link;
DROP TABLE anchor;
CREATE TABLE anchor(
  memory_id INTEGER NOT NULL REFERENCES memory(id) ON DELETE CASCADE,
  rev INTEGER NOT NULL,
  place INTEGER NOT NULL,
  path TEXT NOT NULL,
  start_line INTEGER NOT NULL,
  end_line INTEGER NOT NULL,
  span TEXT NOT NULL,
  span_hash BLOB NOT NULL,
  above TEXT NOT NULL,
  below TEXT NOT NULL,
  file_sha256 TEXT NOT NULL,
  PRIMARY KEY (memory_id, rev, place)
) STRICT, WITHOUT ROWID;
CREATE INDEX anchor_path ON anchor(path);
"""

_THIRD = """
-- A trigger makes the full-text index write out what it gathers after every single row, which costs
-- more than all else; `rows` follows the rows now, a whole batch in one statement.
DROP TRIGGER memory_insert;
DROP TRIGGER memory_before_update;
DROP TRIGGER memory_after_update;
-- Neighbours in a session are looked for among the writes around: an index in the order of the writes
-- changes one page a batch, one in the order of the sessions a page for each that writes.
DROP INDEX memory_session;
CREATE INDEX memory_beside ON memory(id, session);
"""


def _m0001_memories_with_history_tags_and_full_text(db: apsw.Connection) -> None:
    db.execute(_FIRST)


def _m0002_states_in_history_and_anchors_per_version(db: apsw.Connection) -> None:
    db.execute(_SECOND)


def _m0003_indexes_written_in_bulk(db: apsw.Connection) -> None:
    db.execute(_THIRD)


SCHEMA = Schema(
    application_id=0x524C4D31,  # "RLM1"
    migrations=(
        _m0001_memories_with_history_tags_and_full_text,
        _m0002_states_in_history_and_anchors_per_version,
        _m0003_indexes_written_in_bulk,
    ),
)
