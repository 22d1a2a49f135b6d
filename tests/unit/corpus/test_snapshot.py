import gc
import hashlib
import tracemalloc
from pathlib import Path

from rlmd.corpus.pack import Pack
from rlmd.corpus.snapshot import Entry, Files, Text, take
from rlmd.values import SkipTally, Span


def entry(path: str, content: str = "x", tokens: int = 1) -> Entry:
    return Entry(
        path, hashlib.sha256(content.encode()).hexdigest(), Span(7, len(content)), tokens, "utf-16-le"
    )


def test_entries_come_back_as_they_were_in_the_order_of_paths() -> None:
    given = [entry("b", "two"), entry("a/c", "three"), entry("a", "one")]

    files = Files(given)

    assert list(files) == sorted(given, key=lambda each: each.path)
    assert files.row("a/c") == 1
    assert files.row("nope") is None


def test_the_id_depends_on_paths_and_contents_alone() -> None:
    same = Files([entry("a", "1", tokens=5), entry("b", "2")]).digest()

    assert Files([entry("b", "2"), entry("a", "1")]).digest() == same
    assert Files([entry("a", "2"), entry("b", "1")]).digest() != same
    assert Files([entry("a", "1"), entry("c", "2")]).digest() != same


def test_totals_are_of_all_files(tmp_path: Path) -> None:
    pack = Pack(str(tmp_path / "pack"))

    snapshot = take(
        Text("t", ""),
        Files([entry("a", "one", 3), entry("b", "three", 4)]),
        SkipTally(),
        encoding="e",
        pack=pack,
    )

    assert (snapshot.bytes, snapshot.tokens) == (8, 7)
    pack.close()


def test_a_file_costs_less_than_a_hundred_bytes_beside_its_path() -> None:
    paths = [f"some/directory/file_{number}.py" for number in range(10_000)]
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    files = Files(entry(path, path) for path in paths)
    gc.collect()
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()

    assert used / len(files) < 100
