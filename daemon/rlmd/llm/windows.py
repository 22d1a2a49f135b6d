"""Requests and tokens a minute: reserved before a call is sent, settled when it has ended; pure."""

from __future__ import annotations

from dataclasses import dataclass

from rlmd.llm.values import Allowance, Chat, RateInfo

_MINUTE_S = 60.0
_TELLING = 0.1
"""A refill rate is read from what is missing once it is this share of a limit; less is rounding."""
_CHARS_PER_TOKEN = 4
_ANSWER_TOKENS = 500
_DUST = 1e-6


def estimate_tokens(chat: Chat) -> int:
    """Say about how many tokens *chat* takes out of a token window, its answer included."""
    chars = sum(len(message.content) for message in chat.messages)
    return chars // _CHARS_PER_TOKEN + (chat.max_tokens or _ANSWER_TOKENS)


class _Bucket:
    """Up to `capacity` units, of which `per_s` come back each second; more may be owed than there are."""

    def __init__(self, now: float, capacity: float, level: float) -> None:
        self.capacity = capacity
        self.per_s = capacity / _MINUTE_S
        self._level = level
        self._at = now

    def level(self, now: float) -> float:
        self._level = min(self.capacity, self._level + self.per_s * (now - self._at))
        self._at = now
        return self._level

    def wait_s(self, now: float, units: float) -> float:
        short = min(units, self.capacity) - self.level(now)
        return short / self.per_s if short > _DUST else 0.0

    def take(self, now: float, units: float) -> None:
        self._level = self.level(now) - units

    def give_back(self, units: float) -> None:
        self._level = min(self.capacity, self._level + units)

    def learn(self, now: float, limit: int, remaining: int, reset_s: float | None) -> None:
        self._level = min(self.level(now), remaining)
        if limit != self.capacity:
            self.capacity, self.per_s = limit, limit / _MINUTE_S
        if reset_s and limit - remaining >= _TELLING * limit:
            self.per_s = (limit - remaining) / reset_s


@dataclass(slots=True, eq=False)
class Reservation:
    """What one call holds of the windows until it is settled."""

    tokens: int


class Windows:
    """The limits on requests and tokens of whoever shares them; there is none until one is known.

    With *rpm* or *tpm*, both a minute, those hold and headers are not listened to; 0 is no limit.
    """

    def __init__(self, now: float, rpm: int = 0, tpm: int = 0) -> None:
        self._learns = not (rpm or tpm)
        self._requests = _Bucket(now, rpm, rpm) if rpm else None
        self._tokens = _Bucket(now, tpm, tpm) if tpm else None
        self._open: set[Reservation] = set()

    @property
    def unsettled(self) -> int:
        """How many reservations are held."""
        return len(self._open)

    def wait_s(self, now: float, tokens: int) -> float:
        """Return the seconds until a call of *tokens* fits; one larger than the window needs all of it."""
        requests_s = self._requests.wait_s(now, 1) if self._requests else 0.0
        tokens_s = self._tokens.wait_s(now, tokens) if self._tokens else 0.0
        return max(requests_s, tokens_s)

    def reserve(self, now: float, tokens: int) -> Reservation:
        """Set aside one request of *tokens*; every reservation must be settled."""
        if self._requests:
            self._requests.take(now, 1)
        if self._tokens:
            self._tokens.take(now, tokens)
        reservation = Reservation(tokens)
        self._open.add(reservation)
        return reservation

    def settle(self, reservation: Reservation, *, sent: bool, tokens: int | None) -> None:
        """Replace the estimate by the *tokens* that were used, None where nobody knows.

        A call that was not *sent* took nothing.
        """
        self._open.remove(reservation)
        used = 0 if not sent else reservation.tokens if tokens is None else tokens
        if self._requests and not sent:
            self._requests.give_back(1)
        if self._tokens:
            self._tokens.give_back(reservation.tokens - used)

    def learn(self, now: float, rates: RateInfo) -> None:
        """Believe what a reply's headers say, beside what is reserved and not yet seen by the server."""
        if self._learns:
            held = sum(reservation.tokens for reservation in self._open)
            self._requests = _learnt(now, self._requests, rates.requests, len(self._open))
            self._tokens = _learnt(now, self._tokens, rates.tokens, held)


def _learnt(now: float, known: _Bucket | None, told: Allowance, held: int) -> _Bucket | None:
    if not told.limit or told.limit < 0 or told.remaining is None or told.remaining < 0:
        return known
    bucket = known or _Bucket(now, told.limit, told.remaining - held)
    bucket.learn(now, told.limit, told.remaining, told.reset_s)
    return bucket
