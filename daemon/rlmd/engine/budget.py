"""One budget for a whole tree of runs: reserved before it is spent, settled after; pure.

A child draws on its parent, so every amount is held by the whole line up to the root: no schedule of
parallel children can spend together what one of them may not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

Purse = Literal["usd", "tokens", "calls"]
BudgetKind = Literal["usd", "tokens", "calls", "seconds", "depth"]
DUST_USD = 1e-9
"""Sums of money are sums of floats; a difference below this is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a run may use, its children included; None is no limit.

    `calls` are calls of models, `tokens` those sent and received, `seconds` are counted from the
    beginning of the run, `depth` is how many generations of children it may have.
    """

    usd: float | None = None
    tokens: int | None = None
    calls: int | None = None
    seconds: float | None = None
    depth: int = 2


@dataclass(frozen=True, slots=True)
class Cost:
    """What one call takes, or some calls together."""

    calls: int = 0
    tokens: int = 0
    usd: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.calls + other.calls, self.tokens + other.tokens, self.usd + other.usd)

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.calls - other.calls, self.tokens - other.tokens, self.usd - other.usd)


NOTHING = Cost()


class Exhausted(Exception):
    """A limit leaves no room, now and later: `kind` says which."""

    def __init__(self, kind: BudgetKind) -> None:
        super().__init__(f"the budget of this run is used up: {kind}")
        self.kind: BudgetKind = kind


@dataclass(eq=False, slots=True)
class Reservation:
    """An amount that is set aside in a line of budgets until it is settled."""

    cost: Cost
    holders: tuple[Budget, ...]


@dataclass(eq=False, slots=True)
class Budget:
    """What one run has spent, and what calls under way may spend yet.

    `aside` is kept back for closing the run; `held` is the sum of the `open` reservations; `deadline`
    is a time of the caller's clock.
    """

    limits: Limits
    deadline: float = math.inf
    aside: Cost = NOTHING
    parent: Budget | None = None
    spent: Cost = NOTHING
    held: Cost = NOTHING
    open: set[Reservation] = field(default_factory=set)

    def child(self, limits: Limits, now: float) -> Budget:
        """Return the budget of a child: its own *limits*, and never more than this one has.

        Raises Exhausted("depth") where no further generation is allowed.
        """
        if self.limits.depth < 1:
            raise Exhausted("depth")
        seconds = math.inf if limits.seconds is None else limits.seconds
        depth = min(limits.depth, self.limits.depth - 1)
        own = Limits(usd=limits.usd, tokens=limits.tokens, calls=limits.calls, depth=depth)
        return Budget(own, deadline=min(self.deadline, now + seconds), parent=self)

    def require(self, cost: Cost) -> None:
        """Raise Exhausted where *cost* would not fit though every call under way turned out free."""
        for holder in self._line():
            if (kind := _short(holder, cost)) is not None:
                raise Exhausted(kind)

    def reserve(self, cost: Cost) -> Reservation | None:
        """Set *cost* aside; None while calls under way hold it, Exhausted when they do not either.

        Every reservation must be settled once.
        """
        self.require(cost)
        holders = tuple(self._line())
        if any(_short(holder, holder.held + cost) is not None for holder in holders):
            return None
        reservation = Reservation(cost, holders)
        for holder in holders:
            holder.open.add(reservation)
            holder.held += cost
        return reservation

    def settle(self, reservation: Reservation, cost: Cost) -> None:
        """Replace a reservation by what the call has cost in truth."""
        for holder in reservation.holders:
            holder.open.remove(reservation)
            holder.held = holder.held - reservation.cost if holder.open else NOTHING
            holder.spent += cost

    def charge(self, cost: Cost) -> None:
        """Count what was paid in an earlier life of the run."""
        for holder in self._line():
            holder.spent += cost

    def release(self) -> None:
        """Let what was kept back for closing be spent."""
        self.aside = NOTHING

    def room(self) -> dict[str, float]:
        """Return what may be spent of each kind that is limited, calls under way taken for free."""
        rooms: dict[str, float] = {}
        for holder in self._line():
            used = holder.spent + holder.aside
            for kind, limit, amount in _amounts(holder.limits, used):
                rooms[kind] = max(0, min(rooms.get(kind, math.inf), limit - amount))
        return rooms

    def _line(self) -> Iterator[Budget]:
        budget: Budget | None = self
        while budget is not None:
            yield budget
            budget = budget.parent


def _short(holder: Budget, cost: Cost) -> Purse | None:
    """Name the limit that *cost* would break beside what is spent and kept back."""
    for kind, limit, amount in _amounts(holder.limits, holder.spent + holder.aside + cost):
        if amount > limit + (DUST_USD if kind == "usd" else 0):
            return kind
    return None


def _amounts(limits: Limits, cost: Cost) -> Iterator[tuple[Purse, float, float]]:
    if limits.calls is not None:
        yield "calls", limits.calls, cost.calls
    if limits.tokens is not None:
        yield "tokens", limits.tokens, cost.tokens
    if limits.usd is not None:
        yield "usd", limits.usd, cost.usd


def aside_for_closing(limits: Limits) -> Cost:
    """Return the share that is kept back so that a run can say what it found.

    A tenth of money and tokens, of a small budget up to half of it, and one call of two or more.
    """
    tokens = 0 if limits.tokens is None else max(limits.tokens // 10, min(4_000, limits.tokens // 2))
    return Cost(1 if (limits.calls or 2) > 1 else 0, tokens, (limits.usd or 0.0) / 10)


def seconds_for_closing(seconds: float) -> float:
    """Return how long before its deadline a run begins to close: a fifth of it, 20 s at most."""
    return min(20.0, seconds / 5)
