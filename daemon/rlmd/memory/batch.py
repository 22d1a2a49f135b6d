"""What the writer does with each request, inside the transaction of its batch."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import cast

import apsw

from rlmd.errors import NotFound, RequestError, TooLarge, VersionConflict
from rlmd.memory.entry import Changed, Forget, Purge, Store, Stored, Undo, fresh, require_storable
from rlmd.memory.exchange import Import, Imported, take_over
from rlmd.memory.receipts import Receipt, Receipts
from rlmd.memory.rows import FORGOTTEN, LIVE, SUPERSEDED, Rows, Standing, Version, now, read_anchors
from rlmd.memory.schema import SEQ_BITS
from rlmd.store import used_bytes

Change = Store | Forget | Undo | Purge | Import
Done = Stored | Changed | Imported

_LIKE_NAMES = 3
_NAMES_COMPARED = 2_000


class Batch:
    """Writes requests one after the other inside the open transaction."""

    def __init__(self, db: apsw.Connection, *, max_value_bytes: int, max_bytes: int) -> None:
        self._db = db
        self._rows = Rows(db)
        self._receipts = Receipts(db, self._rows)
        self._max_value_bytes = max_value_bytes
        self._max_bytes = max_bytes
        self._used_bytes = used_bytes(db)

    def write(self, requests: Sequence[Change]) -> list[Done | RequestError]:
        """Do what each of *requests* asks for, in order; what is refused leaves no trace."""
        stores = [request for request in requests if isinstance(request, Store)]
        self._rows.expect((each.project, each.key) for each in stores)
        self._receipts.expect(
            (each.project, each.request_id) for each in stores if each.request_id is not None
        )
        outcomes = [self._attempt(request) for request in requests]
        self._flush()
        return outcomes

    def _attempt(self, request: Change) -> Done | RequestError:
        """Apply *request*; a verb refuses before it has written, and an import is taken back whole."""
        try:
            return self._apply(request)
        except RequestError as refused:
            return refused

    def _apply(self, request: Change) -> Done:
        match request:
            case Store():
                return self.store(request)
            case Forget():
                return self.forget(request)
            case Undo():
                return self.undo(request)
            case Purge():
                return self.purge(request)
            case Import():
                return self.take_over(request)

    def take_over(self, request: Import) -> Imported:
        """Import lines, all of them or none."""
        self._require_room(sum(map(len, request.lines)))
        self._flush()
        savepoint: AbstractContextManager[object] = self._db
        with savepoint:
            return take_over(self._db, request, max_value_bytes=self._max_value_bytes)

    def _flush(self) -> None:
        self._rows.flush()
        self._receipts.flush()

    def store(self, request: Store) -> Stored:
        """Write a new version."""
        size_bytes = require_storable(request, max_value_bytes=self._max_value_bytes)
        project_id = cast("int", self._rows.project_id(request.project, create=True))
        if request.request_id is not None and (
            known := self._receipts.find(project_id, request.request_id, request.key)
        ):
            return self._answer_again(request, project_id, known)
        self._require_room(size_bytes + sum(len(each.span) for each in request.anchors))
        at_ns = now()
        standing = self._rows.find(project_id, request.key)
        created = standing is None or not standing.stands(at_ns)
        _require_version(request, 0 if standing is None or created else standing.rev)
        displaced = self._displaced(project_id, request, at_ns)
        version = self._version(request, None if created else standing, displaced, at_ns)
        if standing is None:
            id_, rev = self._rows.create(project_id, request.key, version), 1
        else:
            id_, rev = standing.id, self._rows.advance(standing, request.key, version)
        self._displace(displaced, id_, at_ns)
        if request.request_id is not None:
            receipt = Receipt(request.key, rev, created)
            self._receipts.keep(project_id, request.request_id, receipt, at_ns)
        return Stored(request.key, request.project, rev, created, request.redactions, fresh(request.anchors))

    def _version(
        self, request: Store, standing: Standing | None, displaced: int | None, at_ns: int
    ) -> Version:
        if request.value is not None:
            return Version(
                value=request.value,
                kind=request.kind,
                tags=tuple(dict.fromkeys(request.tags)),
                session=request.session,
                agent=request.agent,
                at_ns=at_ns,
                expires_ns=None if request.ttl_s is None else at_ns + int(request.ttl_s * 1e9),
                supersedes=displaced,
                anchors=request.anchors,
            )
        if standing is None:
            raise self._unknown(request.project, request.key)
        said = self._rows.standing_version(standing.id)
        return replace(
            said, at_ns=at_ns, session=request.session, agent=request.agent, anchors=request.anchors
        )

    def forget(self, request: Forget) -> Changed:
        """Put a version without a value in the place of the one that stands."""
        standing = self._known(request.project, request.key)
        if standing.state == FORGOTTEN or (standing.state == LIVE and not standing.stands(now())):
            raise self._unknown(request.project, request.key)
        rev = self._rows.advance(standing, request.key, Version(at_ns=now(), state=FORGOTTEN))
        return Changed(request.key, request.project, rev, "forgotten")

    def undo(self, request: Undo) -> Changed:
        """Make the state before the last change the newest version; before the first one was nothing."""
        standing = self._known(request.project, request.key)
        at_ns = now()
        if standing.state == LIVE and not standing.stands(at_ns):
            raise self._unknown(request.project, request.key)
        before = self._rows.version_before(standing)
        if standing.state == FORGOTTEN and before is None:
            raise self._unknown(request.project, request.key)
        if before is None or (before.expires_ns is not None and before.expires_ns <= at_ns):
            before = Version(at_ns=at_ns, state=FORGOTTEN)
        rev = self._rows.advance(standing, request.key, _again(before, at_ns))
        if before.supersedes != standing.supersedes:
            self._reinstate(standing.supersedes, standing.id, at_ns)
            self._displace(before.supersedes, standing.id, at_ns)
        states = {LIVE: "live", SUPERSEDED: "superseded", FORGOTTEN: "forgotten"}
        return Changed(request.key, request.project, rev, states[before.state])  # type: ignore[arg-type]  # its keys are all there are

    def purge(self, request: Purge) -> Changed:
        """Delete every version, and make the full-text index forget the words of them all."""
        standing = self._known(request.project, request.key)
        self._rows.remove(standing)
        self._receipts.forget(standing.id >> SEQ_BITS, request.key)
        forget_deleted_words(self._db)
        return Changed(request.key, request.project, 0, "purged")

    def _displaced(self, project_id: int, request: Store, at_ns: int) -> int | None:
        """Return the memory that the new version takes the place of, if it names one."""
        if request.supersedes is None:
            return None
        displaced = self._rows.find(project_id, request.supersedes)
        if displaced is None or not (displaced.stands(at_ns) or displaced.state == SUPERSEDED):
            raise self._unknown(request.project, request.supersedes)
        return displaced.id

    def _displace(self, id_: int | None, by: int, at_ns: int) -> None:
        """Let a memory stand no longer, because another has taken its place."""
        if id_ is None:
            return
        key, displaced = self._rows.with_id(id_)
        if displaced.state != FORGOTTEN:
            said = self._rows.standing_version(id_)
            self._rows.advance(displaced, key, _again(said, at_ns, state=SUPERSEDED, superseded_by=by))

    def _reinstate(self, id_: int | None, by: int, at_ns: int) -> None:
        """Let a memory stand again, if the change that took its place is being undone."""
        if id_ is None:
            return
        key, standing = self._rows.with_id(id_)
        said = self._rows.standing_version(id_)
        if said.state == SUPERSEDED and said.superseded_by == by:
            self._rows.advance(standing, key, _again(said, at_ns, state=LIVE, superseded_by=None))

    def _known(self, project: str, key: str) -> Standing:
        standing = self._rows.find(self._rows.project_id(project, create=False), key)
        if standing is None:
            raise self._unknown(project, key)
        return standing

    def _unknown(self, project: str, key: str) -> NotFound:
        asked = {"project": self._rows.project_id(project, create=False), "most": _NAMES_COMPARED}
        names = [cast("str", row[0]) for row in self._db.execute(_NAMES, asked)]
        near = difflib.get_close_matches(key, names, n=_LIKE_NAMES, cutoff=0.5)
        hint = f"The nearest that are: {', '.join(near)}." if near else "Recall by words to find its key."
        return NotFound(f"No memory {key!r} stands in {project}.", hint)

    def _answer_again(self, request: Store, project_id: int, known: Receipt) -> Stored:
        self._rows.flush()
        standing = self._rows.find(project_id, known.key)
        anchors = () if standing is None else read_anchors(self._db, standing.id, known.rev)
        return Stored(
            known.key, request.project, known.rev, known.created, request.redactions, fresh(anchors)
        )

    def _require_room(self, size_bytes: int) -> None:
        self._used_bytes += size_bytes
        if self._used_bytes > self._max_bytes:
            self._used_bytes -= size_bytes
            raise TooLarge(
                f"The memory store is full: {self._used_bytes} of {self._max_bytes} bytes "
                "(memory.max_bytes). This was not stored, and nothing was evicted to make room.",
                "Raise memory.max_bytes, or purge what is no longer needed.",
            )


def forget_deleted_words(db: apsw.Connection) -> None:
    """Rewrite the full-text index without what was deleted: until its segments merge it keeps those words."""
    db.execute("INSERT INTO memory_fts(memory_fts) VALUES ('optimize')")


def _again(
    version: Version, at_ns: int, *, state: str | None = None, superseded_by: int | None = None
) -> Version:
    """Return what *version* says, said at another time, in another state if one is given."""
    if state is None:
        return replace(version, at_ns=at_ns)
    return replace(version, at_ns=at_ns, state=state, superseded_by=superseded_by)


def _require_version(request: Store, version: int) -> None:
    if request.expect_version is None or request.expect_version == version:
        return
    stands = f"stands at version {version}" if version else "does not exist (version 0)"
    raise VersionConflict(
        f"{request.key!r} {stands}, not at {request.expect_version}; nothing was stored.",
        "Recall it, merge, and store again with the version that stands.",
    )


_NAMES = "SELECT key FROM memory WHERE project_id = :project AND state = 'live' ORDER BY seq DESC LIMIT :most"
