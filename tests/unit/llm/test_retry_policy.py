"""When a failed call is made again."""

import pytest

from rlmd.llm.retry import Retry
from rlmd.llm.values import UpstreamError

AGAIN = ["rate_limited", "server", "timeout", "connect", "malformed"]
NEVER = [
    "quota",
    "auth",
    "not_found",
    "bad_request",
    "overflow",
    "filtered",
    "truncated",
    "empty",
    "open",
]


def pauses(error, luck):
    return [Retry().pause_s(failures, error, luck) for failures in (1, 2, 3, 4)]


@pytest.mark.parametrize("kind", AGAIN)
def test_what_may_pass_is_tried_three_times_more_after_doubling_ceilings(kind):
    assert pauses(UpstreamError(kind, ""), 1.0) == [0.5, 1.0, 2.0, None]


def test_jitter_is_full():
    error = UpstreamError("server", "")

    assert pauses(error, 0.0) == [0.0, 0.0, 0.0, None]
    assert pauses(error, 0.5) == [0.25, 0.5, 1.0, None]


def test_a_ceiling_stops_doubling_at_the_longest():
    assert Retry(limit=9).pause_s(9, UpstreamError("server", ""), 1.0) == 8.0


@pytest.mark.parametrize("kind", NEVER)
def test_what_cannot_get_better_is_given_up_at_once(kind):
    assert Retry().pause_s(1, UpstreamError(kind, ""), 1.0) is None


def test_no_attempt_comes_before_the_endpoint_allows_it():
    error = UpstreamError("rate_limited", "", retry_after_s=0.75)

    assert pauses(error, 1.0) == [0.75, 1.0, 2.0, None]
    assert pauses(error, 0.0) == [0.75, 0.75, 0.75, None]


def test_a_wait_beyond_all_patience_is_not_begun():
    policy = Retry(patience_s=120)

    assert policy.pause_s(1, UpstreamError("rate_limited", "", retry_after_s=120.0), 0.0) == 120.0
    assert policy.pause_s(1, UpstreamError("rate_limited", "", retry_after_s=120.1), 0.0) is None


@pytest.mark.parametrize(
    ("kind", "status", "counts"),
    [
        ("server", 500, True),
        ("server", 529, True),
        ("server", 409, False),
        ("timeout", None, True),
        ("timeout", 408, False),
        ("connect", None, True),
        ("malformed", 200, True),
        ("rate_limited", 429, False),
        ("auth", 401, False),
        ("open", None, False),
    ],
)
def test_only_the_endpoints_own_failures_count_as_its_faults(kind, status, counts):
    assert UpstreamError(kind, "", status=status).is_fault is counts


@pytest.mark.parametrize(
    ("kind", "status", "congested"),
    [("rate_limited", 429, True), ("server", 503, True), ("server", 529, True), ("server", 500, False)],
)
def test_too_much_at_once_is_told_from_a_plain_failure(kind, status, congested):
    assert UpstreamError(kind, "", status=status).is_congestion is congested
