"""What a model claims to cite, against what it was shown."""

import time

import pytest

from rlmd.engine.claims import Shown, check
from rlmd.values import Citation

LINES = ("def retry(n):", "    delay = 2 ** n  # backoff[0]", "    return delay", "", "LIMIT = 5")
SHOWN = [
    Shown("src/a.py", 10, LINES, "aa", verified=True),
    Shown("b c.md", 1, ("# Title", "Retry at most five times."), "bb", verified=True),
]


def lines_of(text):
    checked = check(text, SHOWN)
    return [(each.path, each.start_line, each.end_line) for each in checked.citations], checked.dropped


def test_a_claim_that_holds_becomes_a_citation_with_its_bytes():
    checked = check('It doubles [src/a.py:11-12 "delay = 2 ** n"].', SHOWN)

    assert checked.text == "It doubles [src/a.py:11-12]."
    assert checked.dropped == ()
    assert checked.citations == (
        Citation("src/a.py", 11, 12, "\n".join(LINES[1:3]), "aa", verified=True, score=1.0),
    )


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("[src/a.py:14]", [("src/a.py", 14, 14)]),
        ("[./src/a.py:14]", [("src/a.py", 14, 14)]),
        ("[`src/a.py:14-14`]", []),
        ("[src/a.py:10\u201311]", [("src/a.py", 10, 11)]),
        ("[b c.md:2]", [("b c.md", 2, 2)]),
        ("[src/a.py:10; b c.md:2]", [("src/a.py", 10, 10), ("b c.md", 2, 2)]),
        ('[src/a.py:11 "backoff[0]", b c.md:2 "five   times"]', [("src/a.py", 11, 11), ("b c.md", 2, 2)]),
        ("[src/a.py:10] and again [src/a.py:10]", [("src/a.py", 10, 10)]),
        ("[src/a.py:5-11]", [("src/a.py", 10, 11)]),
        ("[src/a.py:14-900]", [("src/a.py", 14, 14)]),
    ],
)
def test_claims_are_read_as_models_write_them(text, places):
    assert lines_of(text)[0] == places


def test_words_that_stand_elsewhere_in_the_file_correct_the_lines():
    assert lines_of('[src/a.py:10 "LIMIT = 5"]') == ([("src/a.py", 14, 14)], ())
    assert lines_of('[src/a.py:99 "n # backoff[0] return delay"]') == ([("src/a.py", 11, 12)], ())


@pytest.mark.parametrize(
    ("text", "dropped"),
    [
        ("[src/zzz.py:10]", "src/zzz.py:10"),
        ("[src/a.py:1-9]", "src/a.py:1-9"),
        ("[src/a.py:15]", "src/a.py:15"),
        ("[src/a.py:12-11]", "src/a.py:12-11"),
        ('[src/a.py:10 "never written"]', "src/a.py:10"),
        ("[src/a.py:0]", "src/a.py:0"),
    ],
)
def test_a_claim_that_matches_nothing_is_dropped_and_reported(text, dropped):
    checked = check(f"So it is {text}, surely.", SHOWN)

    assert checked.text == "So it is, surely."
    assert checked.citations == ()
    assert checked.dropped == (dropped,)


def test_of_several_claims_those_that_hold_stay():
    checked = check("x [src/a.py:10; gone.py:1]", SHOWN)

    assert checked.text == "x [src/a.py:10]"
    assert checked.dropped == ("gone.py:1",)


@pytest.mark.parametrize(
    "text", ["see [1]", "a[i:10]b c", "[link](http://host:80/x)", "items[0]", "[12:30] begun", "plain prose"]
)
def test_prose_with_brackets_is_left_alone(text):
    checked = check(text, SHOWN)

    assert checked.citations == ()
    assert checked.text == text or checked.dropped


@pytest.mark.parametrize(
    "text",
    [
        "[" * 50_000 + 'a:1 "' * 20_000 + "]" * 1_000,
        "[" + "a:1 " * 30_000,
        '["' * 30_000,
        "[a:1 " * 30_000 + "]",
        " " * 100_000 + "[",
    ],
)
def test_a_hostile_answer_takes_no_longer_than_its_length(text):
    began = time.process_time()

    checked = check(text, SHOWN)

    assert checked.citations == ()
    assert time.process_time() - began < 2
