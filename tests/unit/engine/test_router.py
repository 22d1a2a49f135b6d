"""Which mode a question gets."""

import pytest

from rlmd.engine.router import Circumstances, Price, estimate, kind_of, route

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
        ("How many of the reviews are positive?", "judge"),
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
        ("How many are there?", {"tokens": 80_000}, "direct", "tokens fit it"),
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


def test_each_choice_names_its_price_and_that_of_the_next_mode_up():
    here = Circumstances(**{**BIG, "price": Price(1e-6, 1e-5)})

    find, count = route("Where is it?", here), route("How many are there?", here)
    judge = route("Classify every ticket", here)

    assert find.why.endswith("(≤ 99,192 tokens, ≤ $0.1729); mode rlm would take ≤ 36,000 tokens, ≤ $0.0846.")
    assert count.why.endswith(
        "(≤ 36,000 tokens, ≤ $0.0846); with sub-calls over all of it ≤ 5,036,000 tokens, ≤ $11.8346."
    )
    assert judge.why.endswith("(≤ 5,036,000 tokens, ≤ $11.8346).")
    assert (count.sub_calls, judge.sub_calls) == (False, True)


def test_a_price_that_nobody_knows_is_said_to_be_unknown():
    assert "price unknown" in route("Where is it?", Circumstances(**BIG)).why


def test_whole_content_is_estimated_by_its_size():
    small = Circumstances(**{**BIG, "tokens": 1_000, "price": Price(1e-6, 1e-5)})

    assert estimate("direct", "Where is it?", small).tokens == 1_500 + 1_000 + 8_192
    assert estimate("evidence", "Where is it?", small).usd == 0


@pytest.mark.parametrize(
    ("limit", "mode"),
    [
        ({"most_calls": 0}, "evidence"),
        ({"most_calls": 2}, "direct"),
        ({"most_tokens": 50_000}, "direct"),
        ({"most_usd": 1.0}, "direct"),
        ({"most_usd": 100.0, "most_tokens": 10_000_000, "most_calls": 500}, "rlm"),
    ],
)
def test_what_the_budget_does_not_cover_is_not_begun(limit, mode):
    here = Circumstances(**{**BIG, "price": Price(1e-6, 1e-5), **limit})

    assert route("Classify every ticket", here).mode == mode
