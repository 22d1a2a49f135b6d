"""Cancel the caller at every step of its work: no slot, no call and no endpoint may be left over."""

from contextlib import suppress

import pytest
import structlog
import trio
import trio.testing

from llm_world import open_caller, question
from rlmd.errors import RequestError
from rlmd.llm.meter import Meter
from rlmd.llm.scripted import Scripted, Step
from rlmd.supervision import ActorError

STEPS = [
    Step(reply="first", after_s=1),
    Step(error="server", status=503, after_s=1),
    Step(error="rate_limited", status=429, retry_after_s=2.0),
    Step(error="auth", status=401),
]


class CancelAt(trio.abc.Instrument):
    """Cancels its scope before the n-th step that any task takes."""

    def __init__(self, step):
        self.left, self.scope = step, trio.CancelScope()

    def before_task_step(self, task):
        self.left -= 1
        if self.left == 0:
            self.scope.cancel()


def cut(step, patience_s):
    """Run the scenario with a cancel at *step*; return whether it still had one."""
    knife, model, meter = CancelAt(step), Scripted(STEPS, otherwise=Step(reply="ok", after_s=1)), Meter()
    asking = 0

    async def ask(box, request):
        nonlocal asking
        asking += 1
        try:
            with suppress(RequestError, ActorError), trio.move_on_after(patience_s):
                await box.ask(request)
        finally:
            asking -= 1

    async def scenario():
        with trio.fail_after(1e6), knife.scope:
            async with (
                open_caller(model, meter, concurrency=2, grace=5) as box,
                trio.open_nursery() as nursery,
            ):
                for text in "aabbc":
                    nursery.start_soon(ask, box, question(text, job=text))

    with structlog.testing.capture_logs():
        trio.run(scenario, instruments=[knife], clock=trio.testing.MockClock(autojump_threshold=0))

    where = f"cut at step {step}"
    assert (asking, model.in_flight) == (0, 0), where
    if meter.gate is not None:
        assert model.closed, where
        assert (meter.gate.in_flight, meter.gate.waiting) == (0, 0), where
        assert all(lane.windows.unsettled == lane.in_flight == 0 for lane in meter.gate.lanes), where
    return knife.scope.cancelled_caught or knife.left <= 0


@pytest.mark.parametrize("patience_s", [1e5, 1.5])
def test_a_cancel_at_any_step_leaves_no_call_and_no_slot(patience_s):
    step = 1
    while cut(step, patience_s):
        step += 1

    assert step > 60  # the scenario really was cut everywhere
