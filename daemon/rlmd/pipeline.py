"""What each tool call means: from a request to its answer, one verb a method."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, TypeVar, cast

import structlog
import trio

from rlmd.answers import (
    Analysis,
    ForgetRequest,
    GlobRequest,
    GrepRequest,
    JobList,
    JobRequest,
    Json,
    Question,
    ReadRequest,
    RecallRequest,
    StoreRequest,
    facts,
)
from rlmd.ceiling import Ceiling
from rlmd.corpus.keeper import Collect, CollectFile, CollectText
from rlmd.engine.answering import Answering, Target
from rlmd.engine.archive import Record
from rlmd.engine.cells import Cells, ExecRequest
from rlmd.engine.desk import Desk
from rlmd.errors import BadArgument, RequestError
from rlmd.health import Health
from rlmd.look.bundles import Bundles
from rlmd.look.glob import GlobResult, glob
from rlmd.look.grep import grep
from rlmd.look.page import GrepResult
from rlmd.look.read import ReadResult, read
from rlmd.look.selection import narrowed
from rlmd.look.sight import Sight, entry_of
from rlmd.look.warm import Warm
from rlmd.memory.ask import Page, Recall, Recalled
from rlmd.memory.batch import Change, Done
from rlmd.memory.entry import EVERY_PROJECT, Changed, Forget, Purge, Stored, Undo
from rlmd.memory.exchange import Exported, Import, Imported
from rlmd.memory.recall import Recaller
from rlmd.memory.scope import place_for
from rlmd.roots import Roots
from rlmd.sandbox.requests import ExecResult
from rlmd.status import Status
from rlmd.supervision import Mailbox
from rlmd.values import Report, Session, WalkRules

log = structlog.get_logger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Pipeline:
    """The verbs behind the tools; each actor and file is owned by whoever opened it."""

    roots: Roots
    rules: WalkRules
    writer: Mailbox[Change, Done]
    recaller: Recaller
    answering: Answering
    desk: Desk
    cells: Cells
    health: Health
    ceiling: Ceiling
    looking: trio.CapacityLimiter
    count: Callable[[Sequence[str]], Awaitable[list[int]]]
    warm: Warm
    bundles: Callable[[Roots, WalkRules], Bundles]

    async def analyze(self, session: Session, question: Question, report: Report) -> Analysis:
        """Answer *question*, or hand back the job that goes on after `wait_s` or with `detach`."""
        self.ceiling.admit()
        target = await self._target(session, question)
        place = await self._in_thread(partial(place_for, None, session.workspace))
        asked = replace(question, wait_s=0.0, detach=True)
        request: Json = {
            "question": facts(asked),
            "workspace": session.workspace,
            "allow": list(session.allow),
        }
        found = await self.answering.analyze(target, question, place.project, report, request=request)
        if found.state == "done":
            await self.warm.prepare()
        return found

    async def resume(self) -> None:
        """Go on with the jobs that the last daemon could not end; one that cannot go on has failed."""
        try:
            for record in await self.desk.archive.running():
                await self._resume(record)
        finally:
            self.desk.resumed.set()

    async def _resume(self, record: Record) -> None:
        try:
            session, question = _asked(record.request)
            target = await self._target(session, question)
            self.answering.resume(record, target, question)
        except (RequestError, TypeError, KeyError) as failed:
            log.warning("job.not_resumed", job_id=record.job_id, reason=str(failed))
            await self.desk.give_up(record, str(failed))

    async def jobs(self, request: JobRequest, report: Report) -> JobList | dict[str, Json]:
        """List the analyses, or wait for one, cancel it, or look at what it came to."""
        if request.action == "list":
            return await self.desk.list(request.cursor)
        return await self.desk.serve(request, report)

    async def trajectory(self, job_id: str, *, as_lines: bool) -> str:
        """Write out what a job did, as a tree or as lines of JSON."""
        return await self.desk.trajectory(job_id, as_lines=as_lines)

    async def _target(self, session: Session, question: Question) -> Target:
        """Say what has to be collected: a text, a file, a bundle, or what lies below one root."""
        if question.text is not None:
            return CollectText(question.text)
        bundles = self.bundles(self.roots, self.rules)
        if question.path is not None:
            if (bundle := await bundles.find_one(question.path, session)) is not None:
                return bundle
            absolute = await self._resolve(question.path, session)
            return CollectFile(absolute, question.path, self.rules)
        if (bundle := await bundles.find(question, session)) is not None:
            return bundle
        targets = [await self._resolve(path, session) for path in question.paths]
        root = await self._in_thread(partial(_common_root, targets))
        rules = self.rules
        for chosen in (*question.include, *(f"!{excluded}" for excluded in question.exclude)):
            rules = narrowed(rules, chosen, root)
        return Collect(root, () if targets == [root] else tuple(sorted(set(targets))), rules)

    async def execute(self, session: Session, request: ExecRequest) -> ExecResult:
        """Run a cell in the sandbox, over what a new session is given."""
        self.ceiling.admit()
        target = None
        if request.paths or request.text is not None or request.path is not None:
            asked = Question(query="", paths=request.paths, text=request.text, path=request.path)
            target = await self._target(session, asked)
        return await self.cells.run(request, target)

    async def read(self, session: Session, request: ReadRequest) -> ReadResult:
        """Read lines of one file as it is now."""
        path = await self._resolve(request.path, session)
        return await read(request, path, rules=self.rules, workspace=session.workspace, limiter=self.looking)

    async def grep(self, session: Session, request: GrepRequest) -> GrepResult:
        """Find lines in the tree as it is now, in a corpus that is fresh or else by looking."""
        path = await self._resolve(request.path or ".", session)
        rules, workspace, limiter = self.rules, session.workspace, self.looking
        found = await self.warm.grep(request, path, rules=rules, workspace=workspace, limiter=limiter)
        if found is None:
            found = await grep(request, path, rules=rules, workspace=workspace, limiter=limiter)
        return found

    async def glob(self, session: Session, request: GlobRequest) -> GlobResult:
        """Find paths in the tree as it is now."""
        path = await self._resolve(request.path or ".", session)
        return await glob(request, path, rules=self.rules, workspace=session.workspace, limiter=self.looking)

    async def memory_store(self, session: Session, request: StoreRequest) -> Stored:
        """Remember; returned means that it is on disk."""
        sight = await self._sight(request.project, session)
        standing = Page()
        if request.confirm and not request.evidence:
            standing = await self.recaller.page(Recall(project=sight.place.project, key=request.key))
        entry = await self._in_thread(partial(entry_of, request, sight, session, standing))
        stored = await self.writer.ask(entry)
        assert isinstance(stored, Stored)
        return stored

    async def memory_recall(self, session: Session, request: RecallRequest) -> Recalled:
        """Recall what is remembered, best or newest first, with what has become of its evidence."""
        everywhere = request.project == EVERY_PROJECT
        sight = await self._sight(None if everywhere else request.project, session)
        project = EVERY_PROJECT if everywhere else sight.place.project
        question = {each.name: getattr(request, each.name) for each in fields(request)}
        return await self.recaller.recall(Recall(**(question | {"project": project})), sight.find)

    async def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count the tokens of each text, exactly, in the worker process."""
        return await self.count(texts)

    async def memory_forget(self, session: Session, request: ForgetRequest) -> Changed:
        """Forget, bring back or purge; returned means that it is so on disk."""
        if request.undo and request.purge:
            raise BadArgument("`undo` and `purge` exclude each other", "What was purged cannot come back.")
        place = await self._in_thread(partial(place_for, request.project, session.workspace))
        change = Undo if request.undo else Purge if request.purge else Forget
        changed = await self.writer.ask(change(request.key, place.project))
        assert isinstance(changed, Changed)
        return changed

    async def memory_export(self, session: Session, project: str | None, after: int) -> Exported:
        """Return versions of memories as lines of JSON, oldest first, some hundred KiB at a time."""
        if project != EVERY_PROJECT:
            project = (await self._sight(project, session)).place.project
        return await self.recaller.export(project, after)

    async def memory_import(self, _session: Session, lines: tuple[str, ...]) -> Imported:
        """Take over versions of memories; returned means that they are on disk."""
        imported = await self.writer.ask(Import(lines))
        assert isinstance(imported, Imported)
        return imported

    async def memory_back_up(self) -> str:
        """Write a whole copy of the memory file and return where it is."""
        return await self.recaller.back_up()

    async def metrics(self) -> str:
        """Write the daemon's figures as Prometheus reads them."""
        return await self.health.metrics()

    async def status(self, *, verbose: bool) -> Status:
        """Say how the daemon is; *verbose* checks the memory file once more."""
        return await self.health.status(check=verbose)

    async def _resolve(self, path: str, session: Session) -> str:
        return await self._in_thread(partial(self.roots.resolve, path, session))

    async def _sight(self, project: str | None, session: Session) -> Sight:
        place = await self._in_thread(partial(place_for, project, session.workspace))
        return Sight(self.roots, self.rules, session, place)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(work, limiter=self.looking, abandon_on_cancel=True)


def _asked(request: Json) -> tuple[Session, Question]:
    """Return who asked what, from what the journal kept of it."""
    if not isinstance(request, dict) or not isinstance(given := request["question"], dict):
        raise TypeError("the journal's request is no object")
    told = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    workspace, allow = request["workspace"], request["allow"]
    session = Session(
        "resumed", None if workspace is None else str(workspace), tuple(map(str, cast("list[str]", allow)))
    )
    return session, Question(**cast("dict[str, Any]", told))


def _common_root(targets: list[str]) -> str:
    """Return the deepest directory that holds all *targets*; raise BadArgument for none."""
    if not targets:
        raise BadArgument("`paths` is empty", 'Name directories or files, such as ".".')
    common = os.path.commonpath(targets)
    return common if os.path.isdir(common) else os.path.dirname(common)
