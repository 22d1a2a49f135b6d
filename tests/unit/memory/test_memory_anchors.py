"""What has become of cited lines: said exactly, and never too kindly."""

import pytest

from rlmd.errors import BadArgument
from rlmd.memory.anchor import check
from rlmd.memory.evidence import Lines, anchor_at, read_lines

FILE = """import os

def first(path):
    handle = open(path)
    return handle.read()

def second(path):
    for line in first(path).splitlines():
        if line.startswith("#"):
            continue
        yield line.strip()

def third(value):
    return value
""".splitlines()


def anchored(start, end, lines=FILE):
    return anchor_at(Lines(lines, "sha"), "a.py", start, end, shown="a.py")[0]


def changed(edit, start=8, end=11):
    lines = list(FILE)
    edit(lines)
    found = check(anchored(start, end), lines)
    return found.status, found.start_line, found.end_line


def test_the_same_lines_at_the_same_place_are_fresh():
    assert changed(lambda lines: None) == ("fresh", 8, 11)


def test_lines_stay_fresh_when_others_change():
    assert changed(lambda lines: lines.__setitem__(4, "    return None")) == ("fresh", 8, 11)


def test_lines_below_an_insertion_are_moved():
    assert changed(lambda lines: lines.insert(0, "# header")) == ("moved", 9, 12)


def test_lines_that_were_carried_elsewhere_are_moved():
    def carry(lines):
        lines += lines[6:11]
        del lines[6:11]

    assert changed(carry) == ("moved", 11, 14)


@pytest.mark.parametrize(
    ("at", "line"),
    [
        (8, '        if line.startswith("%"):'),
        (8, '      if line.startswith("#"):'),
        (8, '        if line.startswith("#"): '),
        (8, '\t\tif line.startswith("#"):'),
        (10, "        yield line.strip()\r"),
    ],
)
def test_a_changed_character_white_space_included_is_edited(at, line):
    assert changed(lambda lines: lines.__setitem__(at, line)) == ("edited", 8, 11)


def test_an_edit_is_shown_as_a_difference():
    lines = [*FILE[:8], '        if line.startswith("%"):', *FILE[9:]]

    diff = check(anchored(8, 11), lines).diff

    assert '-        if line.startswith("#"):' in diff
    assert '+        if line.startswith("%"):' in diff


def test_an_inserted_line_inside_is_an_edit_that_takes_it_in():
    assert changed(lambda lines: lines.insert(9, "            # skip")) == ("edited", 8, 12)


def test_lines_that_are_gone_are_stale():
    assert changed(lambda lines: lines.__delitem__(slice(7, 11))) == ("stale", 8, 11)


def test_a_file_that_is_gone_makes_its_lines_missing():
    assert check(anchored(8, 11), None).status == "missing"


def test_an_emptied_file_makes_its_lines_stale():
    assert check(anchored(8, 11), []).status == "stale"


def test_a_copy_with_the_surroundings_of_old_is_preferred():
    lines = [*FILE[6:11], *FILE]

    assert check(anchored(8, 11), lines).start_line in {2, 13}
    assert (
        check(
            anchored(8, 11, [*FILE[:6], "# above", *FILE[7:]]), [*FILE[7:11], *FILE[:6], "# above", *FILE[7:]]
        ).start_line
        == 12
    )


def test_copies_that_nothing_tells_apart_are_ambiguous():
    block = ["def f():", "    return 1", ""]

    found = check(anchored(1, 2, [*block]), ["# top", *block, *block])

    assert found.status == "ambiguous"


def test_a_telltale_less_line_that_came_to_stand_there_is_not_fresh():
    """A lone `return None` at the old line number says nothing when all around it is new."""
    old = ["def a():", "    x = 1", "    return None", "", "def b():"]
    new = ["def c():", "    y = 2", "    return None", "", "class D:"]
    lines = [line for line in new if line]
    lines.insert(3, "# other")

    assert check(anchored(3, 3, old), lines).status == "ambiguous"


def test_without_time_to_search_a_change_is_stale():
    lines = [*FILE[:8], '        if line.startswith("%"):', *FILE[9:]]

    assert check(anchored(8, 11), lines, thorough=False).status == "stale"
    assert check(anchored(8, 11), ["", *FILE], thorough=False).status == "moved"


def test_lines_with_a_secret_are_known_again_without_keeping_it():
    lines = [*FILE[:7], "    key = 'AKIAIOSFODNN7EXAMPLE'", *FILE[8:]]
    anchor = anchored(8, 11, lines)

    assert "AKIA" not in anchor.span
    assert check(anchor, lines).status == "fresh"
    assert check(anchor, ["", *lines]).start_line == 9
    assert check(anchor, [*lines[:7], "    key = 'AKIAIOSFODNN7EXAMPLF'", *lines[8:]]).status != "fresh"


@pytest.mark.parametrize(("start", "end"), [(0, 1), (3, 2), (1, 99), (2, 2)])
def test_lines_that_cannot_be_cited_are_refused(start, end):
    with pytest.raises(BadArgument, match="evidence"):
        anchored(start, end)


def test_too_much_is_refused():
    with pytest.raises(BadArgument, match="it takes"):
        anchored(1, 500, ["x"] * 600)
    with pytest.raises(BadArgument, match="it takes"):
        anchored(1, 2, ["x" * 20_000, "y"])


def test_what_is_no_text_file_has_no_lines(tmp_path):
    (tmp_path / "binary").write_bytes(b"a\0b")
    (tmp_path / "text").write_text("a\nb\n")

    assert read_lines(str(tmp_path)) is None
    assert read_lines(str(tmp_path / "binary")) is None
    assert read_lines(str(tmp_path / "nothing")) is None
    assert read_lines(str(tmp_path / "text")).lines == ["a", "b"]
