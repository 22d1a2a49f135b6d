from rlmd.corpus.cuts import cut, lines_of, style_of

PYTHON = '''"""A module."""

import os


@decorated
def first():
    return 1


class Outer:
    """Docs."""

    a = 1
    b = 2
    c = 3
    d = 4
    e = 5
    f = 6
    g = 7
    h = 8

    # why
    def method(self):
        return os
'''


def test_a_cut_begins_with_the_decorators_and_comments_of_its_definition() -> None:
    lines = lines_of(PYTHON)

    cuts = cut(lines, style_of("a.py"))

    assert [lines[each.start] for each in cuts] == [
        '"""A module."""',
        "@decorated",
        "class Outer:",
        "    # why",
    ]
    assert [each.names for each in cuts] == [(), ("first",), ("Outer",), ("method",)]
    assert cuts[-1].within == ("class Outer:",)


def test_markdown_is_cut_at_headings() -> None:
    lines = ["# A", "x", "y", "## B", "z"]

    assert [(each.start, each.stop, each.names) for each in cut(lines, "headings")] == [
        (0, 3, ("A",)),
        (3, 5, ("B",)),
    ]


def test_a_long_definition_is_cut_at_blank_lines_and_its_rest_lies_within_it() -> None:
    lines = ["def long():", *["    x = 1"] * 49, "", *["    y = 2"] * 30]

    assert [(each.start, each.stop, each.within) for each in cut(lines, "named")] == [
        (0, 50, ()),
        (50, 81, ("def long():",)),
    ]


def test_a_short_log_is_cut_finely_so_that_passages_differ() -> None:
    assert len(cut(["line"] * 240, style_of("text"))) == 20
    assert len(cut(["line"] * 4000, style_of("server.log"))) == 100


def test_a_list_of_macros_is_one_passage_and_its_names_do_not_count_as_definitions() -> None:
    macros = [f"#define REG_{number} {number}" for number in range(40)]
    function = ["int start(void)", "{", "\treturn 0;", "}"]

    cuts = cut([*macros, "", *function], style_of("regs.h"))

    assert [(each.start, each.stop, each.names) for each in cuts] == [
        (0, 41, ("REG_0",)),
        (41, 45, ("start",)),
    ]


def test_macros_that_stand_apart_are_definitions_each() -> None:
    lines = [line for number in range(3) for line in ("/* why */", f"#define A_{number}(x) \\", "\tf(x)", "")]

    cuts = cut(lines, style_of("a.h"))

    assert [each.names for each in cuts] == [("A_0",), ("A_1",), ("A_2",)]
