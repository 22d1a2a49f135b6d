"""Cut a whole run at every step: no call, session, reservation or handler is left."""

from contextlib import asynccontextmanager

import pytest
import structlog
import trio
import trio.testing

from engine_world import Cast, cell, search
from faults.test_cancellations import CancelAt
from llm_world import open_caller
from rlmd.engine import run as engine_run
from rlmd.engine.budget import NOTHING, Budget, Limits, aside_for_closing
from rlmd.engine.ledger import Ledger
from rlmd.engine.run import run
from rlmd.engine.spending import Models, Spender
from rlmd.engine.task import Means, Task
from rlmd.errors import NotFound
from rlmd.llm.retry import Retry
from rlmd.llm.scripted import Scripted, Step
from rlmd.sandbox.requests import ExecResult
from rlmd.supervision import open_supervisor
from snapshots import snapshot_of


class PretendedSandbox:
    """Sessions that run cells written in a language of four words, in no process at all."""

    def __init__(self):
        self.open, self.running = set(), 0

    @asynccontextmanager
    async def actor(self):
        async def execute(request):
            session = request.session or request.name
            if request.session and session not in self.open:
                raise NotFound(session)
            self.open.add(session)
            self.running += 1
            try:
                result = await self.run(request)
            except BaseException:
                self.open.discard(session)
                raise
            finally:
                self.running -= 1
            if request.close:
                self.open.discard(session)
            return ExecResult(session=session, **result)

        yield execute

    async def run(self, request):
        await trio.lowlevel.checkpoint()
        match request.code.split():
            case ["batch", count]:
                async with trio.open_nursery() as nursery:
                    for number in range(int(count)):
                        nursery.start_soon(request.services.llm_query, f"prompt {number}", None)
            case ["child", question]:
                return {"stdout": await request.services.rlm_query(question, [], None)}
            case ["submit", answer]:
                return {"answer": answer, "submitted": True}
        return {}


async def whole_run(place, knife, books):
    sandbox = PretendedSandbox()
    root = Scripted([cell("batch 3"), cell("child what"), cell("submit it"), cell("submit done")])
    model = Cast(root, Scripted(otherwise=Step(reply="yes", after_s=1, tokens_in=5, tokens_out=1)))
    snapshot = snapshot_of(place, {"a": "some text\n"})
    limits = Limits(calls=20, tokens=100_000, seconds=1e6)
    budget = Budget(limits, deadline=1e6, aside=aside_for_closing(limits))
    kept = []

    async def keep(entry):
        await trio.lowlevel.checkpoint()
        kept.append(entry)

    async with (
        open_caller(model, retry=Retry(limit=0)) as caller,
        open_supervisor(grace=1) as supervisor,
    ):
        box = await supervisor.start_concurrent("sandbox_pool", sandbox.actor, limit=9)
        spender = Spender(caller.ask, Models("root", "sub"), Ledger(keep), job="j", project="p")
        means = Means(
            execute=box.ask, spender=spender, search=search, take_text=None, report=lambda step: None
        )
        with knife.scope:
            books["outcome"] = await run(means, Task(question="q", snapshot=snapshot), budget)
        books["left"] = (
            sandbox.open,
            sandbox.running,
            model.root.in_flight,
            model.sub.in_flight,
            budget.open,
        )
        books["held"], books["in_flight"] = budget.held, spender.tally.in_flight
    books["asked"] = len(model.asked)
    snapshot.pack.close()


async def direct(work, *args, **_):
    """Stand in for a thread, whose steps no instrument can count."""
    await trio.lowlevel.checkpoint()
    return work(*args)


@pytest.fixture
def threadless(monkeypatch):
    monkeypatch.setattr(engine_run.trio.to_thread, "run_sync", direct)


def test_a_run_that_is_cut_at_any_step_leaves_nothing(tmp_path, threadless):
    step, cuts = 0, 0
    while True:
        step += 1
        knife, books = CancelAt(step), {}
        clock = trio.testing.MockClock(autojump_threshold=0)
        with structlog.testing.capture_logs():
            trio.run(whole_run, tmp_path, knife, books, instruments=[knife], clock=clock)
        assert books["left"] == (set(), 0, 0, 0, set()), f"cut at step {step}"
        assert (books["held"], books["in_flight"]) == (NOTHING, 0)
        if not knife.scope.cancelled_caught and knife.left > 0:
            break
        cuts += "outcome" not in books

    assert cuts > 60
    assert (books["outcome"].answer, books["outcome"].partial, books["asked"]) == ("done", False, 7)
