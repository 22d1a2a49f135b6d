from pathlib import Path

import pytest
import trio

from corpus_world import open_world
from rlmd.corpus.index import stemmer
from rlmd.corpus.keeper import CollectText
from rlmd.corpus.search import Found
from rlmd.corpus.snapshot import Snapshot
from rlmd.corpus.words import Terms
from rlmd.engine.citations import cite
from rlmd.engine.evidence import LEAST_CHARS, gather, show
from rlmd.engine.windows import LINE_CHARS, best_run, best_stretch
from rlmd.values import Citation, Passage, ignore_progress

TABLE = Terms(stemmer())
SOURCE = "import time\r\n\r\n\r\ndef retry_delay(n):\r\n    return 2 ** n  # größer\r\n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    root.mkdir()
    (root / "a.py").write_bytes(SOURCE.encode())
    (root / "wide.txt").write_bytes(b"\xff\xfe" + "Retry delays grow.\nSecond line.\n".encode("utf-16-le"))
    (root / "old.txt").write_bytes("Wartezeit f\xfcr retry\n".encode("latin-1"))
    (root / "bom.md").write_bytes(b"\xef\xbb\xbf# Retry\n")
    return root


@pytest.mark.real_io
async def test_every_quote_is_exactly_the_lines_of_the_file_and_carries_its_hash(tree: Path) -> None:
    encodings = {"a.py": "utf-8", "wide.txt": "utf-16", "old.txt": "utf-8", "bom.md": "utf-8-sig"}
    with trio.fail_after(10):
        async with open_world(tree.parent / "cache") as world:
            snapshot = await world.collect(tree)
            evidence = await gather(world.keeper, snapshot, "retry delay", "any", ignore_progress)

    assert {each.path for each in evidence.citations} == set(encodings)
    for each in evidence.citations:
        lines = (tree / each.path).read_bytes().decode(encodings[each.path], "replace").split("\n")
        assert each.quote == "\n".join(lines[each.start_line - 1 : each.end_line])
        assert each.sha256 == next(entry.sha256 for entry in snapshot.files if entry.path == each.path)
        assert each.verified


@pytest.mark.real_io
async def test_quotes_are_of_the_snapshot_though_the_file_has_changed_since(tree: Path) -> None:
    with trio.fail_after(10):
        async with open_world(tree.parent / "cache") as world:
            snapshot = await world.collect(tree)
            (tree / "a.py").write_text("gone\n")

            evidence = await gather(world.keeper, snapshot, "retry delay", "code", ignore_progress)

    first = evidence.citations[0]
    assert (first.path, first.quote.split("\r\n")[0], first.verified) == ("a.py", "def retry_delay(n):", True)


@pytest.mark.real_io
async def test_a_passage_that_is_not_there_is_not_verified(tree: Path) -> None:
    with trio.fail_after(10):
        async with open_world(tree.parent / "cache") as world:
            snapshot = await world.collect(tree)
            entry = snapshot.entry("a.py")
            assert entry is not None

            beyond = cite(snapshot, Found(Passage("a.py", 4, 40, 1.0), entry), {}, TABLE)

    assert not beyond.verified


@pytest.mark.real_io
async def test_of_a_giant_line_the_stretch_that_holds_the_words_is_quoted(tree: Path) -> None:
    giant = "x " * 50_000 + "quota exceeded" + " y" * 50_000
    with trio.fail_after(10):
        async with open_world(tree.parent / "cache") as world:
            snapshot = await world.keeper.ask(CollectText(giant + "\nlast line\n"))
            assert isinstance(snapshot, Snapshot)
            evidence = await gather(world.keeper, snapshot, "quota exceeded", "any", ignore_progress)

    first = evidence.citations[0]
    assert (first.start_line, first.end_line) == (1, 1)
    assert "quota exceeded" in first.quote
    assert first.quote in giant
    assert len(first.quote) <= 20_000


def test_a_long_passage_is_shown_by_its_most_telling_lines() -> None:
    lines = [f"filler {number}" for number in range(200)]
    lines[150] = "the quota is exceeded here"

    start, stop = best_run(lines, {"quota": 1, "exceed": 1}, TABLE, 300)

    assert start <= 150 < stop
    assert sum(len(line) + 1 for line in lines[start:stop]) <= 301


def test_what_fits_is_shown_whole() -> None:
    assert best_run(["a", "b"], {"zzz": 1}, TABLE, 3) == (0, 2)


def test_the_earliest_of_equal_stretches_is_taken() -> None:
    assert best_stretch("quota" + " " * 95 + "quota" + " " * 95, {"quota": 1}, TABLE, 100).startswith("quota")


def test_shown_text_keeps_to_its_room_and_clips_long_lines() -> None:
    long = Citation("log", 7, 8, "quota " + "x" * 1000 + "\nnext", "", verified=True, score=1.0)
    many = [
        Citation(f"{n}.py", 1, 30, "\n".join(["quota = 1"] * 30), "", verified=True, score=0.5)
        for n in range(50)
    ]

    shown = show([long, *many], {"quota": 1}, 3000)

    used = sum(len(line) + 1 for each in shown for line in each.lines)
    assert used <= 3000
    assert 3000 - used < LEAST_CHARS + 300
    assert (shown[0].first_line, shown[0].last_line) == (7, 8)
    assert len(shown[0].lines[0]) == LINE_CHARS
    assert len(shown) < len(many)
