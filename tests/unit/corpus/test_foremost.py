from array import array
from pathlib import Path

import pytest
import trio

from corpus_world import ThreadOffload
from rlmd.corpus.foremost import Wish, foremost
from rlmd.corpus.index import stemmer
from rlmd.corpus.pack import Pack
from rlmd.corpus.roles import WEIGHTS
from rlmd.corpus.scan import holders
from rlmd.corpus.snapshot import Entry, Files, Snapshot, Tree, take
from rlmd.corpus.words import beginnings
from rlmd.offload import OffloadDied
from rlmd.values import SkipTally, Span, WalkRules

pytestmark = pytest.mark.real_io

TEXTS = {
    "a/init.c": "static int start(void);\n",
    "b/common.c": "struct page *get_page(void);\n",
    "c/Evict.c": "nothing of it\n",
    "d/inode.c": "int evict_inodes(struct page *);\n",
    "e/page.c": "struct page *put_page(void);\n",
    "tests/inode.c": "int evict_inodes(struct page *);\n",
}
QUESTION = "how are pages of inodes evicted?"


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    pack = Pack(str(tmp_path / "pack"))
    entries = []
    for number, (path, text) in enumerate(TEXTS.items()):
        sha256 = f"{number:064x}"
        entries.append(Entry(path, sha256, pack.add(sha256, text.encode()), 1, "utf-8"))
    tree = Tree("/tree", (), WalkRules())
    return take(tree, Files(entries), SkipTally(), encoding="o200k_base", pack=pack)


async def ordered(snapshot: Snapshot, offload: ThreadOffload, *, deadline_s: float = 60) -> list[str]:
    def named(path: str) -> float:
        return 0.5 if "evict" in path.lower() else 0.0

    wish = Wish(beginnings(QUESTION, stemmer()), named, WEIGHTS["code"])
    with trio.fail_after(5):
        rows = await foremost(
            snapshot,
            range(len(snapshot.files)),
            wish,
            offload,  # type: ignore[arg-type]
            trio.CapacityLimiter(1),
            trio.current_time() + deadline_s,
        )
    assert sorted(rows) == list(range(len(TEXTS)))
    return [snapshot.files.paths[row] for row in rows]


async def test_files_that_hold_the_rarer_words_of_the_question_come_first(
    snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rlmd.corpus.foremost.LITTLE_BYTES", 0)
    monkeypatch.setattr("rlmd.corpus.foremost.SCAN_BYTES", 60)
    offload = ThreadOffload()

    order = await ordered(snapshot, offload)

    assert order[:2] == ["d/inode.c", "tests/inode.c"]
    assert set(order[2:5]) == {"c/Evict.c", "b/common.c", "e/page.c"}
    assert len(offload.calls) > 1


async def test_little_is_judged_by_its_paths_alone(snapshot: Snapshot) -> None:
    offload = ThreadOffload()

    order = await ordered(snapshot, offload)

    assert (order[0], order[-1]) == ("c/Evict.c", "tests/inode.c")
    assert offload.calls == []


async def test_the_paths_that_promise_most_are_looked_into_first_and_the_rest_is_no_worse_for_it(
    snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look ends with the worker after one content, which holds no word of the question."""
    monkeypatch.setattr("rlmd.corpus.foremost.LITTLE_BYTES", 0)
    monkeypatch.setattr("rlmd.corpus.foremost.SCAN_BYTES", 1)
    offload = LookOnce()

    order = await ordered(snapshot, offload)

    (looked,) = offload.looked
    assert looked == snapshot.files.span_at(snapshot.files.paths.index("c/Evict.c")).offset
    assert order[0] == "c/Evict.c"
    assert order[-1] == "tests/inode.c"


class LookOnce(ThreadOffload):
    """Dies of its second call."""

    def __init__(self) -> None:
        super().__init__()
        self.looked: list[int] = []

    async def call(self, function: str, *args: object, timeout_s: float = float("inf")) -> object:
        if self.looked:
            raise OffloadDied("died")
        assert isinstance(args[1], bytes)
        self.looked += array("q", args[1])
        return await super().call(function, *args, timeout_s=timeout_s)


@pytest.mark.parametrize("deadline_s", [0, float("inf")])
async def test_bytes_are_not_looked_into_without_time_or_without_need(
    snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch, deadline_s: float
) -> None:
    monkeypatch.setattr("rlmd.corpus.foremost.LITTLE_BYTES", 0)
    offload = ThreadOffload()

    await ordered(snapshot, offload, deadline_s=deadline_s)

    assert offload.calls == []


async def test_a_worker_that_dies_of_looking_costs_the_order_alone(
    snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rlmd.corpus.foremost.LITTLE_BYTES", 0)
    offload = ThreadOffload()
    offload.failing = [OffloadDied("died")]

    assert (await ordered(snapshot, offload))[0] == "c/Evict.c"


def test_the_worker_tells_who_holds_what_whatever_the_case(tmp_path: Path) -> None:
    contents = [b"", b"EVICT all\xff", b"evi", b"x.page evicted", b"p a g e"]
    pack = tmp_path / "pack"
    pack.write_bytes(b"".join(contents))
    lengths = array("q", map(len, contents))
    offsets = array("q", [sum(lengths[:n]) for n in range(len(lengths))])

    held = array("I")
    held.frombytes(holders(str(pack), offsets.tobytes(), lengths.tobytes(), ["evict", "page", "a+"]))

    assert list(held) == [0, 1, 0, 3, 0]


def test_an_empty_pack_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / "pack").touch()

    nothing = array("q", [Span(0, 0).length]).tobytes()

    assert holders(str(tmp_path / "pack"), nothing, nothing, ["a"]) == array("I", [0]).tobytes()


def test_a_question_is_known_by_what_its_words_begin_with() -> None:
    assert beginnings("how are memories evicted by tryToFree in fs?", stemmer()) == (
        "trytofre",
        "evict",
        "memor",
        "free",
    )
