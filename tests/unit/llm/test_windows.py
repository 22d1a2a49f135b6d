"""Requests and tokens a minute."""

import pytest

from llm_world import chat
from rlmd.llm.values import Allowance, RateInfo
from rlmd.llm.windows import Windows, estimate_tokens


def told(limit, remaining, reset_s=None):
    return RateInfo(requests=Allowance(limit, remaining, reset_s))


def test_without_limits_nothing_waits():
    windows = Windows(0)

    for _ in range(10_000):
        windows.reserve(0, 10**9)

    assert windows.wait_s(0, 10**9) == 0


def test_requests_beyond_the_minute_wait_for_what_comes_back():
    windows = Windows(0, rpm=60)

    for _ in range(60):
        assert windows.wait_s(0, 1) == 0
        windows.reserve(0, 1)

    assert windows.wait_s(0, 1) == 1
    assert windows.wait_s(0.5, 1) == 0.5
    assert windows.wait_s(1, 1) == 0


def test_tokens_are_reserved_before_and_settled_after():
    windows = Windows(0, tpm=6_000)
    held = windows.reserve(0, 6_000)
    assert windows.wait_s(0, 1_000) == 10

    windows.settle(held, sent=True, tokens=5_000)

    assert windows.wait_s(0, 1_000) == 0
    assert windows.wait_s(0, 2_000) == 10


def test_an_unknown_use_keeps_the_estimate():
    windows = Windows(0, tpm=6_000)

    windows.settle(windows.reserve(0, 6_000), sent=True, tokens=None)

    assert windows.wait_s(0, 100) == 1


def test_a_call_that_took_more_than_estimated_is_owed():
    windows = Windows(0, tpm=6_000)

    windows.settle(windows.reserve(0, 6_000), sent=True, tokens=7_000)

    assert windows.wait_s(0, 100) == 11


def test_what_was_never_sent_takes_nothing():
    windows = Windows(0, rpm=1, tpm=60)

    windows.settle(windows.reserve(0, 60), sent=False, tokens=None)

    assert windows.wait_s(0, 60) == 0


def test_a_call_larger_than_the_window_needs_all_of_it_and_goes():
    windows = Windows(0, tpm=600)
    windows.reserve(0, 60)

    assert windows.wait_s(0, 100_000) == 6
    assert windows.wait_s(6, 100_000) == 0


def test_a_limit_is_learnt_from_headers():
    windows = Windows(0)

    windows.learn(0, told(limit=60, remaining=0, reset_s=60))

    assert windows.wait_s(0, 1) == 1


def test_calls_under_way_count_beside_what_the_server_has_seen():
    windows = Windows(0)
    windows.reserve(0, 1)

    windows.learn(0, told(limit=60, remaining=1))

    assert windows.wait_s(0, 1) == 1


def test_a_lower_remainder_is_believed_and_a_higher_one_is_not():
    windows = Windows(0, rpm=0)
    windows.learn(0, told(limit=600, remaining=600))

    windows.learn(0, told(limit=600, remaining=0))
    windows.learn(0, told(limit=600, remaining=300))

    assert windows.wait_s(0, 1) == pytest.approx(0.1)


def test_the_reset_tells_how_fast_a_daily_limit_comes_back():
    windows = Windows(0)

    windows.learn(0, told(limit=200, remaining=0, reset_s=86_400))

    assert windows.wait_s(0, 1) == 432


def test_a_reset_of_next_to_nothing_is_rounding_and_tells_no_rate():
    windows = Windows(0)

    windows.learn(0, told(limit=60, remaining=59, reset_s=3600))
    for _ in range(59):
        windows.reserve(0, 1)

    assert windows.wait_s(0, 1) == 1


@pytest.mark.parametrize("nonsense", [told(0, 0), told(-1, -1), told(None, 5), told(5, None), RateInfo()])
def test_limits_that_make_no_sense_are_no_limits(nonsense):
    windows = Windows(0)

    windows.learn(0, nonsense)

    assert windows.wait_s(0, 1) == 0


def test_configured_limits_do_not_listen_to_headers():
    windows = Windows(0, rpm=60)

    windows.learn(0, told(limit=60, remaining=0))

    assert windows.wait_s(0, 1) == 0


def test_a_reservation_is_settled_once():
    windows = Windows(0)
    held = windows.reserve(0, 1)
    windows.settle(held, sent=True, tokens=1)

    with pytest.raises(KeyError):
        windows.settle(held, sent=True, tokens=1)
    assert windows.unsettled == 0


def test_an_estimate_holds_the_prompt_and_the_answer():
    assert estimate_tokens(chat("x" * 400, max_tokens=50)) == 150
    assert estimate_tokens(chat("x" * 400)) == 600
