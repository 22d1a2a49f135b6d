"""Cuts follow one another and leave out no line, whatever the file looks like."""

from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from rlmd.corpus.cuts import CODE_LINES, LOG_LINES, MOST_CHARS, PROSE_LINES, Style, cut, lines_of

LINES = st.sampled_from(
    [
        "",
        "    ",
        "    x = 1",
        "def f():",
        "    def method(self):",
        "class C:",
        "@decorated",
        "# comment",
        "        return 1",
        "# Heading",
        "function g() {",
        "    run(x) {",
        "}",
        "static int main(int argc)",
        "#define X 1",
        "export const h = async () => {",
        "pub fn new() -> Self {",
        "\tdef tabbed():",
        "struct s {",
        "x" * 5000,
    ]
)
STYLES = st.sampled_from(get_args(Style))
LONGEST = {"prose": PROSE_LINES, "log": LOG_LINES}


@given(st.lists(LINES, max_size=400), STYLES)
def test_cuts_partition_every_file(lines: list[str], style: Style) -> None:
    cuts = cut(lines, style)

    assert [line for each in cuts for line in range(each.start, each.stop)] == list(range(len(lines)))
    assert all(each.start < each.stop for each in cuts)


@given(st.lists(LINES, max_size=400), STYLES)
def test_no_cut_is_too_long(lines: list[str], style: Style) -> None:
    for each in cut(lines, style):
        assert each.stop - each.start <= LONGEST.get(style, CODE_LINES)
        size = sum(map(len, lines[each.start : each.stop]))
        assert size <= MOST_CHARS or each.stop - each.start == 1


@given(st.lists(LINES, max_size=200), STYLES)
def test_every_name_is_defined_in_its_cut(lines: list[str], style: Style) -> None:
    for each in cut(lines, style):
        text = "\n".join(lines[each.start : each.stop])
        assert all(name in text for name in each.names)


@given(st.text(st.sampled_from("ab\n\r\f\x85\u2028"), max_size=60))
def test_lines_are_those_that_grep_counts(text: str) -> None:
    lines = lines_of(text)

    assert len(lines) == text.count("\n") + (not text.endswith("\n") and text != "")
    assert text.removesuffix("\n") == "\n".join(lines)
