"""When an endpoint is left alone, and how it is taken up again."""

import math

import pytest

from rlmd.llm.breaker import Breaker


def opened(at=0.0):
    breaker = Breaker(limit=5, cooldown_s=30)
    end(breaker, at, *["fault"] * 5)
    assert breaker.is_open
    return breaker


def end(breaker, now, *endings):
    for ending in endings:
        breaker.leave(now, breaker.enter(now), ending)


def test_five_faults_open_it_and_four_do_not():
    breaker = Breaker(limit=5, cooldown_s=30)

    end(breaker, 0, *["fault"] * 4)
    after_four = breaker.is_open
    end(breaker, 1, "fault")

    assert (after_four, breaker.is_open, breaker.wait_s(1)) == (False, True, 30)


def test_an_answer_between_begins_the_count_anew():
    breaker = Breaker(limit=5, cooldown_s=30)

    end(breaker, 0, *["fault"] * 4, "answered", *["fault"] * 4)

    assert not breaker.is_open


@pytest.mark.parametrize("ending", ["cancelled", "refused"])
def test_cancellations_and_refusals_never_count(ending):
    breaker = Breaker(limit=5, cooldown_s=30)

    end(breaker, 0, *[ending] * 100, *["fault"] * 4, *[ending] * 100)
    before = breaker.is_open
    end(breaker, 0, "fault")

    assert (before, breaker.is_open) == (False, True)


def test_an_open_one_turns_calls_away_until_the_cooldown_is_over():
    breaker = opened(at=10)

    assert breaker.enter(39.9) is None
    assert breaker.wait_s(25) == 15
    assert breaker.enter(40) is not None


def test_one_probe_alone_is_let_through():
    breaker = opened()

    probe = breaker.enter(30)

    assert probe is not None
    assert breaker.enter(30) is None
    assert breaker.wait_s(30) == math.inf


@pytest.mark.parametrize("ending", ["answered", "refused"])
def test_a_probe_that_reaches_the_endpoint_closes_it(ending):
    breaker = opened()

    end(breaker, 30, ending)

    assert not breaker.is_open
    end(breaker, 30, *["fault"] * 4)
    assert not breaker.is_open


def test_a_probe_that_fails_begins_the_cooldown_anew():
    breaker = opened()
    probe = breaker.enter(30)

    breaker.leave(42, probe, "fault")

    assert breaker.wait_s(42) == 30
    assert breaker.enter(72) is not None


def test_a_cancelled_probe_leaves_the_place_to_the_next():
    breaker = opened()

    end(breaker, 31, "cancelled")

    assert breaker.is_open
    assert breaker.enter(31) is not None


def test_what_was_sent_before_an_outage_says_nothing_about_it():
    breaker = Breaker(limit=5, cooldown_s=30)
    early = [breaker.enter(0) for _ in range(7)]
    for call in early[:5]:
        breaker.leave(1, call, "fault")

    breaker.leave(2, early[5], "answered")
    breaker.leave(20, early[6], "fault")

    assert breaker.is_open
    assert breaker.wait_s(20) == 11


@pytest.mark.parametrize("ending", ["answered", "fault", "cancelled"])
def test_what_was_sent_before_an_outage_does_not_end_its_probe(ending):
    breaker = Breaker(limit=5, cooldown_s=30)
    early = breaker.enter(0)
    end(breaker, 0, *["fault"] * 5)
    breaker.enter(30)

    breaker.leave(31, early, ending)

    assert breaker.wait_s(31) == math.inf
