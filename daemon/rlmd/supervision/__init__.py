"""Supervised actors: a mailbox, a handler behind it, and a policy for when the handler breaks.

An *actor* is an async context manager that yields its handler.  What it opens before the yield is
its state, what it does after is its clean-up, and a restart is simply entering it again:

    @asynccontextmanager
    async def counter(encoding):
        table = load(encoding)                      # lives as long as this incarnation
        async def count(text: str) -> int:
            return len(table.encode(text))
        yield count

Three kinds serve a mailbox: `start` one request at a time for each worker, `start_batch` all that
wait in one call, `start_concurrent` each in a task of its own.  Whatever the kind, an `ask` is
answered exactly once.  Nobody here asks again for a caller: that is the caller's decision.
"""

from rlmd.supervision.errors import (
    ActorCrashed,
    ActorError,
    ActorStopped,
    AskCycle,
    RestartsExhausted,
    ungrouped,
)
from rlmd.supervision.flight import Flight
from rlmd.supervision.mailbox import BatchHandler, Handler, Mailbox
from rlmd.supervision.supervisor import Actor, ActorStats, BatchActor, Restart, Supervisor, open_supervisor

__all__ = [
    "Actor",
    "ActorCrashed",
    "ActorError",
    "ActorStats",
    "ActorStopped",
    "AskCycle",
    "BatchActor",
    "BatchHandler",
    "Flight",
    "Handler",
    "Mailbox",
    "Restart",
    "RestartsExhausted",
    "Supervisor",
    "open_supervisor",
    "ungrouped",
]
