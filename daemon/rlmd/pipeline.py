"""What each tool call means: from a request to its answer, one verb a method."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import TypeVar

import trio

from rlmd.answers import (
    Analysis,
    ForgetRequest,
    GlobRequest,
    GrepRequest,
    Question,
    ReadRequest,
    RecallRequest,
    Status,
    StoreRequest,
)
from rlmd.corpus.keeper import Collect, CollectFile, CollectText
from rlmd.engine.answering import Answering, Target
from rlmd.errors import BadArgument
from rlmd.health import Health
from rlmd.look.glob import GlobResult, glob
from rlmd.look.grep import GrepResult, grep
from rlmd.look.read import ReadResult, read
from rlmd.look.selection import narrowed
from rlmd.look.sight import Sight, entry_of
from rlmd.memory.ask import Page, Recall, Recalled
from rlmd.memory.batch import Change, Done
from rlmd.memory.entry import EVERY_PROJECT, Changed, Forget, Purge, Stored, Undo
from rlmd.memory.recall import Recaller
from rlmd.memory.scope import place_for
from rlmd.roots import Roots
from rlmd.supervision import Mailbox
from rlmd.values import Report, Session, WalkRules

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Pipeline:
    """The verbs behind the tools; each actor and file is owned by whoever opened it."""

    roots: Roots
    rules: WalkRules
    writer: Mailbox[Change, Done]
    recaller: Recaller
    answering: Answering
    health: Health
    looking: trio.CapacityLimiter

    async def analyze(self, session: Session, question: Question, report: Report) -> Analysis:
        """Answer *question*, or hand back the job that goes on after `wait_s` or with `detach`."""
        target = await self._target(session, question)
        place = await self._in_thread(partial(place_for, None, session.workspace))
        return await self.answering.analyze(target, question, place.project, report)

    async def _target(self, session: Session, question: Question) -> Target:
        """Say what has to be collected: one text, one file, or what lies below one root."""
        if question.text is not None:
            return CollectText(question.text)
        if question.path is not None:
            absolute = await self._resolve(question.path, session)
            return CollectFile(absolute, question.path, self.rules)
        targets = [await self._resolve(path, session) for path in question.paths]
        root = await self._in_thread(partial(_common_root, targets))
        rules = self.rules
        for chosen in (*question.include, *(f"!{excluded}" for excluded in question.exclude)):
            rules = narrowed(rules, chosen, root)
        return Collect(root, () if targets == [root] else tuple(sorted(set(targets))), rules)

    async def read(self, session: Session, request: ReadRequest) -> ReadResult:
        """Read lines of one file as it is now."""
        path = await self._resolve(request.path, session)
        return await read(request, path, rules=self.rules, workspace=session.workspace, limiter=self.looking)

    async def grep(self, session: Session, request: GrepRequest) -> GrepResult:
        """Find lines in the tree as it is now."""
        path = await self._resolve(request.path or ".", session)
        return await grep(request, path, rules=self.rules, workspace=session.workspace, limiter=self.looking)

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

    async def memory_forget(self, session: Session, request: ForgetRequest) -> Changed:
        """Forget, bring back or purge; returned means that it is so on disk."""
        if request.undo and request.purge:
            raise BadArgument("`undo` and `purge` exclude each other", "What was purged cannot come back.")
        place = await self._in_thread(partial(place_for, request.project, session.workspace))
        change = Undo if request.undo else Purge if request.purge else Forget
        changed = await self.writer.ask(change(request.key, place.project))
        assert isinstance(changed, Changed)
        return changed

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


def _common_root(targets: list[str]) -> str:
    """Return the deepest directory that holds all *targets*; raise BadArgument for none."""
    if not targets:
        raise BadArgument("`paths` is empty", 'Name directories or files, such as ".".')
    common = os.path.commonpath(targets)
    return common if os.path.isdir(common) else os.path.dirname(common)
