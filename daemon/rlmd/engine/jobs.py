"""The analyses in hand: each a task of the jobs nursery, outside the request that asked for it.

A call that waits for its job owns it together with whoever else waits: the last one to be
cancelled takes the job with it.  A call that went away with a job id leaves the job running.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from math import inf
from typing import Generic, TypeVar

import outcome
import structlog
import trio

from rlmd.engine.patience import Patience, of_job
from rlmd.errors import Busy
from rlmd.values import Progress, Report

log = structlog.get_logger(__name__)

T = TypeVar("T")
Work = Callable[[Report], Awaitable[T]]


@dataclass(eq=False)
class Job(Generic[T]):
    """One analysis: who follows it, and (once `done`) how it ended; None means cancelled."""

    id: str
    started_at: float
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    done: trio.Event = field(default_factory=trio.Event)
    ended: outcome.Value[T] | outcome.Error | None = None
    detached: bool = False
    patience: Patience = field(default_factory=Patience)
    query: str = ""
    mode: str = ""
    followers: list[Report] = field(default_factory=list)

    def report(self, progress: Progress) -> None:
        """Pass *progress* on to everybody who waits."""
        for follow in self.followers:
            follow(progress)


class Jobs(Generic[T]):
    """Starts jobs in *nursery*, lets equal questions share one, and counts them for status."""

    def __init__(self, nursery: trio.Nursery, *, most: int) -> None:
        self._nursery = nursery
        self._most = most
        self._running: dict[object, Job[T]] = {}
        self._over_at = inf
        self.finished = 0

    @property
    def running(self) -> int:
        """Jobs that have not ended."""
        return len(self._running)

    def start(
        self, key: object, work: Work[T], *, name: str | None = None, query: str = "", mode: str = ""
    ) -> Job[T]:
        """Return the running job of *key*, or start *work* as a new one; raise Busy at the bound.

        A new one is called *name*, which is `new_name`'s if it matters before it starts.
        """
        if (job := self._running.get(key)) is not None:
            return job
        if len(self._running) >= self._most:
            raise Busy(f"{self._most} analyses are running", "Wait for one to end and ask again.")
        job = Job[T](name or new_name(), trio.current_time(), query=query, mode=mode)
        job.scope.deadline = self._over_at
        self._running[key] = job
        self._nursery.start_soon(self._run, key, job, work, name=job.id)
        return job

    def find(self, name: str) -> Job[T] | None:
        """Return the running job *name*."""
        return next((job for job in self._running.values() if job.id == name), None)

    def all(self) -> list[Job[T]]:
        """Return the running jobs, latest first."""
        return sorted(self._running.values(), key=lambda job: -job.started_at)

    async def wait(self, job: Job[T], wait_s: float, report: Report) -> bool:
        """Wait up to *wait_s* seconds; return whether the job has ended.

        A wait that times out leaves the job running for good.  A wait that is cancelled ends the
        job too, unless somebody else waits or it was left running before.
        """
        job.followers.append(report)
        ended = False
        try:
            with trio.move_on_after(wait_s):
                await job.done.wait()
            ended = job.done.is_set()
            job.detached = job.detached or not ended
        finally:
            job.followers.remove(report)
            if not (ended or job.detached or job.followers):
                job.scope.cancel()
        return ended

    def wind_up(self, within_s: float) -> None:
        """On shutdown: end the jobs that nobody waits for now, the others *within_s* seconds from now.

        Whoever waits for one that is ended so is told that it was cancelled.  One that is started
        later ends with the others.
        """
        self._over_at = trio.current_time() + within_s
        for job in self._running.values():
            job.scope.deadline = self._over_at if job.followers else trio.current_time()

    def end_largest(self, why: str) -> str | None:
        """Have the job over the most content answer now, from what it has; return its name, or None."""
        patient = [job for job in self._running.values() if not job.patience.why]
        largest = max(patient, key=lambda job: job.patience.bytes, default=None)
        if largest is None:
            return None
        largest.patience.run_out(why)
        return largest.id

    async def _run(self, key: object, job: Job[T], work: Work[T]) -> None:
        with structlog.contextvars.bound_contextvars(job_id=job.id):
            try:
                with job.scope, of_job(job.patience):
                    job.ended = outcome.Value(await work(job.report))
            except Exception as exc:  # noqa: BLE001  # a job's failure belongs to those who wait for it
                job.ended = outcome.Error(exc)
            finally:
                del self._running[key]
                self.finished += 1
                job.done.set()
                took_s = round(trio.current_time() - job.started_at, 3)
                log.info("job.ended", took_s=took_s, state=_state(job))


def new_name() -> str:
    """Return a name that no job has had."""
    return f"j-{secrets.token_hex(6)}"


def _state(job: Job[T]) -> str:
    match job.ended:
        case None:
            return "cancelled"
        case outcome.Value():
            return "done"
        case _:
            return "failed"
