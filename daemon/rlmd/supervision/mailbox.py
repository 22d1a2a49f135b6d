"""The two halves of a request on its way: the mailbox that takes it, the envelope that carries it.

Mailboxes have no buffer.  A request is either still in its caller's hands (waiting: that is the
back-pressure) or in a worker's; nothing is queued, so nothing can be lost, stale or reordered.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import outcome
import structlog
import trio

from rlmd.errors import RequestError
from rlmd.supervision.errors import ActorStopped, AskCycle, part, verdict

Q = TypeVar("Q")
R = TypeVar("R")
Handler = Callable[[Q], Awaitable[R]]
BatchHandler = Callable[[list[Q]], Awaitable[Sequence[R | Exception]]]

_asking: ContextVar[tuple[str, ...]] = ContextVar("rlmd_asking", default=())


@contextmanager
def _answering(path: tuple[str, ...]) -> Iterator[None]:
    """Make *path* the actors that wait for whatever the block asks."""
    token = _asking.set(path)
    try:
        yield
    finally:
        _asking.reset(token)


@dataclass(eq=False, slots=True)
class Envelope(Generic[Q, R]):
    """One request: who waits for it, how to cancel it, and (once done) its answer."""

    request: Q
    path: tuple[str, ...]
    log_context: dict[str, Any]
    scope: trio.CancelScope
    answer: outcome.Outcome[R]
    done: trio.Event = field(default_factory=trio.Event)

    async def serve(self, handle: Handler[Q, R]) -> None:
        """Answer exactly once, however *handle* ends; raise only what must crash the actor."""
        try:
            with (
                _answering(self.path),
                self.scope,
                structlog.contextvars.bound_contextvars(**self.log_context),
            ):
                self.answer = outcome.Value(await handle(self.request))
            if self.scope.cancelled_caught:
                # Read only by an asker that put its own deadline off after asking.
                self.answer = outcome.Error(trio.TooSlowError(self.path[-1]))
        except BaseException as raised:
            passing, crash = part(raised)
            if crash is None:
                raise
            told = verdict(crash, self.path[-1])
            self.answer = outcome.Error(told)
            if not isinstance(told, RequestError):
                raise
            if passing is not None:
                raise passing from None
        finally:
            self.done.set()


async def serve_together(batch: Sequence[Envelope[Q, R]], handle: BatchHandler[Q, R]) -> None:
    """Answer each of *batch* exactly once from one call; raise only what must crash the actor.

    A crash answers all of them, and so does a RequestError that is raised rather than returned.
    """
    actor = batch[0].path[-1]
    waiting = tuple(dict.fromkeys(name for envelope in batch for name in envelope.path))
    try:
        with _answering(waiting):
            answers = await handle([envelope.request for envelope in batch])
        for envelope, answer in zip(batch, answers, strict=True):
            envelope.answer = (
                outcome.Error(answer) if isinstance(answer, Exception) else outcome.Value(answer)
            )
    except BaseException as raised:
        passing, crash = part(raised)
        if crash is None:
            raise
        for envelope in batch:
            told = verdict(crash, actor)
            envelope.answer = outcome.Error(told)
        if not isinstance(told, RequestError):
            raise
        if passing is not None:
            raise passing from None
    finally:
        for envelope in batch:
            envelope.done.set()


class Mailbox(Generic[Q, R]):
    """The address of an actor: all that the rest of the program ever holds of it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.closing = trio.Event()
        self.gone = trio.Event()
        self._send, self.inbox = trio.open_memory_channel[Envelope[Q, R]](0)

    @property
    def waiting(self) -> int:
        """How many requests are still in their callers' hands."""
        return self.inbox.statistics().tasks_waiting_send

    async def ask(self, request: Q) -> R:
        """Return the answer: a value, or its RequestError, ActorCrashed or ActorStopped raised.

        Cancelling the asker withdraws a request that no worker has taken.  One that was taken is
        cancelled too, and has unwound when we return; a batch actor finishes it instead, and the
        cancelled asker waits for that.  The handler sees the deadline that holds for the asker now.
        Raises AskCycle instead of waiting for an actor that waits for us.
        """
        envelope = await self._post(request, trio.current_effective_deadline())
        try:
            await envelope.done.wait()
        except trio.Cancelled:
            envelope.scope.cancel()
            with trio.CancelScope(shield=True):
                await envelope.done.wait()
            raise
        return envelope.answer.unwrap()

    async def tell(self, request: Q) -> None:
        """Hand *request* over; return once a worker has taken it, not once it is done.

        What becomes of it is not reported: nobody hears of its RequestError.  It outlives us.
        """
        await self._post(request, deadline=float("inf"))

    async def close(self) -> None:
        """Refuse waiting and later requests; return when those in hand have been answered."""
        self._send.close()
        self.closing.set()
        await self.gone.wait()

    async def _post(self, request: Q, deadline: float) -> Envelope[Q, R]:
        if self.name in (path := _asking.get()):
            raise AskCycle(" -> ".join((*path, self.name)))
        envelope = Envelope[Q, R](
            request,
            path=(*path, self.name),
            log_context=structlog.contextvars.get_contextvars(),
            scope=trio.CancelScope(deadline=deadline),
            answer=outcome.Error(ActorStopped(self.name)),
        )
        try:
            await self._send.send(envelope)
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            raise ActorStopped(self.name) from None
        return envelope
