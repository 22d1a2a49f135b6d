"""Waits and limits, in every unit that a header comes in."""

import pytest

from rlmd.llm.headers import duration_s, rate_info, retry_after_s
from rlmd.llm.values import Allowance, RateInfo

NOW = 1_800_000_000.0  # Fri, 15 Jan 2027 08:00:00 GMT


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "20"}, 20),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "Fri, 15 Jan 2027 08:01:00 GMT"}, 60),
        ({"retry-after": "Fri, 15 Jan 2027 08:01:00 GMT", "date": "Fri, 15 Jan 2027 08:00:50 GMT"}, 10),
        ({"retry-after": "Fri, 15 Jan 2027 07:00:00 GMT"}, 0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6m0s"}, 360),
        ({"x-ratelimit-remaining-tokens": "5", "x-ratelimit-reset-tokens": "6m0s"}, None),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1800000030000"}, 30),
    ],
)
def test_the_wait_that_a_server_asks_for(headers, seconds):
    assert retry_after_s(headers, now=NOW) == seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1s", 1), ("6m0s", 360), ("20ms", 0.02), ("1h2m3.5s", 3723.5), ("", None), ("5", None)],
)
def test_durations(text, seconds):
    assert duration_s(text) == seconds


def test_limits_of_openai():
    headers = {
        "x-ratelimit-limit-requests": "500",
        "x-ratelimit-remaining-requests": "499",
        "x-ratelimit-reset-requests": "120ms",
        "x-ratelimit-limit-tokens": "30000",
        "x-ratelimit-remaining-tokens": "29986",
        "x-ratelimit-reset-tokens": "1m0.5s",
    }

    assert rate_info(headers, now=NOW) == RateInfo(Allowance(500, 499, 0.12), Allowance(30_000, 29_986, 60.5))


def test_limits_of_anthropic_are_points_in_time():
    headers = {
        "anthropic-ratelimit-requests-limit": "50",
        "anthropic-ratelimit-requests-remaining": "0",
        "anthropic-ratelimit-requests-reset": "2027-01-15T08:00:30Z",
    }

    assert rate_info(headers, now=NOW).requests == Allowance(50, 0, 30)


@pytest.mark.parametrize("limit", ["-1", "0"])
def test_limits_that_are_none_say_nothing(limit):
    headers = {"x-ratelimit-limit-requests": limit, "x-ratelimit-remaining-requests": "0"}

    assert rate_info(headers, now=NOW) == RateInfo()
