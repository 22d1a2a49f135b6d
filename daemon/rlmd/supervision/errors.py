"""What an actor's caller may be told, and how a broken handler is told from a cancelled one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trio

from rlmd.errors import RequestError


class ActorError(Exception):
    """The actor is at fault: the request may be innocent, so it may be asked again."""


class ActorCrashed(ActorError):
    """The handler broke on this request; the cause is chained."""


class ActorStopped(ActorError):
    """The actor will not answer: it was drained or cancelled, its incarnation ended, or it gave up."""


class AskCycle(ActorError):
    """Asking would wait for an actor that is already waiting for us."""


class RestartsExhausted(ActorError):
    """An actor crashed too often; its supervisor gives up too and takes the tree down."""


_PASSING = (trio.Cancelled, KeyboardInterrupt, SystemExit, GeneratorExit)


def part(raised: BaseException) -> tuple[BaseException | None, BaseException | None]:
    """Split *raised* into what must travel on and what is a crash; either may be None.

    Anything else is a crash, BaseExceptions included: a panic in a Rust extension
    (pyo3's PanicException) is no reason for a daemon to end.
    """
    if isinstance(raised, BaseExceptionGroup):
        return raised.split(_PASSING)
    return (raised, None) if isinstance(raised, _PASSING) else (None, raised)


def lone(raised: BaseException) -> BaseException:
    """Return the one exception inside nested groups of one; a nursery wraps even a lone error."""
    while isinstance(raised, BaseExceptionGroup) and len(raised.exceptions) == 1:
        raised = raised.exceptions[0]
    return raised


@contextmanager
def ungrouped() -> Iterator[None]:
    """Raise a lone exception of the block without the groups that nurseries put around it."""
    try:
        yield
    except BaseExceptionGroup as group:
        raised = lone(group)
        if raised is group:
            raise
        raise raised from raised.__cause__


def verdict(crash: BaseException, actor: str) -> RequestError | ActorCrashed:
    """Return what the asker is told of *crash*: the request's own fault, or that *actor* broke."""
    cause = lone(crash)
    if isinstance(cause, RequestError):
        return cause
    told = ActorCrashed(actor)
    told.__cause__ = cause
    return told
