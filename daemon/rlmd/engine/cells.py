"""Cells that the calling agent writes itself: the sandbox over a corpus, without a model of ours."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from rlmd.corpus.bundle import CollectBundle
from rlmd.corpus.keeper import Answer, Collect, CollectFile, CollectText, Request
from rlmd.corpus.snapshot import Snapshot
from rlmd.engine.evidence import excerpts
from rlmd.engine.names import Names
from rlmd.engine.repl import Execute
from rlmd.sandbox.requests import Documents, Exec, ExecResult
from rlmd.sandbox.services import NO_SERVICES, Excerpt, Services
from rlmd.supervision import Mailbox

SESSIONS_REMEMBERED = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecRequest:
    """The next cell of `session`, of a new one without; of `paths`, `text`, `path` at most one is given."""

    code: str
    session: str | None = None
    paths: tuple[str, ...] = ()
    text: str | None = None
    path: str | None = None
    timeout_s: float = 30.0
    close: bool = False


@dataclass(frozen=True, eq=False)
class Cells:
    """Runs cells; remembers which snapshot a session looks at, so that its `search` finds its index."""

    execute: Execute
    keeper: Mailbox[Request, Answer]
    _snapshots: OrderedDict[str, Snapshot] = field(default_factory=OrderedDict)

    async def run(
        self, request: ExecRequest, target: Collect | CollectFile | CollectText | CollectBundle | None
    ) -> ExecResult:
        """Run the next cell of a session; a new one sees *target*.

        Raises what `sandbox.requests.Exec` does, and what collecting does.  Cancelling ends the cell
        and loses the session's state.
        """
        snapshot = None if target is None else await self._collect(target)
        content = None
        if snapshot is not None:
            context = None if isinstance(target, Collect | None) else target.name
            content = Documents(
                f"{snapshot.id}:{context or ''}", snapshot.pack.path, snapshot.files, context, snapshot
            )
        seen = snapshot or self._snapshots.get(request.session or "")
        result = await self.execute(
            Exec(
                code=request.code,
                session=request.session,
                content=content,
                timeout_s=request.timeout_s,
                close=request.close,
                services=NO_SERVICES if seen is None else _Searching(self.keeper, seen),
            )
        )
        if seen is not None:
            self._remember(result.session, seen)
        return result

    async def _collect(self, target: Collect | CollectFile | CollectText | CollectBundle) -> Snapshot:
        snapshot = await self.keeper.ask(target)
        assert isinstance(snapshot, Snapshot)
        return snapshot

    def _remember(self, session: str, snapshot: Snapshot) -> None:
        self._snapshots[session] = snapshot
        self._snapshots.move_to_end(session)
        while len(self._snapshots) > SESSIONS_REMEMBERED:
            self._snapshots.popitem(last=False)


class _Searching(Names, Services):
    """What a cell can ask where there is an index, and a model in the agent that calls."""

    async def search(self, query: str, k: int, paths: Sequence[str]) -> Sequence[Excerpt]:
        """Return the best passages of the session's snapshot."""
        return await excerpts(self._keeper, self._snapshot, query, "code", k, paths)
