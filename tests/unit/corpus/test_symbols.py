"""What files define and mention, told by grammars, and by looks where there is none."""

from pathlib import Path

import pytest
import trio

from corpus_world import World, open_world
from rlmd.corpus.naming import Mentions, OutlineOf
from rlmd.corpus.snapshot import Snapshot
from rlmd.corpus.symbols import Item, outline
from rlmd.errors import BadArgument, NotFound
from rlmd.offload import OffloadDied, OffloadTimedOut
from rlmd.values import Match, Span

pytestmark = pytest.mark.real_io

SOURCES = {
    "a.py": "LIMIT = 3\n\nclass Retry:\n    def delay(self):\n        local = 1\n        return local\n",
    "a.js": "const limit = 3;\nclass Retry {\n  delay() { const local = 1; }\n}\nfunction go() {}\n",
    "a.ts": "interface Policy { delay(): number }\ntype Id = string;\nenum Mode { A }\nfunction go() {}\n",
    "a.tsx": "const View = () => <p/>;\nclass Retry {}\n",
    "a.c": "#define LIMIT 3\nstruct retry { int n; };\nstatic int *delay(int n)\n{\n}\nint go(void);\n",
    "a.cpp": "namespace net {\nclass Retry {\n  int n;\n};\nint Retry::delay() { return 1; }\n}\n",
    "A.java": "class Retry {\n  int n = 1;\n  int delay() { int local = 1; return local; }\n}\n",
    "a.go": "package a\n\ntype Retry struct{}\n\nfunc (r *Retry) Delay() {}\n\nconst Limit = 3\n",
    "a.rs": "struct Retry;\nimpl Retry {\n    fn delay(&self) -> u8 { 1 }\n}\nmacro_rules! go { () => {} }\n",
    "a.cs": "namespace Net {\n  class Retry {\n    void Delay() {}\n    int Limit { get; }\n  }\n}\n",
    "a.rb": "module Net\n  class Retry\n    LIMIT = 3\n    def delay\n    end\n  end\nend\n",
    "a.php": "<?php\nclass Retry {\n  const LIMIT = 3;\n  function delay() {}\n}\n",
    "a.sh": "go() {\n  echo\n}\n",
    "a.kt": "class Retry {\n    fun delay(): Int {\n        return 1\n    }\n}\n",
}
DEFINED = {
    "a.py": ["LIMIT", "Retry", "delay"],
    "a.js": ["limit", "Retry", "delay", "go"],
    "a.ts": ["Policy", "delay", "Id", "Mode", "go"],
    "a.tsx": ["View", "Retry"],
    "a.c": ["LIMIT", "retry", "delay"],
    "a.cpp": ["net", "Retry", "delay"],
    "A.java": ["Retry", "n", "delay"],
    "a.go": ["Retry", "Delay", "Limit"],
    "a.rs": ["Retry", "Retry", "delay", "go"],
    "a.cs": ["Net", "Retry", "Delay", "Limit"],
    "a.rb": ["Net", "Retry", "LIMIT", "delay"],
    "a.php": ["Retry", "LIMIT", "delay"],
    "a.sh": ["go"],
    "a.kt": ["Retry", "delay"],
}


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    root.mkdir()
    for path, text in SOURCES.items():
        (root / path).write_text(text)
    return root


@pytest.mark.parametrize("path", SOURCES)
def test_a_file_tells_what_it_defines(path: str, tree: Path) -> None:
    told = outline(str(tree / path), Item(path, Span(0, len(SOURCES[path])), "utf-8"))

    assert [symbol.name for symbol in told.symbols] == DEFINED[path]
    assert (told.language is None) == (path == "a.kt")


def test_lines_and_depth_are_those_of_the_whole_definition(tree: Path) -> None:
    told = outline(str(tree / "a.py"), Item("a.py", Span(0, len(SOURCES["a.py"])), "utf-8"))

    assert [(each.kind, each.first, each.last, each.depth) for each in told.symbols] == [
        ("variable", 1, 1, 0),
        ("class", 3, 6, 0),
        ("function", 4, 6, 1),
    ]


@pytest.mark.parametrize("path", ["a.py", "a.c", "a.rs", "a.sh", "a.md"])
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe\x80",
        b"(" * 20_000,
        b"def " * 5000,
        b"\r\n" * 99,
        b"if x:\n " * 3000,
        "\u202edef \u00e9(".encode(),
    ],
)
def test_nonsense_has_an_outline_too(path: str, data: bytes, tmp_path: Path) -> None:
    (tmp_path / "pack").write_bytes(data)

    outline(str(tmp_path / "pack"), Item(path, Span(0, len(data)), "unknown-8bit"))


async def names(world: World, snapshot: Snapshot, name: str, want: str) -> list[tuple[str, int]]:
    told = await world.keeper.ask(Mentions(snapshot, name, want))  # type: ignore[arg-type]
    assert isinstance(told, tuple)
    return [(match.path, match.line) for match in told]


async def test_definitions_and_references_are_told_apart_from_text(cache: Path, tree: Path) -> None:
    (tree / "use.py").write_text(
        "from a import Retry\n# Retry in a comment\ntext = 'Retry'\n\n\ndef run():\n    Retry().delay()\n"
    )
    with trio.fail_after(20):
        async with open_world(cache) as world:
            snapshot = await world.collect(tree)
            defined = await names(world, snapshot, "delay", "definitions")
            retry = await names(world, snapshot, "Retry", "references")
            (first, *_) = await world.keeper.ask(Mentions(snapshot, "go", "definitions", 1))  # type: ignore[misc]

    lines = {"A.java": 3, "a.c": 3, "a.cpp": 5, "a.js": 3, "a.kt": 2, "a.php": 4, "a.py": 4, "a.rb": 4}
    assert defined == [*lines.items(), ("a.rs", 3), ("a.ts", 1)]
    assert [line for path, line in retry if path == "use.py"] == [1, 7]
    assert ("a.go", 5) in retry
    assert first == Match("a.js", 5, "function go() {}")


async def test_an_outline_says_by_what_it_was_told(cache: Path, tree: Path) -> None:
    with trio.fail_after(20):
        async with open_world(cache) as world:
            snapshot = await world.collect(tree)
            python = await world.keeper.ask(OutlineOf(snapshot, "a.py"))
            kotlin = await world.keeper.ask(OutlineOf(snapshot, "a.kt"))
            with pytest.raises(NotFound, match="not in the corpus"):
                await world.keeper.ask(OutlineOf(snapshot, "none.py"))
            with pytest.raises(BadArgument, match="no name"):
                await world.keeper.ask(Mentions(snapshot, "a b", "references"))

    assert str(python).splitlines() == [
        "a.py (python): 3 definitions",
        "     1-1      LIMIT = 3",
        "     3-6      class Retry:",
        "     4-6        def delay(self):",
    ]
    assert "no grammar: by keywords and indentation" in str(kotlin)


async def test_a_file_that_kills_the_worker_is_looked_at_line_by_line(cache: Path, tree: Path) -> None:
    with trio.fail_after(20):
        async with open_world(cache) as world:
            snapshot = await world.collect(tree)
            world.offload.failing = [OffloadTimedOut("ran too long")]
            told = await world.keeper.ask(OutlineOf(snapshot, "a.py"))
            await names(world, snapshot, "zyzzyva", "definitions")  # its scan finds nothing to parse
            before = await names(world, snapshot, "delay", "definitions")
            calls = len(world.offload.calls)
            world.offload.failing = [OffloadDied("died")]
            world.offload.spare = 1  # the scan lives, the parse does not

            assert "class Retry" in str(told)
            assert "by keywords" in str(told)
            assert await names(world, snapshot, "delay", "definitions") == before
            assert len(world.offload.calls) == calls + 2 + len(before) + 2
