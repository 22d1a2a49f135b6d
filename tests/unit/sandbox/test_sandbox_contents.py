"""Contents: nothing is copied before it is asked for, and nothing that is nobody's business at all."""

from __future__ import annotations

import mmap
import random

import pytest

from rlmd.sandbox import handover, pages, runs
from rlmd.sandbox.handover import hand_over
from rlmd.sandbox.pages import Pages
from rlmd.sandbox.requests import Documents
from rlmd.sandbox.runs import Piece, Runs
from rlmd.values import Span
from sandbox_world import File, open_sandbox, packed

BLOCK = 4096


@pytest.fixture
def small_blocks(monkeypatch):
    """Have contents brought in blocks of a page, outside of any process."""
    for module in (handover, runs, pages):
        monkeypatch.setattr(module, "BLOCK_BYTES", BLOCK)


def test_spans_side_by_side_are_one_run_also_with_a_line_end_between():
    spans = [Span(100, 10), Span(111, 5), Span(116, 4), Span(300, 7), Span(111, 5)]

    whole = Runs(spans)

    assert [whole.place(span) for span in spans] == [0, 11, 16, 20, 11]
    assert list(whole.pieces(0, 99)) == [Piece(100, 0, 20), Piece(300, 20, 7)]
    assert list(whole.pieces(15, 22)) == [Piece(115, 15, 5), Piece(300, 20, 2)]
    assert list(whole.pieces(27, 99)) == []


@pytest.mark.parametrize("seed", range(20))
def test_what_is_brought_is_the_bytes_of_the_spans_and_no_others(tmp_path, small_blocks, seed):
    rng = random.Random(seed)
    pack = rng.randbytes(200_000)
    (tmp_path / "pack").write_bytes(pack)
    cuts = sorted(rng.sample(range(len(pack)), 60))
    spans = [Span(a, rng.choice([b - a, b - a - 1])) for a, b in zip(cuts[::2], cuts[1::2], strict=True)]
    files = [File(f"f{at:02}", span) for at, span in enumerate(spans)]

    handed = hand_over(Documents("s", str(tmp_path / "pack"), files))
    handed.source.bring(0, handed.blocks)

    whole = Runs(spans)
    with mmap.mmap(handed.data, 0, prot=mmap.PROT_READ) as data:
        assert [data[whole.place(s) : whole.place(s) + s.length] for s in spans] == [
            pack[s.offset : s.offset + s.length] for s in spans
        ]
        assert len(data) == whole.total_bytes
    handed.close()


def test_nothing_is_there_before_it_is_asked_for(tmp_path, small_blocks):
    content = packed(tmp_path, {"a": b"a" * 3 * BLOCK, "b": b"b" * BLOCK})

    handed = hand_over(content)

    with mmap.mmap(handed.data, 0, prot=mmap.PROT_READ) as data:
        assert not any(data[:])
        handed.source.bring(3, 1)
        assert data[:] == bytes(3 * BLOCK) + b"b" * BLOCK
    assert handed.source.has(3, 1)
    assert not handed.source.has(2, 2)
    handed.close()


def test_the_context_is_there_from_the_beginning(tmp_path, small_blocks):
    content = packed(tmp_path, {"a": b"a" * 2 * BLOCK, "b": b"b" * BLOCK}, context="a")

    handed = hand_over(content)

    assert handed.there == (0, 2)
    assert handed.source.has(0, 2)
    assert not handed.source.has(2, 1)
    handed.close()


@pytest.mark.parametrize(
    ("touched", "asked"),
    [
        ([(0, 1)], [(0, 1)]),
        ([(0, 1), (BLOCK, BLOCK + 1), (2 * BLOCK, 2 * BLOCK + 1)], [(0, 1), (1, 2)]),
        ([(5 * BLOCK, 6 * BLOCK), (0, 9 * BLOCK)], [(5, 1), (0, 5), (6, 3)]),
        ([(0, 100 * BLOCK)], [(0, 64), (64, 36)]),
        ([(99 * BLOCK, 100 * BLOCK)], [(99, 1)]),
        ([(200 * BLOCK, 201 * BLOCK)], []),
    ],
)
def test_blocks_are_asked_for_once_and_ahead_where_they_are_touched_in_order(small_blocks, touched, asked):
    seen = []
    shown = Pages(mmap.mmap(-1, 300 * BLOCK), 100, lambda first, count: seen.append((first, count)))

    for start, stop in touched:
        shown.find(b"x", start, stop)

    assert seen == asked


@pytest.mark.real_io
@pytest.mark.parametrize("first_and_count", [(-1, 1), (0, 0), (1, 1), (0, 2), (0, 65)])
async def test_asking_for_what_there_is_not_ends_the_process(tmp_path, first_and_count):
    content = packed(tmp_path, {"a": b"text"})
    first, count = first_and_count

    async with open_sandbox() as sandbox:
        told = await sandbox.run(f"files._pages._bring({first}, {count})", content=content)

    assert told.killed.startswith("it broke the protocol")


@pytest.mark.real_io
async def test_a_large_text_is_right_wherever_it_is_touched(tmp_path):
    lines = [b"line %d of a long text\n" % n for n in range(200_000)]
    content = packed(tmp_path, {"a": b"x", "long": b"".join(lines), "z": b"end"})
    code = "n = files['long'].count('\\n')\nsubmit([n, grep('line 199999 '), files['z'], read('long', 7, 7)])"

    async with open_sandbox() as sandbox:
        told = await sandbox.run(code, content=content)

    assert told.answer == [
        200_000, [["long", 200_000, "line 199999 of a long text"]], "end", "line 6 of a long text\n",
    ]  # fmt: skip
