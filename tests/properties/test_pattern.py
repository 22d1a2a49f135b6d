from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlmd.corpus import charset
from rlmd.corpus.charset import Ranges
from rlmd.corpus.pattern import compile_pattern
from rlmd.errors import BadArgument

POINTS = st.one_of(st.integers(0, 0x17F), st.sampled_from([0x212A, 0xD7FF, 0xE000, 0x10FFFF]))
SETS = st.lists(st.tuples(POINTS, POINTS).map(lambda pair: (min(pair), max(pair))), max_size=4).map(
    charset.union
)
LINES = st.lists(st.text(st.sampled_from("ab.( \té\ufeff\u2028\r"), max_size=6), max_size=8)


def members(ranges: Ranges) -> set[int]:
    """The points below 0x200 and the odd few: enough to tell two of these sets apart."""
    probes = [*range(0x200), 0x212A, 0xD7FF, 0xE000, 0x10FFFF]
    return {point for point in probes if any(low <= point <= high for low, high in ranges)}


def matching_lines(pattern: str, text: str | bytes, *, ignore_case: bool = False) -> list[str]:
    data = text if isinstance(text, bytes) else text.encode()
    found = compile_pattern(pattern, ignore_case=ignore_case).lines(data)
    return [data[start:end].decode("utf-8", "replace") for start, end in found]


@given(SETS, SETS)
def test_sets_of_characters_obey_set_algebra(left: Ranges, right: Ranges) -> None:
    a, b = members(left), members(right)

    assert members(charset.union(left, right)) == a | b
    assert members(charset.intersection(left, right)) == a & b
    assert members(charset.difference(left, right)) == a - b
    assert members(charset.symmetric_difference(left, right)) == a ^ b
    assert (
        members(charset.complement(charset.intersection(left, charset.SCALARS)))
        == members(charset.SCALARS) - a
    )


@given(lines=LINES, text=st.text(st.sampled_from("ab.( \té"), max_size=3), ended=st.booleans())
def test_plain_text_is_found_in_exactly_the_lines_that_hold_it(
    *, lines: list[str], text: str, ended: bool
) -> None:
    data = "\n".join(lines) + "\n" * ended
    split = data.split("\n")
    expected = [line for line in (split if split[-1] else split[:-1]) if text in line]

    found = compile_pattern(text, fixed_strings=True).lines(data.encode())

    assert [data.encode()[start:end].decode() for start, end in found] == expected


@given(st.text(st.sampled_from("ab(|)[]^-&*+?{}1,\\dwWpLb.$:Pi<>x#~ \n"), max_size=14))
def test_any_text_is_a_pattern_or_a_bad_argument(pattern: str) -> None:
    try:
        found = compile_pattern(pattern).lines("ab1\né\n".encode())
    except BadArgument:
        return

    assert set(found) <= {(0, 3), (4, 6)}


@given(
    LINES, st.sampled_from(["a|b", "^a?$", r"(a|\()+b?", r"a.*\(", r"[^a]b", "(?:ab|ba){2}", "b$", r"\.a"])
)
def test_a_pattern_with_nothing_unicode_about_it_finds_what_re_finds(lines: list[str], pattern: str) -> None:
    kept = [line for line in lines if "\r" not in line]
    expected = [line for line in kept if re.search(pattern, line)]

    assert matching_lines(pattern, "".join(line + "\n" for line in kept)) == expected


@pytest.mark.parametrize(
    ("pattern", "where", "why"),
    [
        (r"a(?=b)", "at character 2 ('(?=')", "look-around is not supported"),
        (r"(?<!x)y", "at character 1 ('(?<')", "look-around is not supported"),
        (r"(a)\1", r"at character 4 ('\\1')", "back-references are not supported"),
        (r"[\1]", r"at character 2 ('\\1')", "back-references are not supported"),
        ("a(b", "at character 2 ('(')", "unclosed group"),
        ("ab)", "at character 3 (')')", "unopened group"),
        ("x[ab", "at character 2 ('[')", "unclosed character class"),
        ("a|*", "at character 3 ('*')", "repetition operator without an expression before it"),
        ("a{2", "at character 2 ('{')", "unclosed counted repetition"),
        ("a{3,2}", "at character 2 ('{3,2}')", "the start of a repetition must be <= its end"),
        ("a{1001}", "at character 2 ('{1001}')", "more than 1000 repetitions"),
        ("[z-a]", "at character 2 ('z-a')", "the start of a range must be <= its end"),
        (r"[a-\d]", r"at character 2 ('a-\\d')", "a range runs between two characters"),
        (r"a\n", r"at character 2 ('\\n')", "a line end cannot match: the search goes line by line"),
        (r"\p{Klingonish}", r"at character 1 ('\\p{Klingonish}')", "no such Unicode property"),
        (r"\Z", r"at character 1 ('\\Z')", "unrecognized escape sequence"),
        ("a\\", r"at character 2 ('\\')", "incomplete escape sequence"),
        ("(?z)", "at character 3 ('z')", "unrecognized flag"),
        (
            "(?-u:.)",
            "at character 6 ('.')",
            "matching bytes that are no UTF-8 is not supported: leave out (?-u)",
        ),
        ("(" * 200, "at character 101 ('(')", "nested more than 100 deep"),
    ],
)
def test_a_pattern_that_is_none_is_refused_with_the_place_and_the_reason(
    pattern: str, where: str, why: str
) -> None:
    with pytest.raises(BadArgument) as refused:
        compile_pattern(pattern)

    assert refused.value.message == f"pattern is no valid regex {where}: {why}"


@pytest.mark.parametrize("pattern", [r"(?:\w{1000}){1000}", r"(?:(?:\pL{90}){90}){90}"])
def test_a_pattern_too_large_for_the_engine_is_refused(pattern: str) -> None:
    with pytest.raises(BadArgument, match="pattern is too large"):
        compile_pattern(pattern)


@pytest.mark.parametrize(
    ("pattern", "text", "lines"),
    [
        (r"^\w+$", "naïve\nx y\n日本\n", ["naïve", "日本"]),
        (r"^\W+$", "—\na\n", ["—"]),
        (r"\d", "٣\nx\n", ["٣"]),
        (r"a\sb", "a\u00a0b\na\x0bb\na\x1cb\n", ["a\u00a0b", "a\x0bb"]),
        (r"^[[:alpha:]]$", "é\na\n", ["a"]),
        (r"^\p{Greek}$", "\u03c3\na\n", ["\u03c3"]),
        (r"^\PL$", "1\na\n", ["1"]),
        (r"^[a-z&&[^aeiou]]+$", "bcd\nbad\n", ["bcd"]),
        (r"^[a-f--[bd]]+$", "ace\nabe\n", ["ace"]),
        (r"^[a-c~~b-d]+$", "ad\nb\n", ["ad"]),
        (r"^[]a]$", "]\na\nb\n", ["]", "a"]),
        (r"^\x{e9}\u00e9\U000000e9\xe9$", "éééé\n", ["éééé"]),
        (r"(?x) a \ b # a comment", "a b\nab\n", ["a b"]),
        (r"(?i:É)x", "éx\néX\n", ["éx"]),
        (r"\Ab\z", "a\nb\nbb\n", ["b"]),
        (r"(?P<n>a)(?<m>b)", "ab\n", ["ab"]),
        (r"a**b", "aab\n", ["aab"]),
        (r"(?s)a.b", "a\nb\n", []),
        (r"\bé\b", "é\nxé\né.\n", ["é", "é."]),
        (r"é\B", "éa\né\n", ["éa"]),
        (r"(?-u:\b)é", "xé\né\n", ["xé"]),
    ],
)
def test_unicode_and_syntax_are_those_of_ripgrep(pattern: str, text: str, lines: list[str]) -> None:
    assert matching_lines(pattern, text) == lines


@pytest.mark.parametrize(
    ("pattern", "needles"),
    [
        (r"foo\bbar", (b"foobar",)),
        (r"\w+_lock\(", (b"_lock(",)),
        ("(?:spin|mutex)_", (b"spin", b"mutex")),
        ("(?:spin|[a-z]+)x", ()),
        ("(?i)foo1", ()),
        ("(abc)+d?", (b"abc",)),
        ("(abc)*", ()),
    ],
)
def test_a_pattern_names_texts_of_which_every_match_holds_one(
    pattern: str, needles: tuple[bytes, ...]
) -> None:
    assert compile_pattern(pattern).needles == needles


@given(st.lists(st.sampled_from(["needle x", "a needle 7", "no", "", "needle "]), max_size=60))
def test_a_needle_in_many_lines_that_do_not_match_hides_no_line_that_does(lines: list[str]) -> None:
    text = "".join(line + "\n" for line in lines * 3)

    assert matching_lines(r"needle \d", text) == [line for line in lines * 3 if line.endswith("7")]


def test_case_folds_simply_and_without_turkish_dots() -> None:
    kelvin, long_s, dotless_i = "\u212a", "\u017f", "\u0131"
    text = f"{kelvin}\n{long_s}\nİ\n{dotless_i}\nÉé\n"

    assert matching_lines("[ks]", text, ignore_case=True) == [kelvin, long_s]
    assert matching_lines("i", text, ignore_case=True) == []
    assert matching_lines("éÉ", text, ignore_case=True) == ["Éé"]


def test_bytes_that_are_no_utf_8_match_no_character() -> None:
    text = b"a\xffb\na\xed\xa0\x80b\na\xe0\x80\x80b\na\xc3\xa9b\n"

    assert matching_lines(r"^a.b$", text) == ["aéb"]
    assert matching_lines(r"^a[^x]+b$", text) == ["aéb"]


def test_a_word_edge_that_would_backtrack_for_ever_ends_in_a_bad_argument() -> None:
    with pytest.raises(BadArgument, match="too long"):
        matching_lines(r"^(?:\w|\w\w|\w{3})*!\b$", "é" * 60 + "!\n")
