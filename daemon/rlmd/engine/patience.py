"""How a job is asked from outside to end early with what it has.

Whatever of a job may be cut short without losing its answer runs `while_patient`.  The job's patience
travels with its task, so nothing has to be handed through.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from math import inf

import trio


class Patience:
    """The patience with one job: `bytes` is how much content it works on, `why` it ran out, if it did."""

    def __init__(self) -> None:
        self.bytes = 0
        self.why = ""
        self._scopes: set[trio.CancelScope] = set()

    def run_out(self, why: str) -> None:
        """Cut short what is under way, and what comes after; does nothing the second time."""
        if not self.why:
            self.why = why
            for scope in self._scopes:
                scope.cancel()

    @contextmanager
    def lasting(self, scope: trio.CancelScope) -> Iterator[None]:
        """Cancel *scope* when the patience runs out, or at once where it has."""
        self._scopes.add(scope)
        if self.why:
            scope.cancel()
        try:
            yield
        finally:
            self._scopes.discard(scope)


_current: ContextVar[Patience | None] = ContextVar("rlmd_patience", default=None)


def patience() -> Patience:
    """Return the patience with the job that this task belongs to; outside of jobs it never runs out."""
    return _current.get() or Patience()


@contextmanager
def of_job(its: Patience) -> Iterator[None]:
    """Make the block, and all tasks that it starts, part of the job whose patience is *its*."""
    token = _current.set(its)
    try:
        yield
    finally:
        _current.reset(token)


@contextmanager
def while_patient(deadline: float = inf) -> Iterator[trio.CancelScope]:
    """Cut the block short at *deadline*, on trio's clock, or when the patience with the job runs out."""
    with trio.CancelScope(deadline=deadline) as scope, patience().lasting(scope):
        yield scope
