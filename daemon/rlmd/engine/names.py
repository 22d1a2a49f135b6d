"""What the code of a cell may ask about the names in its snapshot."""

from __future__ import annotations

from collections.abc import Sequence

from rlmd.corpus.keeper import Answer, Request
from rlmd.corpus.naming import Mentions, OutlineOf
from rlmd.corpus.snapshot import Snapshot
from rlmd.corpus.symbols import Want
from rlmd.sandbox.services import NoServices
from rlmd.supervision import Mailbox
from rlmd.values import Match


class Names(NoServices):
    """Outlines, definitions and references of one snapshot, as *keeper* tells them."""

    def __init__(self, keeper: Mailbox[Request, Answer], snapshot: Snapshot) -> None:
        self._keeper, self._snapshot = keeper, snapshot

    async def outline(self, path: str) -> str:
        """Return what a file defines, a line each."""
        told = await self._keeper.ask(OutlineOf(self._snapshot, path))
        assert isinstance(told, str)
        return told

    async def definitions(self, name: str) -> Sequence[Match]:
        """Return the lines that define *name*."""
        return await self._mentions(name, "definitions")

    async def references(self, name: str) -> Sequence[Match]:
        """Return the lines that mention *name*, but for comments, strings and its definitions."""
        return await self._mentions(name, "references")

    async def _mentions(self, name: str, want: Want) -> Sequence[Match]:
        told = await self._keeper.ask(Mentions(self._snapshot, name, want))
        assert isinstance(told, tuple)
        return told
