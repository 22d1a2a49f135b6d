"""What a run may spend, and what is left of it."""

import pytest

from rlmd.engine.budget import Budget, Cost, Exhausted, Limits, aside_for_closing, seconds_for_closing

CALL = Cost(1, 100, 0.01)


def test_what_is_reserved_cannot_be_spent_twice():
    budget = Budget(Limits(calls=1))

    held = budget.reserve(CALL)

    assert held is not None
    assert budget.reserve(CALL) is None
    budget.settle(held, Cost())
    assert budget.reserve(CALL) is not None


def test_a_cost_that_can_never_fit_is_refused_at_once():
    budget = Budget(Limits(tokens=99))

    with pytest.raises(Exhausted) as refused:
        budget.reserve(CALL)

    assert refused.value.kind == "tokens"


def test_what_was_reserved_too_much_comes_back():
    budget = Budget(Limits(usd=0.02))

    budget.settle(budget.reserve(Cost(1, 0, 0.02)), Cost(1, 0, 0.005))

    assert budget.spent == Cost(1, 0, 0.005)
    assert budget.room()["usd"] == pytest.approx(0.015)


def test_children_take_from_their_parent_and_hold_their_own_limits():
    parent = Budget(Limits(calls=3))
    child, other = parent.child(Limits(calls=2), 0), parent.child(Limits(), 0)

    child.settle(child.reserve(CALL), CALL)
    other.settle(other.reserve(CALL), CALL)

    assert (parent.spent.calls, child.spent.calls) == (2, 1)
    assert child.room() == {"calls": 1}
    other.settle(other.reserve(CALL), CALL)
    with pytest.raises(Exhausted, match="calls"):
        child.reserve(CALL)


def test_depth_and_deadline_only_shrink_on_the_way_down():
    root = Budget(Limits(depth=1), deadline=10)

    child = root.child(Limits(depth=5, seconds=99), 5)

    assert child.deadline == 10
    assert root.child(Limits(seconds=2), 5).deadline == 7
    with pytest.raises(Exhausted, match="depth"):
        child.child(Limits(), 5)


def test_what_is_kept_back_is_spent_on_closing_alone():
    limits = Limits(usd=1.0, tokens=100_000, calls=3)
    budget = Budget(limits, aside=aside_for_closing(limits))

    assert budget.room() == {"usd": 0.9, "tokens": 90_000, "calls": 2}
    budget.release()
    assert budget.room() == {"usd": 1.0, "tokens": 100_000, "calls": 3}


@pytest.mark.parametrize(
    ("limits", "aside"),
    [
        (Limits(), Cost(1)),
        (Limits(calls=1), Cost(0)),
        (Limits(calls=2), Cost(1)),
        (Limits(tokens=1_000), Cost(1, 500)),
        (Limits(tokens=20_000), Cost(1, 4_000)),
    ],
)
def test_the_share_for_closing_suits_small_budgets(limits, aside):
    assert aside_for_closing(limits) == aside


def test_closing_begins_a_fifth_before_the_end_and_20_seconds_at_most():
    assert (seconds_for_closing(10), seconds_for_closing(600)) == (2, 20)
