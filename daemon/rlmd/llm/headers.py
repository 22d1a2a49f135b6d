"""What the headers of a reply say about limits, in each provider's way of saying it.  Pure.

Every header is optional and may hold nonsense; what cannot be understood is taken for absent.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from rlmd.llm.values import Allowance, RateInfo

Headers = Mapping[str, str]
"""By lower-case name."""

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[smhd]))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhd])")
_ASKED_IN_WORDS = re.compile(
    r"(?:try again|retry|wait)[^.]{0,24}? (?:in|after|for) ((?:\d+(?:\.\d+)?(?:ms|[smhd]))+)"
)
_EPOCH_S, _EPOCH_MS = 1e9, 1e12
"""Numbers from here on are points in time since 1970, in seconds and in milliseconds."""

_NAMES: Mapping[str, tuple[str, ...]] = {
    "requests": (
        "x-ratelimit-{}-requests",
        "anthropic-ratelimit-requests-{}",
        "x-ratelimit-{}",
        "ratelimit-{}",
    ),
    "tokens": (
        "x-ratelimit-{}-tokens",
        "anthropic-ratelimit-tokens-{}",
        "anthropic-ratelimit-input-tokens-{}",
    ),
}


def rate_info(headers: Headers, *, now: float) -> RateInfo:
    """Read the limits on requests and tokens; *now* is seconds since 1970.

    Resets may be durations ("6m0s", "20ms"), seconds, or points in time (RFC 3339, seconds or
    milliseconds since 1970).  A limit of 0 or -1, as gateways send where there is none, says nothing.
    """
    return RateInfo(_allowance(headers, "requests", now), _allowance(headers, "tokens", now))


def retry_after_s(headers: Headers, *, now: float) -> float | None:
    """Return the seconds that the server wants to be left alone, None where it does not say.

    `retry-after-ms` first, then `retry-after` in seconds or as a date (by the server's own clock
    where it tells it), then the reset of whichever limit is used up.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    if text := headers.get("retry-after", "").strip():
        seconds = _number(text)
        return seconds if seconds is not None else _until(_date(text), _date(headers.get("date", "")) or now)
    rates = rate_info(headers, now=now)
    used_up = [each.reset_s for each in (rates.requests, rates.tokens) if each.remaining == 0]
    return max((reset_s for reset_s in used_up if reset_s is not None), default=None)


def asked_in_words_s(message: str) -> float | None:
    """Return the seconds of a "try again in 6m0s", None where there is no such wish."""
    found = _ASKED_IN_WORDS.search(message)
    return duration_s(found[1]) if found else None


def duration_s(text: str) -> float | None:
    """Return the seconds of a text such as "1s", "6m0s" or "20ms"."""
    if not _DURATION.fullmatch(text):
        return None
    return sum(float(number) * _UNITS_S[unit] for number, unit in _PART.findall(text))


def _allowance(headers: Headers, what: str, now: float) -> Allowance:
    for name in _NAMES[what]:
        limit = _count(headers.get(name.format("limit")))
        remaining = _count(headers.get(name.format("remaining")))
        reset_s = _reset_s(headers.get(name.format("reset"), "").strip(), now)
        if limit is not None and limit <= 0:
            continue
        if (limit, remaining, reset_s) != (None, None, None):
            return Allowance(limit, remaining, reset_s)
    return Allowance()


def _reset_s(text: str, now: float) -> float | None:
    number = _number(text)
    if number is None:
        return duration_s(text) if _DURATION.fullmatch(text) else _until(_date(text), now)
    if number >= _EPOCH_MS:
        return _until(number / 1000, now)
    return _until(number, now) if number >= _EPOCH_S else number


def _until(moment: float | None, now: float) -> float | None:
    return None if moment is None else max(0.0, moment - now)


def _date(text: str) -> float | None:
    """Return the seconds since 1970 of an HTTP date or an RFC 3339 time."""
    for parse in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            moment = parse(text)
        except ValueError:
            continue
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return None


def _count(text: str | None) -> int | None:
    number = _number(text, least=-1)
    return None if number is None else int(number)


def _number(text: str | None, *, least: float = 0) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= least else None
