"""Memory against a plain dict: whatever is stored, refused, crashed and reopened in between."""

import shutil
import tempfile
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from rlmd.errors import BadArgument, VersionConflict
from rlmd.memory.ask import Recall
from rlmd.memory.entry import Store
from rlmd.memory.query import VOCABULARY
from rlmd.memory.schema import SCHEMA
from rlmd.memory.search import Reader
from rlmd.memory.batch import Batch
from rlmd.store import Keeper, integrity, open_reader

WORDS = ("lock", "zebra", "cache", "daemon", "río", "日本")
TAGS = ("x", "y", "z")
begin = partial(Batch, max_value_bytes=1_000, max_bytes=1 << 30)

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
)
bad_stores = st.sampled_from(
    [
        Store(key="", value="", project="p"),
        Store(key="a", value="\0", project="p"),
        Store(key="a", value="\udfff", project="q"),
    ]
)
batches = st.lists(stores | bad_stores, min_size=1, max_size=6)


@dataclass(frozen=True)
class Fact:
    """What the model knows of one key."""

    version: int
    value: str
    tags: tuple[str, ...]
    kind: str


class Model:
    """A dict, and the rules of the writer in their plainest form."""

    def __init__(self):
        self.facts = {}
        self.receipts = {}
        self.history = {}

    def store(self, request):
        """Return the outcome that the writer should have for *request*: a version, or an error's type."""
        if not request.key or request.value in {"\0", "\udfff"}:
            return BadArgument
        place = request.project, request.key
        receipt = request.project, request.request_id
        if request.request_id and receipt in self.receipts:
            key, version = self.receipts[receipt]
            return version if key == request.key else BadArgument
        standing = self.facts[place].version if place in self.facts else 0
        if request.expect_version not in {None, standing}:
            return VersionConflict
        if standing:
            self.history[*place, standing] = self.facts[place].value
        self.facts[place] = Fact(standing + 1, request.value, request.tags, request.kind)
        if request.request_id:
            self.receipts[receipt] = request.key, standing + 1
        return standing + 1


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
        outcomes = self.keeper.commit(batch, lambda db: begin(db).store)

        told = [type(outcome) if isinstance(outcome, Exception) else outcome.version for outcome in outcomes]
        assert told == [self.model.store(request) for request in batch]

    @rule(batch=batches, after=st.integers(0, 5))
    def crash_inside_a_batch(self, batch, after):
        """Go on with the files as a power cut would leave them after some statements of a batch."""
        self.lives += 1
        remains = self.home / f"memory{self.lives}.db"

        def begin_and_crash(db):
            write, left = begin(db).store, [after]

            def store(request):
                if left[0] == 0:
                    shutil.copy(self.path, remains)
                    shutil.copy(f"{self.path}-wal", f"{remains}-wal")
                left[0] -= 1
                return write(request)

            return store

        self.keeper.commit(batch, begin_and_crash)
        if remains.exists():
            self.stop()
            self.start(remains)
        else:
            for request in batch:
                self.model.store(request)

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
            for (of, key), fact in self.model.facts.items()
            if of == project
            and (not tags or hold(tag in fact.tags for tag in tags))
            and not set(fact.tags) & set(not_tags)
        )

    @rule(project=projects, prefix=st.sampled_from(("a", "a/", "b/", "%", "zz")))
    def recall_by_prefix(self, project, prefix):
        items = self.all_of(project=project, prefix=prefix)

        assert [item.key for item in items] == sorted(
            key for of, key in self.model.facts if of == project and key.startswith(prefix)
        )

    @rule(
        words=st.lists(st.sampled_from(WORDS), min_size=1, max_size=3),
        kind=st.sampled_from((None, "decision")),
    )
    def recall_by_text(self, words, kind):
        items = self.all_of(project="*", query=" ".join(words), kind=kind)

        assert sorted((item.project, item.key) for item in items) == sorted(
            place
            for place, fact in self.model.facts.items()
            if kind in {None, fact.kind} and set(words) & set(fact.value.split())
        )

    @invariant()
    def everything_acknowledged_is_there(self):
        if not hasattr(self, "reader"):
            return
        items = self.all_of(project="*")
        assert {
            (item.project, item.key): Fact(item.version, item.value, item.tags, self.kind_of(item))
            for item in items
        } == self.model.facts
        assert len(items) == len(self.model.facts)
        assert integrity(str(self.path)) == ()
        assert self.reader.db.execute("SELECT count(*) FROM memory_rev").get == len(self.model.history)

    def kind_of(self, item):
        of = {"name": item.project, "key": item.key}
        return self.reader.db.execute(
            "SELECT kind FROM memory JOIN project p ON p.id = project_id WHERE p.name = :name AND key = :key",
            of,
        ).get


MemoryMachine.TestCase.settings = settings(max_examples=15, stateful_step_count=12, deadline=None)
TestMemory = MemoryMachine.TestCase
