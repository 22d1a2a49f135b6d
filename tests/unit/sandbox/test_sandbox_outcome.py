import pytest

from rlmd.sandbox.outcome import Violation, read_report
from rlmd.sandbox.requests import Lines, Quote, Variable

LIMIT = 100


def report(output="", written="0", error="", kind="", answer="", count="0", *more):
    return read_report([output, written, error, kind, answer, count, *more], output_chars=LIMIT)


def test_a_report_is_read_whole():
    found = report(
        "out", "3", "oops", "json", '{"a": [1, null]}', "1", "x", "list", "2", "lines", "a.py", "1", "2",
        "quote", "words", "", "",
    )  # fmt: skip

    assert (found.stdout, found.error, found.answer, found.submitted) == (
        "out",
        "oops",
        {"a": [1, None]},
        True,
    )
    assert found.variables == (Variable("x", "list", 2),)
    assert found.citations == (Lines("a.py", 1, 2), Quote("words"))
    assert not found.truncated


def test_no_answer_differs_from_the_answer_none():
    assert not report().submitted
    assert report(kind="json", answer="null").submitted


def test_output_beyond_the_limit_is_marked():
    assert report("x" * LIMIT, "5000").truncated


@pytest.mark.parametrize(
    "answer",
    ["NaN", "1e999", '"\\ud800"', "[" * 60_000, "1" * 10_000, "{", "-Infinity", " " * 70_000],
)
def test_what_is_no_strict_json_is_no_answer(answer):
    with pytest.raises(Violation):
        report(kind="json", answer=answer)


@pytest.mark.parametrize("count", ["-1", "x", "\u0663", "9" * 30, "2", "", "1000000"])
def test_a_count_that_does_not_add_up_is_a_violation(count):
    with pytest.raises(Violation):
        report("", "0", "", "", "", count, "x", "int", "0")


@pytest.mark.parametrize(
    "more", [("lines", "a", "1"), ("lines", "a", "x", "2"), ("other", "", "", ""), ("quote", "a", "b", "")]
)
def test_a_citation_of_no_kind_is_a_violation(more):
    with pytest.raises(Violation):
        report("", "0", "", "", "", "0", *more)


def test_output_longer_than_agreed_is_a_violation():
    with pytest.raises(Violation):
        report("x" * 1000)
