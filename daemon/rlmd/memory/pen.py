"""The hand that writes memory.db, used by one thread at a time."""

from __future__ import annotations

from collections.abc import Sequence

import apsw

from rlmd.errors import Busy, NotFound, RequestError, TooLarge
from rlmd.memory.batch import Batch, Change, Done
from rlmd.memory.care import copies_of, purge_in_copy, tidy
from rlmd.memory.entry import Changed, Purge
from rlmd.memory.schema import SCHEMA
from rlmd.store import Keeper

Outcome = Done | RequestError


class Pen:
    """Commits batches, and does what has to follow some of them before they are answered."""

    def __init__(self, path: str, max_value_bytes: int, max_bytes: int) -> None:
        self.keeper = Keeper(path, SCHEMA)
        self._path = path
        self._max_value_bytes = max_value_bytes
        self._max_bytes = max_bytes
        self._half_purged: set[Purge] = set()

    def write(self, requests: list[Change]) -> list[Outcome]:
        """Commit *requests* together; those that found no room once more after tidying up."""
        outcomes = self.keeper.transact(requests, self._apply)
        refused = [at for at, outcome in enumerate(outcomes) if isinstance(outcome, TooLarge)]
        if refused and self.tidy():
            again = self.keeper.transact([requests[at] for at in refused], self._apply)
            for at, outcome in zip(refused, again, strict=True):
                outcomes[at] = outcome
        for at, request in enumerate(requests):
            if isinstance(request, Purge):
                outcomes[at] = self._finish_purge(request, outcomes[at])
        return outcomes

    def tidy(self) -> int:
        """Take out what has expired; return how much that was."""
        (done,) = self.keeper.transact([None], lambda db, _: [tidy(db)])
        return done if isinstance(done, int) else 0

    def _apply(self, db: apsw.Connection, requests: Sequence[Change]) -> list[Outcome]:
        return Batch(db, max_value_bytes=self._max_value_bytes, max_bytes=self._max_bytes).write(requests)

    def _finish_purge(self, request: Purge, outcome: Outcome) -> Outcome:
        """Remove from log and backups what is gone from the file; what fails here may be repeated."""
        if isinstance(outcome, RequestError) and not isinstance(outcome, NotFound):
            return outcome
        try:
            copies = [purge_in_copy(copy, request.project, request.key) for copy in copies_of(self._path)]
            emptied = self.keeper.empty_log()
        except apsw.Error as exc:
            return self._owe(request, f"a backup cannot be changed ({exc})")
        if not emptied:
            return self._owe(request, "the log could not be emptied")
        if isinstance(outcome, Changed) or any(copies) or request in self._half_purged:
            self._half_purged.discard(request)
            return Changed(request.key, request.project, 0, "purged")
        return outcome

    def _owe(self, request: Purge, why: str) -> Busy:
        self._half_purged.add(request)
        return Busy(f"{request.key!r} is purged from the store, but {why}.", "Purge it again.")
