from __future__ import annotations

import pytest

from rlmd.corpus.demand import NOTHING, Demand, Every, Some, demand
from rlmd.corpus.lines import ascii_part, line_text
from rlmd.corpus.pattern import read_pattern


def demanded(pattern: str, *, ignore_case: bool = False) -> Demand:
    return demand(read_pattern(pattern, ignore_case=ignore_case, fixed_strings=False))


@pytest.mark.parametrize(
    ("pattern", "texts"),
    [
        ("kmalloc", b"kmalloc"),
        ("KMalloc", b"kmalloc"),
        ("^int$", b"\nint\n"),
        (r"\bint\b", b"int"),
        ("ab", NOTHING),
        (r"struct\s+page", Every((b"struct", b"page"))),
        ("(foo|bar)_x", Every((Some((b"foo", b"bar")),))),
        ("(foo|b.)_xy", b"_xy"),
        ("(foo|b.)", NOTHING),
        ("a{3}", b"aaa"),
        ("xa{2,5}y", Every((b"xaa",))),
        ("xaa+yy", Every((b"xaa", b"ayy"))),
        ("(abc)*x", NOTHING),
        ("[Tt]odo", b"todo"),
        ("[Tt]o[dt]o", NOTHING),
        ("éÉté", "éété".encode()),
    ],
)
def test_what_a_line_must_hold_is_told_folded_and_never_too_much(pattern: str, texts: Demand) -> None:
    found = demanded(pattern)

    assert found in (texts, *(texts.parts[:1] if isinstance(texts, Every) and len(texts.parts) == 1 else ()))


def test_letters_that_fold_to_one_are_one_demand() -> None:
    assert demanded("skip", ignore_case=True) == b"skip"
    assert demanded("straße", ignore_case=True) == b"stra"


def test_too_many_choices_demand_nothing() -> None:
    assert demanded("|".join(f"word{number}" for number in range(1000))) == NOTHING


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("ab", r"ab[^\n]*\n"),
        ("ab$", r"ab\n"),
        ("a$|b", r"(?:a\n|b[^\n]*\n)"),
        ("aé|b", r"(?:b[^\n]*\n)"),
        ("aé*b", r"ab[^\n]*\n"),
    ],
)
def test_a_program_runs_to_the_end_of_the_line_and_knows_only_ascii(pattern: str, text: str) -> None:
    tree = read_pattern(pattern, ignore_case=False, fixed_strings=False)

    assert line_text(ascii_part(tree)) == text
