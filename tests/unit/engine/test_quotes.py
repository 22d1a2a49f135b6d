"""What a citation must be to be called verified."""

import pytest

from rlmd.engine import quotes
from rlmd.engine.quotes import hold
from rlmd.sandbox.requests import Lines, Quote
from snapshots import snapshot_of

TEXTS = {
    "a.py": "def add(a, b):\n    return a + b\n\n\ndef sub(a, b):\n    return a - b\n",
    "docs/b.md": "# Sums\n\nAdding is done\nby `add`.\n",
}


@pytest.fixture
def snapshot(tmp_path):
    snapshot = snapshot_of(tmp_path, TEXTS)
    yield snapshot
    snapshot.pack.close()


def places(held):
    return [(each.path, each.start_line, each.end_line, each.quote, each.verified) for each in held.citations]


def test_lines_are_cited_as_they_are_in_the_file(snapshot):
    held = hold(snapshot, [Lines("a.py", 5, 6)], [])

    assert places(held) == [("a.py", 5, 6, "def sub(a, b):\n    return a - b", True)]
    assert held.citations[0].sha256 == snapshot.entry("a.py").sha256


def test_lines_beyond_the_end_are_cut_and_lines_that_are_not_there_are_dropped(snapshot):
    held = hold(snapshot, [Lines("docs/b.md", 4, 99), Lines("a.py", 70, 80), Lines("no.py", 1, 1)], [])

    assert places(held) == [("docs/b.md", 4, 4, "by `add`.", True)]
    assert held.dropped == ("a.py:70-80", "no.py:1-1")


def test_a_quote_is_found_where_it_stands_whatever_its_white_space(snapshot):
    held = hold(snapshot, [Quote("Adding is  done by `add`")], [])

    assert places(held) == [("docs/b.md", 3, 4, "Adding is done\nby `add`.", True)]


def test_a_forged_quote_is_never_verified(snapshot):
    held = hold(snapshot, [Quote("return a * b"), Quote("a"), Lines("a.py", 0, 1), Lines("a.py", 3, 2)], [])

    assert held.citations == ()
    assert held.dropped == ('"return a * b"', '"a"', "a.py:0-1", "a.py:3-2")


def test_files_that_were_read_come_first_and_each_place_is_cited_once(tmp_path):
    snapshot = snapshot_of(tmp_path, {"a": "same words here\n", "b": "same words here\n"})

    held = hold(snapshot, [Quote("same words here"), Quote("same words"), Lines("b", 1, 1)], ["b"])

    assert places(held) == [("b", 1, 1, "same words here", True)]
    snapshot.pack.close()


def test_a_long_file_is_searched_in_pieces_with_true_line_numbers(tmp_path):
    lines = [f"line number {number} of many in this file" for number in range(1, 200_001)]
    snapshot = snapshot_of(tmp_path, {"log": "\n".join(lines) + "\n"})
    crossing = quotes.read_piece(snapshot.pack.read, snapshot.files[0].span, "utf-8", 0).count(b"\n")

    wanted = [1, crossing, 150_000, 200_000]
    held = hold(
        snapshot,
        [Quote("\n".join(lines[number - 1 : number + 1])) for number in wanted]
        + [Lines("log", number, number + 1) for number in wanted],
        [],
    )

    assert [(each.start_line, each.quote) for each in held.citations] == [
        (number, "\n".join(lines[number - 1 : number + 1])) for number in wanted
    ]
    assert held.dropped == ()
    snapshot.pack.close()
