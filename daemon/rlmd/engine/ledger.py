"""What a run has done so far, kept as it happens, so that nothing is paid for twice."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from rlmd.answers import Json

EntryKind = Literal["root", "call", "cell", "child"]
Body = dict[str, Json]


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened: in the run `node`, in its turn `turn`, and what came of it.

    `key` names what was asked, a hash; `body` is JSON.
    """

    node: str
    turn: int
    kind: EntryKind
    key: str
    body: Body


Keep = Callable[[Entry], Awaitable[None]]


async def keep_nothing(_: Entry) -> None:
    """Keep no entry."""


class Ledger:
    """Entries of one job: those of an earlier life to be had again, and new ones to be kept.

    Equal things of one turn are told apart by their order alone.  A ledger that *only_recalls*
    serves replays: what it does not know, nobody may do.  `recalled` counts what was had again,
    `differing` the cells among it that came to something else this time.
    """

    def __init__(
        self, keep: Keep = keep_nothing, known: Iterable[Entry] = (), *, only_recalls: bool = False
    ) -> None:
        self._keep = keep
        self._known: dict[tuple[str, int, EntryKind, str], deque[Body]] = defaultdict(deque)
        for entry in known:
            self._known[entry.node, entry.turn, entry.kind, entry.key].append(entry.body)
        self.only_recalls = only_recalls
        self.recalled = 0
        self.differing = 0

    def recall(self, node: str, turn: int, kind: EntryKind, key: str) -> Body | None:
        """Return what came of this in an earlier life, each once; None where it was not done."""
        bodies = self._known.get((node, turn, kind, key))
        if not bodies:
            return None
        self.recalled += 1
        return bodies.popleft()

    async def keep(self, entry: Entry) -> None:
        """Return once *entry* is kept."""
        if not self.only_recalls:
            await self._keep(entry)


def key_of(*parts: str | Sequence[str]) -> str:
    """Name what is asked: equal for equal parts and for nothing else."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]
