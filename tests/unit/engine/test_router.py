"""Which mode a question gets."""

import pytest

from rlmd.engine.router import Circumstances, estimate_tokens, kind_of, route

BIG = {"has_model": True, "has_sandbox": True, "tokens": 5_000_000, "room_tokens": 90_000}


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("Where is the retry policy decided?", "lookup"),
        ("Why does the parser fail on empty input?", "lookup"),
        ("How many requests failed with 503?", "count"),
        ("What is the most common error?", "count"),
        ("Which users appear, and the number of logins of each?", "count"),
        ("Classify the tickets by sentiment", "judge"),
        ("For each module, what does it do?", "judge"),
        ("List all endpoints without authentication", "judge"),
    ],
)
def test_a_question_is_to_find_to_reckon_or_to_judge(question, kind):
    assert kind_of(question) == kind


@pytest.mark.parametrize(
    ("question", "changes", "mode", "why"),
    [
        ("How many are there?", {"has_model": False}, "evidence", "none is configured"),
        ("How many are there?", {"tokens": 80_000}, "direct", "fit one call"),
        ("Where is it?", {}, "direct", "best passages"),
        ("How many are there?", {}, "rlm", "to count"),
        ("Classify every ticket", {}, "rlm", "judge every part"),
        ("How many are there?", {"has_sandbox": False}, "direct", "cannot be confined"),
        ("How many are there?", {"runs": 10, "whole_runs": 3}, "direct", "3 of 10"),
        ("How many are there?", {"runs": 10, "whole_runs": 4}, "rlm", "to count"),
        ("How many are there?", {"runs": 4, "whole_runs": 0}, "rlm", "to count"),
    ],
)
def test_the_least_that_will_do_is_chosen(question, changes, mode, why):
    chosen = route(question, Circumstances(**{**BIG, **changes}))

    assert chosen.mode == mode
    assert why in chosen.why
    assert "\n" not in chosen.why


def test_the_next_mode_up_has_its_price():
    assert "36,000 tokens" in route("Where is it?", Circumstances(**BIG)).why
    assert estimate_tokens("judge", 1_000_000) == 1_036_000
