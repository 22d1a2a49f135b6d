"""Memory against a plain dict: whatever is stored, refused, crashed and reopened in between."""

import json
import os
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from rlmd.errors import BadArgument, NotFound, VersionConflict
from rlmd.memory.ask import Recall
from rlmd.memory.batch import Batch
from rlmd.memory.entry import Forget, Purge, Store, Undo
from rlmd.memory.query import VOCABULARY
from rlmd.memory.schema import SCHEMA
from rlmd.memory.search import Reader
from rlmd.store import Keeper, Schema, integrity, open_reader, open_writer

WORDS = ("lock", "zebra", "cache", "daemon", "río", "日本")
TAGS = ("x", "y", "z")


def write(db, requests):
    return Batch(db, max_value_bytes=1_000, max_bytes=1 << 30).write(requests)


projects = st.sampled_from(("p", "q"))
keys = st.sampled_from(("a", "a/1", "a/2", "b", "b/é", "%"))
tag_sets = st.lists(st.sampled_from(TAGS), unique=True, max_size=3).map(tuple)
values = st.lists(st.sampled_from(WORDS), max_size=4).map(" ".join)
stores = st.builds(
    Store,
    key=keys,
    value=values,
    project=projects,
    tags=tag_sets,
    kind=st.sampled_from(("finding", "decision")),
    expect_version=st.none() | st.integers(0, 3),
    request_id=st.none() | st.sampled_from(("r1", "r2", "r3")),
    supersedes=st.none() | keys,
)
bad_stores = st.sampled_from(
    [
        Store(key="", value="", project="p"),
        Store(key="a", value="\0", project="p"),
        Store(key="a", value="\udfff", project="q"),
    ]
)
changes = st.one_of(*(st.builds(verb, keys, projects) for verb in (Forget, Undo, Purge)))
batches = st.lists(stores | stores | bad_stores | changes, min_size=1, max_size=6)


@dataclass(frozen=True)
class Said:
    """What one version of a key says."""

    state: str
    value: str = ""
    tags: tuple[str, ...] = ()
    kind: str = "finding"
    supersedes: str | None = None
    superseded_by: str | None = None


class Model:
    """A list of versions for each key, and the rules of the writer in their plainest form."""

    def __init__(self):
        self.versions = {}
        self.receipts = {}

    def live(self):
        """Return what stands, by project and key."""
        return {
            place: (len(said), said[-1]) for place, said in self.versions.items() if said[-1].state == "live"
        }

    def apply(self, request):
        """Return the outcome that the writer should have: a version, or an error's type."""
        match request:
            case Store():
                return self.store(request)
            case Forget():
                return self.forget(request)
            case Undo():
                return self.undo(request)
            case _:
                return self.purge(request)

    def store(self, request):
        if not request.key or request.value in {"\0", "\udfff"} or request.supersedes == request.key:
            return BadArgument
        place = request.project, request.key
        receipt = request.project, request.request_id
        if request.request_id and receipt in self.receipts:
            key, version = self.receipts[receipt]
            return version if key == request.key else BadArgument
        said = self.versions.get(place, [])
        standing = len(said) if said and said[-1].state == "live" else 0
        if request.expect_version not in {None, standing}:
            return VersionConflict
        other = request.supersedes and self.versions.get((request.project, request.supersedes))
        if request.supersedes and not (other and other[-1].state != "forgotten"):
            return NotFound
        self.versions[place] = said
        said.append(Said("live", request.value, request.tags, request.kind, supersedes=request.supersedes))
        self.displace(request.project, request.supersedes, request.key)
        if request.request_id:
            self.receipts[receipt] = request.key, len(said)
        return len(said)

    def displace(self, project, key, by):
        said = self.versions.get((project, key))
        if said and said[-1].state != "forgotten":
            said.append(replace(said[-1], state="superseded", superseded_by=by))

    def forget(self, request):
        said = self.versions.get((request.project, request.key))
        if not said or said[-1].state == "forgotten":
            return NotFound
        said.append(Said("forgotten"))
        return len(said)

    def undo(self, request):
        said = self.versions.get((request.project, request.key))
        if not said:
            return NotFound
        last = said[-1]
        before = said[-2] if len(said) > 1 else Said("forgotten")
        said.append(before)
        version = len(said)
        if before.supersedes != last.supersedes:
            displaced = self.versions.get((request.project, last.supersedes))
            if displaced and (displaced[-1].state, displaced[-1].superseded_by) == (
                "superseded",
                request.key,
            ):
                displaced.append(replace(displaced[-1], state="live", superseded_by=None))
            self.displace(request.project, before.supersedes, request.key)
        return version

    def purge(self, request):
        if self.versions.pop((request.project, request.key), None) is None:
            return NotFound
        purged = {"supersedes": None}, {"superseded_by": None}
        for (project, _), said in self.versions.items():
            for at, each in enumerate(said):
                if project == request.project:
                    for gone in purged:
                        (name,) = gone
                        each = replace(each, **gone) if getattr(each, name) == request.key else each  # noqa: PLW2901
                    said[at] = each
        self.receipts = {
            (project, id_): answer
            for (project, id_), answer in self.receipts.items()
            if (project, answer[0]) != (request.project, request.key)
        }
        return 0


class MemoryMachine(RuleBasedStateMachine):
    @initialize()
    def open(self):
        self.home = Path(tempfile.mkdtemp(prefix="rlmd-machine-"))
        self.model = Model()
        self.lives = 0
        self.start(self.home / "memory0.db")

    def start(self, path):
        self.path = path
        self.keeper = Keeper(str(path), SCHEMA)
        self.reader = Reader(open_reader(str(path), VOCABULARY))

    def stop(self):
        self.reader.db.close()
        self.keeper.close()

    def teardown(self):
        if hasattr(self, "home"):
            self.stop()
            shutil.rmtree(self.home)

    def all_of(self, **question):
        """Follow a question to its last page."""
        request, items = Recall(limit=2, **question), []
        while True:
            page = self.reader.recall(request)
            items += page.items
            if page.next_cursor is None:
                return items
            request = replace(request, cursor=page.next_cursor)

    @rule(batch=batches)
    def store(self, batch):
        outcomes = self.keeper.transact(batch, write)

        told = [type(outcome) if isinstance(outcome, Exception) else outcome.version for outcome in outcomes]
        assert told == [self.model.apply(request) for request in batch]

    def remains(self):
        """Return a place for the files that a crash leaves, and what copies them there."""
        self.lives += 1
        remains = self.home / f"memory{self.lives}.db"

        def leave():
            shutil.copy(self.path, remains)
            shutil.copy(f"{self.path}-wal", f"{remains}-wal")

        return remains, leave

    @rule(batch=batches, after=st.integers(0, 30))
    def crash_between_statements(self, batch, after):
        """Go on with the files as a power cut would leave them after some statements of a batch."""
        remains, leave = self.remains()
        left = [after]

        def pull_the_plug(_cursor, _sql, _bindings):
            if left[0] == 0:
                leave()
            left[0] -= 1
            return True

        def write_and_crash(db, requests):
            db.set_exec_trace(pull_the_plug)
            try:
                return write(db, requests)
            finally:
                db.set_exec_trace(None)

        self.keeper.transact(batch, write_and_crash)
        if remains.exists():
            self.stop()
            self.start(remains)
        else:
            for request in batch:
                self.model.apply(request)

    @rule(batch=batches, cut=st.floats(0, 1))
    def crash_in_the_middle_of_the_log(self, batch, cut):
        """Go on with the log torn where it was being written: the batch counts whole, or not at all."""
        self.keeper.empty_log()
        remains, leave = self.remains()
        self.keeper.transact(batch, write)
        leave()
        log = Path(f"{remains}-wal")
        kept = int(log.stat().st_size * cut)
        os.truncate(log, kept)
        if kept == log.with_name(f"{self.path.name}-wal").stat().st_size:
            for request in batch:
                self.model.apply(request)
        self.stop()
        self.start(remains)

    @rule()
    def reopen(self):
        self.stop()
        self.start(self.path)

    @rule()
    def checkpoint(self):
        self.keeper.checkpoint()

    @rule(project=projects, tags=tag_sets, not_tags=tag_sets, match=st.sampled_from(("any", "all")))
    def recall_by_tags(self, project, tags, not_tags, match):
        items = self.all_of(project=project, tags=tags, not_tags=not_tags, match=match)

        hold = any if match == "any" else all
        assert sorted(item.key for item in items) == sorted(
            key
            for (of, key), (_, fact) in self.model.live().items()
            if of == project
            and (not tags or hold(tag in fact.tags for tag in tags))
            and not set(fact.tags) & set(not_tags)
        )

    @rule(project=projects, prefix=st.sampled_from(("a", "a/", "b/", "%", "zz")))
    def recall_by_prefix(self, project, prefix):
        items = self.all_of(project=project, prefix=prefix)

        assert [item.key for item in items] == sorted(
            key for of, key in self.model.live() if of == project and key.startswith(prefix)
        )

    @rule(
        words=st.lists(st.sampled_from(WORDS), min_size=1, max_size=3),
        kind=st.sampled_from((None, "decision")),
    )
    def recall_by_text(self, words, kind):
        items = self.all_of(project="*", query=" ".join(words), kind=kind)

        assert sorted((item.project, item.key) for item in items) == sorted(
            place
            for place, (_, fact) in self.model.live().items()
            if kind in {None, fact.kind} and set(words) & set(fact.value.split())
        )

    @rule(steps=st.integers(1, len(SCHEMA.migrations) - 1))
    def migrate_from_an_older_schema(self, steps):
        """Go on with what an older version of this program would have had of what stands."""
        self.lives += 1
        self.stop()
        old = self.home / f"memory{self.lives}.db"
        db = open_writer(str(old), Schema(SCHEMA.application_id, SCHEMA.migrations[:steps]))
        kept = {}
        for number, ((project, key), (_, fact)) in enumerate(sorted(self.model.live().items()), start=1):
            db.execute("INSERT OR IGNORE INTO project(name, created_ns) VALUES (?, 1)", (project,))
            of = db.execute("SELECT id FROM project WHERE name = ?", (project,)).get
            row = ((of << 40) + number, of, key, fact.value, "", fact.kind, json.dumps(fact.tags), number)
            db.execute(
                "INSERT INTO memory(id, project_id, key, value, words, kind, tags, rev, seq, created_ns, "
                "updated_ns) VALUES (?, ?, ?, ?, ?, ?, ?, 1, ?, 1, 1)",
                row,
            )
            kept[project, key] = [Said("live", fact.value, fact.tags, fact.kind)]
        db.execute("UPDATE counter SET seq = ?", (len(kept),))
        db.close()
        self.model = Model()
        self.model.versions = kept
        self.start(old)

    @invariant()
    def everything_acknowledged_is_there(self):
        if not hasattr(self, "reader"):
            return
        items = self.all_of(project="*")
        assert {(item.project, item.key): (item.version, item.value, item.tags) for item in items} == {
            place: (version, said.value, said.tags) for place, (version, said) in self.model.live().items()
        }
        assert integrity(str(self.path)) == ()

    @invariant()
    def every_version_is_kept_in_order(self):
        if not hasattr(self, "reader"):
            return
        for (project, key), said in self.model.versions.items():
            items = self.all_of(project=project, key=key, history=True)
            told = [(item.version, item.state, item.value, item.superseded_by) for item in reversed(items)]
            assert told == [
                (number, each.state, each.value, each.superseded_by)
                for number, each in enumerate(said, start=1)
            ]


MemoryMachine.TestCase.settings = settings(max_examples=15, stateful_step_count=12, deadline=None)
TestMemory = MemoryMachine.TestCase
