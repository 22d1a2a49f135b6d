"""What the doors ask of the rest of the program; the pipeline answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

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
)
from rlmd.engine.cells import ExecRequest
from rlmd.look.glob import GlobResult
from rlmd.look.page import GrepResult
from rlmd.look.read import ReadResult
from rlmd.memory.ask import Recalled
from rlmd.memory.entry import Changed, Stored
from rlmd.memory.exchange import Exported, Imported
from rlmd.sandbox.requests import ExecResult
from rlmd.status import Status
from rlmd.values import Report, Session


class Services(Protocol):
    """The verbs behind the tools.

    Each raises RequestError for what its caller can act on; anything else is our fault.  Cancelling
    one stops its work.  `report` may be called any number of times while `analyze` runs.
    """

    async def analyze(self, session: Session, question: Question, report: Report) -> Analysis:
        """Answer *question*, or hand back the job that goes on after `wait_s` or with `detach`."""
        ...

    async def jobs(self, request: JobRequest, report: Report) -> JobList | dict[str, Json]:
        """List the analyses, or return the facts of one."""
        ...

    async def trajectory(self, job_id: str, *, as_lines: bool) -> str:
        """Write out what a job did."""
        ...

    async def execute(self, session: Session, request: ExecRequest) -> ExecResult:
        """Run a cell in the sandbox."""
        ...

    async def read(self, session: Session, request: ReadRequest) -> ReadResult:
        """Read lines of one file as it is now."""
        ...

    async def grep(self, session: Session, request: GrepRequest) -> GrepResult:
        """Find lines in the tree as it is now."""
        ...

    async def glob(self, session: Session, request: GlobRequest) -> GlobResult:
        """Find paths in the tree as it is now."""
        ...

    async def memory_store(self, session: Session, request: StoreRequest) -> Stored:
        """Remember; returned means that it is on disk."""
        ...

    async def memory_recall(self, session: Session, request: RecallRequest) -> Recalled:
        """Recall what is remembered, best or newest first."""
        ...

    async def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count the tokens of each text, exactly."""
        ...

    async def memory_forget(self, session: Session, request: ForgetRequest) -> Changed:
        """Forget, bring back or purge; returned means that it is so on disk."""
        ...

    async def memory_export(self, session: Session, project: str | None, after: int) -> Exported:
        """Return versions of memories as lines of JSON, oldest first, some hundred KiB at a time."""
        ...

    async def memory_import(self, session: Session, lines: tuple[str, ...]) -> Imported:
        """Take over versions of memories; returned means that they are on disk."""
        ...

    async def memory_back_up(self) -> str:
        """Write a whole copy of the memory file and return where it is."""
        ...

    async def metrics(self) -> str:
        """Write the daemon's figures as Prometheus reads them."""
        ...

    async def status(self, *, verbose: bool) -> Status:
        """Say how the daemon is."""
        ...
