"""The jobs as their callers see them: begun, ended, listed, waited for, cancelled, begun again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import structlog
import trio

from rlmd.answers import Analysis, JobFacts, JobList, JobRequest, JobState, Json, facts
from rlmd.engine.archive import Archive, Record
from rlmd.engine.jobs import Job, Jobs
from rlmd.engine.journal import Begin, End, Note, Whole
from rlmd.engine.trajectory import lines_of_json, tree
from rlmd.engine.typed import as_text
from rlmd.errors import BadArgument, Busy, NotFound
from rlmd.supervision import ActorError
from rlmd.values import Report

log = structlog.get_logger(__name__)

PAGE = 50
_FAREWELL_S = 1.0
_CANCELLING_S = 5.0


@dataclass(frozen=True, eq=False)
class Desk:
    """Keeps the journal of the jobs.

    `draining` says that those cancelled now are to go on later, `resumed` that those of the last
    daemon do.
    """

    jobs: Jobs[Analysis]
    archive: Archive
    journal: Callable[[Note], Awaitable[None]]
    draining: trio.Event
    resumed: trio.Event

    async def see_through(
        self, begin: Begin, work: Callable[[], Awaitable[Analysis]], *, is_new: bool
    ) -> Analysis:
        """Return what *work* does, its beginning and its end in the journal.

        A job that is cancelled while the daemon drains has no end there, and goes on in its next life.
        """
        began = trio.current_time()
        if is_new:
            await self.journal(begin)
        try:
            analysis = replace(await work(), job_id=begin.id, trajectory=link(begin.id))
        except trio.Cancelled:
            if not self.draining.is_set():
                with trio.move_on_after(_FAREWELL_S, shield=True):
                    await self._end(begin.id, "cancelled", began)
            raise
        except Exception as failed:  # whatever it was, the journal hears of it
            error: dict[str, Json] = {"error": str(failed), "code": getattr(failed, "code", "internal")}
            await self._end(begin.id, "failed", began, error)
            raise
        await self._end(begin.id, "done", began, facts(analysis))
        return analysis

    async def keep(self, begin: Begin, analysis: Analysis) -> Analysis:
        """Keep an answer that nothing was paid for, and return it with the link to what is kept.

        What its callers were shown is kept; the passages besides only where they have left it running.
        """
        job = self.jobs.find(begin.id)
        linked = replace(analysis, job_id=begin.id, trajectory=link(begin.id))
        kept = linked if job is not None and job.detached else replace(linked, evidence=())
        end = End(id=begin.id, state="done", wall_s=analysis.usage.wall_s, result=facts(kept))
        try:
            await self.journal(Whole(begin, end))
        except Busy as refused:  # the answer does not wait for a disk that refuses
            log.warning("job.not_kept", job_id=begin.id, reason=str(refused))
            return analysis
        return linked

    async def give_up(self, record: Record, why: str) -> None:
        """Say that a job of an earlier life cannot go on."""
        await self.journal(End(id=record.job_id, state="failed", wall_s=record.wall_s, result={"error": why}))

    async def list(self, cursor: str | None) -> JobList:
        """Return a page of the jobs, latest first; those that are kept nowhere else lead the first."""
        records = await self.archive.newest(PAGE, cursor)
        known = {record.job_id for record in records}
        running = [] if cursor else [job for job in self.jobs.all() if job.id not in known]
        shown = [_running(job) for job in running] + [_listed(record) for record in records]
        return JobList(tuple(shown), records[-1].job_id if len(records) == PAGE else None)

    async def serve(self, request: JobRequest, report: Report) -> dict[str, Json]:
        """Wait for a job, cancel it, or just look; return the facts of its analysis, as far as they are.

        Raises NotFound for a job that nobody knows.
        """
        if not request.job_id:
            raise BadArgument("`job_id` is missing", 'Take one from {"action": "list"}.')
        await self.resumed.wait()
        job = self.jobs.find(request.job_id)
        if job is not None and request.action == "cancel":
            job.scope.cancel()
            with trio.move_on_after(_CANCELLING_S):
                await job.done.wait()
        elif job is not None and request.action == "wait":
            job.detached = True
            await self.jobs.wait(job, request.wait_s, report)
        return _paged(await self._facts(request.job_id, job), request)

    async def trajectory(self, job_id: str, *, as_lines: bool) -> str:
        """Write out what a job did; raises NotFound for one whose doings are not kept."""
        record = await self.archive.find(job_id)
        if record is None:
            raise NotFound(f"There is no record of {job_id!r}.", 'See {"action": "list"}.')
        entries = await self.archive.entries(job_id)
        if as_lines:
            return "".join(f"{line}\n" for line in lines_of_json(entries))
        title = f"{job_id} {record.state}, mode {record.mode}: {record.query}"
        return f"{title}\n{tree(entries) if entries else 'It asked no model.'}\n"

    async def _facts(self, name: str, job: Job[Analysis] | None) -> dict[str, Json]:
        record = await self.archive.find(name)
        if record is not None and isinstance(record.result, dict) and record.state == "done":
            return {**record.result, "job_id": name}
        if record is None and job is None:
            raise NotFound(f"There is no job {name!r}.", 'See {"action": "list"}.')
        state: JobState = record.state if record is not None else "running"
        if job is not None and job.done.is_set():
            state = "cancelled" if job.ended is None else "failed"
        answer = facts(Analysis(job_id=name, state=state, mode="auto"))
        if record is not None:
            answer["mode"] = record.mode
            answer["usage"] = _usage(record)
            answer["trajectory"] = link(name)
            if isinstance(record.result, dict):
                answer["note"] = str(record.result.get("error", ""))
        return answer

    async def _end(
        self, name: str, state: JobState, began: float, result: Mapping[str, Json] | None = None
    ) -> None:
        record = await self.archive.find(name)
        wall_s = trio.current_time() - began if record is None or not record.calls else record.wall_s
        told = None if result is None else dict(result)
        try:
            await self.journal(End(id=name, state=state, wall_s=round(wall_s, 3), result=told))
        except (Busy, ActorError) as refused:
            log.warning("job.not_kept", job_id=name, reason=str(refused))


def link(job_id: str) -> str:
    """Return where what a job did can be read."""
    return f"rlmd://jobs/{job_id}"


def _paged(found: dict[str, Json], request: JobRequest) -> dict[str, Json]:
    """Put one page of a long answer in its place, and where the next one begins."""
    text = as_text(found.get("answer"))
    cursor = request.cursor or "0"
    start = int(cursor) if cursor.isdecimal() else -1
    if not 0 <= start <= len(text):
        raise BadArgument(f"{request.cursor!r} is no cursor of this answer.", "Begin without one.")
    stop = start + request.page_chars
    if found.get("answer") is not None and (start or stop < len(text)):
        found["answer"] = text[start:stop]
    found["next_cursor"] = str(stop) if stop < len(text) else None
    return found


def _listed(record: Record) -> JobFacts:
    return JobFacts(
        job_id=record.job_id,
        query=record.query,
        state=record.state,
        mode=record.mode,
        started_at=record.started_at,
        wall_s=record.wall_s,
        calls=record.calls,
        usd=record.usd,
        turn=record.turn,
    )


def _running(job: Job[Analysis]) -> JobFacts:
    wall_s = trio.current_time() - job.started_at
    began = datetime.now(UTC) - timedelta(seconds=wall_s)
    return JobFacts(
        job_id=job.id,
        query=job.query,
        state="running",
        mode=job.mode,
        started_at=began.isoformat(timespec="milliseconds"),
        wall_s=round(wall_s, 3),
        calls=0,
        usd=0.0,
        turn=0,
    )


def _usage(record: Record) -> dict[str, Json]:
    return {"calls": record.calls, "usd": record.usd, "wall_s": record.wall_s}
