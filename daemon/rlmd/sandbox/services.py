"""What code in a cell may ask of the daemon; whoever owns models and indexes provides it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from rlmd.answers import Json
from rlmd.errors import NoLlm
from rlmd.values import Match


class BudgetExceeded(Exception):
    """The run may not spend more; the text says what is spent."""


class NotAvailable(Exception):
    """This daemon does not offer that; the text says what to use instead."""


class Excerpt(NamedTuple):
    """A ranked passage with its text."""

    path: str
    start_line: int
    end_line: int
    text: str
    score: float


class Services(Protocol):
    """Calls out of a cell.  All arguments are hostile: code that a model wrote made them.

    A RequestError, BudgetExceeded or NotAvailable is raised inside the cell with its text; anything
    else is our fault and ends the cell.  Calls run side by side, and are cancelled with their cell.
    """

    async def llm_query(self, prompt: str, model: str | None) -> str:
        """Send *prompt* verbatim as one user message; return the reply."""
        ...

    async def rlm_query(self, question: str, paths: Sequence[str], text: str | None) -> str:
        """Answer *question* by a run of its own over *paths*, or over *text*."""
        ...

    async def search(self, query: str, k: int, paths: Sequence[str]) -> Sequence[Excerpt]:
        """Return the *k* best passages of the session's snapshot, of *paths* only where there are any."""
        ...

    async def outline(self, path: str) -> str:
        """Return what a file defines, a line each."""
        ...

    async def definitions(self, name: str) -> Sequence[Match]:
        """Return the lines that define *name*."""
        ...

    async def references(self, name: str) -> Sequence[Match]:
        """Return the lines that mention *name*."""
        ...

    def budget(self) -> Mapping[str, Json]:
        """Return what the run has left, beside the session's own limits."""
        ...


class NoServices:
    """A daemon without a model and without an index for this session; a base for those that have some."""

    async def llm_query(self, prompt: str, model: str | None) -> str:  # noqa: ARG002  # as Services has it
        """Say that there is no model."""
        raise NoLlm("no model is configured", "Answer from what the cell computes itself.")

    async def rlm_query(
        self,
        question: str,  # noqa: ARG002  # as Services has it
        paths: Sequence[str],  # noqa: ARG002  # as Services has it
        text: str | None,  # noqa: ARG002  # as Services has it
    ) -> str:
        """Say that there is no model."""
        raise NoLlm("no model is configured", "Answer from what the cell computes itself.")

    async def search(self, query: str, k: int, paths: Sequence[str]) -> Sequence[Excerpt]:  # noqa: ARG002  # as Services has it
        """Say that there is no index."""
        raise NotAvailable("search is not available here; use grep(pattern)")

    async def outline(self, path: str) -> str:  # noqa: ARG002  # as Services has it
        """Say that there are no symbols."""
        raise NotAvailable("outline is not available yet; use read(path) or ast")

    async def definitions(self, name: str) -> Sequence[Match]:  # noqa: ARG002  # as Services has it
        """Say that there are no symbols."""
        raise NotAvailable("definitions is not available yet; use grep(pattern)")

    async def references(self, name: str) -> Sequence[Match]:  # noqa: ARG002  # as Services has it
        """Say that there are no symbols."""
        raise NotAvailable("references is not available yet; use grep(name)")

    def budget(self) -> Mapping[str, Json]:
        """Return nothing more than the session's own limits."""
        return {}


NO_SERVICES = NoServices()
