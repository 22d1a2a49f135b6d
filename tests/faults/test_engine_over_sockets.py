"""A run whose model is a real server: what its cancellation leaves open, and how soon."""

from contextlib import asynccontextmanager

import trio

from engine_world import cell, search
from fake_provider import bounded, open_wire, reply_body
from llm_world import open_caller
from rlmd.engine.budget import Budget, Limits
from rlmd.engine.ledger import Ledger
from rlmd.engine.run import run
from rlmd.engine.spending import Models, Spender
from rlmd.engine.task import Means, Task
from rlmd.sandbox.pool import sandbox_pool
from rlmd.sandbox.requests import Limits as SandboxLimits
from rlmd.supervision import open_supervisor
from snapshots import snapshot_of

AT_ONCE = 100
CELL = cell(f"llm_query_batched([f'piece {{n}}' for n in range({AT_ONCE})])")


async def model(asked, talk):
    if asked.body["messages"][0]["role"] == "system":
        await talk.json(reply_body(CELL))
    else:
        await trio.sleep_forever()


@asynccontextmanager
async def open_run(tmp_path, wire):
    """Yield the budget of a run that is under way, and what counts its sessions; cancel it at the end."""
    snapshot = snapshot_of(tmp_path, {"a": "some text\n"})
    async with open_caller(wire, start=AT_ONCE) as caller, open_supervisor(grace=1) as supervisor:
        limits = SandboxLimits(calls_at_once=AT_ONCE)
        box = await supervisor.start_concurrent("sandbox_pool", sandbox_pool(limits, warm=0), limit=64)
        spender = Spender(caller.ask, Models("root", "sub"), Ledger(), job="j", project="p")
        means = Means(execute=box.ask, spender=spender, search=search, take_text=None, report=lambda _: None)
        budget = Budget(Limits())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run, means, Task(question="q", snapshot=snapshot), budget)
            yield budget, nursery.cancel_scope
    snapshot.pack.close()


@bounded
async def test_a_cancelled_run_has_closed_a_hundred_connections_before_it_returns(tmp_path):
    async with open_wire(model) as (wire, fake):
        async with open_run(tmp_path, wire) as (budget, scope):
            while fake.working < AT_ONCE:  # noqa: ASYNC110  # a state of sockets has no event
                await trio.sleep(0.001)
            scope.cancel()
        left = wire.lines.busy, len(wire.lines.idle), budget.open
        with trio.fail_after(1):
            while fake.working:  # noqa: ASYNC110  # a state of sockets has no event
                await trio.sleep(0.001)

    assert left == (0, 0, set())
    assert len(fake.hung_up_at) == AT_ONCE
