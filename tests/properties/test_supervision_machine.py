"""Whatever happens to whom and when, every ask ends exactly once and every incarnation closes."""

from collections import Counter
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import structlog
import trio
import trio.testing
from hypothesis import event, given, settings
from hypothesis import strategies as st

from rlmd.errors import RequestError
from rlmd.supervision import ActorError, Restart, open_supervisor

SOON = st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0, 3.0])
LATE = st.sampled_from([0.0, 2.0, 5.0, 20.0])
FATES = st.sampled_from(["ok", "ok", "ok", "refuse", "crash", "panic", "cleanup crash"])
CALLS = st.lists(st.tuples(SOON, SOON, FATES, st.one_of(st.none(), SOON)), max_size=12)


class PanicError(BaseException):
    pass


@dataclass
class Books:
    """What the actors did; `running` counts requests that a handler has in hand."""

    tally: Counter = field(default_factory=Counter)
    running: int = 0
    most_running: int = 0
    served: Counter = field(default_factory=Counter)

    async def meet(self, seconds, fate):
        try:
            await trio.sleep(seconds)
        finally:
            if fate == "cleanup crash":
                raise OSError("while unwinding")
        match fate:
            case "refuse":
                raise RequestError("no")
            case "crash":
                raise OSError("boom")
            case "panic":
                raise PanicError

    @asynccontextmanager
    async def incarnation(self, handler):
        self.tally["opened"] += 1
        try:
            yield handler
        finally:
            self.tally["closed"] += 1

    @contextmanager
    def serving(self, requests):
        self.served.update(number for number, _, _ in requests)
        self.running += len(requests)
        self.most_running = max(self.most_running, self.running)
        try:
            yield
        finally:
            self.running -= len(requests)

    async def handle(self, request):
        number, seconds, fate = request
        with self.serving([request]):
            await self.meet(seconds, fate)
        return number

    async def handle_batch(self, requests):
        answers = []
        with self.serving(requests):
            for number, seconds, fate in requests:
                try:
                    await self.meet(seconds, fate)
                    answers.append(number)
                except RequestError as refusal:
                    answers.append(refusal)
        return answers


async def start(supervisor, kind, width, books, restart):
    match kind:
        case "serial":
            actor = lambda: books.incarnation(books.handle)  # noqa: E731 - three of a kind
            return await supervisor.start("a", actor, workers=width, restart=restart)
        case "concurrent":
            actor = lambda: books.incarnation(books.handle)  # noqa: E731 - three of a kind
            return await supervisor.start_concurrent("a", actor, limit=width, restart=restart)
        case "batch":
            actor = lambda: books.incarnation(books.handle_batch)  # noqa: E731 - three of a kind
            return await supervisor.start_batch("a", actor, max_batch=width, restart=restart)


@settings(max_examples=100, deadline=None)
@given(
    kind=st.sampled_from(["serial", "batch", "concurrent"]),
    calls=CALLS,
    width=st.integers(1, 3),
    drain_at=LATE,
    grace=SOON,
    pause=SOON,
)
def test_every_ask_ends_once_and_every_incarnation_closes(kind, calls, width, drain_at, grace, pause):
    books = Books()

    async def call(box, number, delay, seconds, fate, patience):
        await trio.sleep(delay)
        with trio.move_on_after(float("inf") if patience is None else patience) as scope:
            try:
                answer = await box.ask((number, seconds, fate))
                ended = "answered"
                assert answer == number
            except RequestError:
                ended = "refused"
            except ActorError as error:
                ended = type(error).__name__
        if scope.cancelled_caught:
            ended = "cancelled"
        books.tally["ended"] += 1
        event(f"{kind}: {ended}")

    async def main():
        with trio.fail_after(1e6):  # virtual: a deadlock fails at once instead of hanging
            async with trio.open_nursery() as callers:
                async with open_supervisor(grace=grace) as supervisor:
                    box = await start(supervisor, kind, width, books, Restart(pause=pause))
                    for number, fate in enumerate(calls):
                        callers.start_soon(call, box, number, *fate)
                    await trio.sleep(drain_at)
                assert books.running == 0
            # The drain takes its grace; after it callers only learn that nobody answers.
            assert trio.current_time() <= max(drain_at + grace, 3.0)

    with structlog.testing.capture_logs():
        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))

    assert books.tally["ended"] == len(calls)
    assert books.most_running <= width
    assert books.tally["opened"] == books.tally["closed"]
    assert all(times == 1 for times in books.served.values())
