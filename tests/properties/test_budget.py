"""Whatever children, failures and cancellations do, nobody spends more than the tree has."""

import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from rlmd.engine.budget import NOTHING, Budget, Cost, Exhausted, Limits

LIMITS = st.builds(
    Limits,
    usd=st.none() | st.sampled_from([0.0, 0.01, 0.05, 1.0]),
    tokens=st.none() | st.integers(0, 2_000),
    calls=st.none() | st.integers(0, 12),
    depth=st.integers(0, 3),
)
COSTS = st.builds(Cost, st.integers(0, 2), st.integers(0, 700), st.sampled_from([0.0, 0.003, 0.01, 0.2]))
SHARES = st.sampled_from([0.0, 0.3, 1.0])


def part_of(cost, share):
    return Cost(round(cost.calls * share), int(cost.tokens * share), cost.usd * share)


class Tree(RuleBasedStateMachine):
    """Any schedule of reservations, settlements and children."""

    @initialize(limits=LIMITS, aside=COSTS)
    def begin(self, limits, aside):
        self.budgets, self.open = [Budget(limits, aside=aside)], []

    @rule(at=st.integers(0, 99), limits=LIMITS)
    def bear(self, at, limits):
        parent = self.budgets[at % len(self.budgets)]
        try:
            self.budgets.append(parent.child(limits, 0))
        except Exhausted:
            assert parent.limits.depth == 0

    @rule(at=st.integers(0, 99), cost=COSTS)
    def reserve(self, at, cost):
        budget = self.budgets[at % len(self.budgets)]
        before = [(each.spent, each.held) for each in self.budgets]
        try:
            held = budget.reserve(cost)
        except Exhausted:
            held = None
        if held is None:
            assert before == [(each.spent, each.held) for each in self.budgets]
        else:
            self.open.append((budget, held))

    @precondition(lambda self: self.open)
    @rule(at=st.integers(0, 99), share=SHARES)
    def settle(self, at, share):
        budget, held = self.open.pop(at % len(self.open))
        budget.settle(held, part_of(held.cost, share))

    @rule(at=st.integers(0, 99))
    def close(self, at):
        self.budgets[at % len(self.budgets)].release()

    @invariant()
    def nobody_overshoots(self):
        for budget in getattr(self, "budgets", ()):
            used, limits = budget.spent + budget.held, budget.limits
            assert limits.calls is None or used.calls <= limits.calls
            assert limits.tokens is None or used.tokens <= limits.tokens
            assert limits.usd is None or used.usd <= limits.usd + 1e-6

    def teardown(self):
        for budget, held in getattr(self, "open", ()):
            budget.settle(held, NOTHING)
        for budget in getattr(self, "budgets", ()):
            assert (budget.open, budget.held) == (set(), NOTHING)


TestTree = Tree.TestCase
TestTree.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)


@given(calls=st.integers(0, 5), children=st.integers(1, 8), tries=st.integers(1, 4))
def test_parallel_children_share_the_calls_of_their_parent(calls, children, tries):
    parent, made = Budget(Limits(calls=calls)), 0

    async def child():
        nonlocal made
        budget = parent.child(Limits(calls=calls), 0)
        for _ in range(tries):
            try:
                held = budget.reserve(Cost(1))
            except Exhausted:
                return
            await trio.sleep(1)
            if held is not None:
                budget.settle(held, Cost(1))
                made += 1

    async def main():
        async with trio.open_nursery() as nursery:
            for _ in range(children):
                nursery.start_soon(child)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))

    assert made == parent.spent.calls <= calls
