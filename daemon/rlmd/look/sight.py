"""What a session may see of the code that memories speak of, and how it cites it.

Touches the file system: call it from a thread.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from rlmd.answers import StoreRequest
from rlmd.errors import BadArgument, NotFound, OutsideRoots
from rlmd.ingest.globs import byte_view
from rlmd.ingest.ignore import Rules
from rlmd.memory.anchor import Anchor
from rlmd.memory.ask import Page
from rlmd.memory.entry import Store
from rlmd.memory.evidence import confirmed, take
from rlmd.memory.scope import Place
from rlmd.redact import redact
from rlmd.roots import Roots, is_within
from rlmd.values import Session, WalkRules


@dataclass(frozen=True)
class Sight:
    """The files of `place` as `session` may read them; other projects it sees at their own directory."""

    roots: Roots
    rules: WalkRules
    session: Session
    place: Place

    def file(self, path: str) -> str:
        """Return where *path* leads; raise NotFound or OutsideRoots for what may not be read."""
        file = self.roots.resolve(path, self.session)
        parent, name = os.path.split(file)
        secret = Rules.from_globs(self.rules.secret)
        if secret.verdict(byte_view(f"{parent[1:]}/"), byte_view(name), is_dir=False):
            raise OutsideRoots(
                f"{path} counts as secret", "privacy.exclude in the settings says which files do."
            )
        return file

    def find(self, project: str, kept_path: str) -> str:
        """Return the file that a memory of *project* speaks of, in this session's worktree if it has one."""
        top = self.place.top if project == self.place.project else project
        if not os.path.isabs(kept_path) and (top is None or not os.path.isabs(top)):
            raise NotFound(f"{project} has no files")
        return self.file(os.path.join(top or "/", kept_path))

    def kept(self, file: str) -> str:
        """Return how *file* is written down, so that every worktree of the project finds its own."""
        top = self.place.top
        return os.path.relpath(file, top) if top is not None and is_within(file, top) else file


def entry_of(request: StoreRequest, sight: Sight, session: Session, standing: Page) -> Store:
    """Return what is to be written: no secret in it, and its evidence as the files are now.

    *standing* is the memory whose evidence is confirmed, where that is asked.
    """
    if redact(request.key).count:
        raise BadArgument("`key` holds what looks like a secret.", "Name it; the key is shown everywhere.")
    anchors, redactions = _anchors(request, sight, standing)
    value = None if request.value is None else redact(request.value)
    tags = [redact(tag) for tag in request.tags]
    expected = request.expect_version
    if expected is None and standing.items:
        expected = standing.items[0].version
    return Store(
        key=request.key,
        value=None if value is None else value.text,
        project=sight.place.project,
        tags=tuple(tag.text for tag in tags),
        kind=request.kind or "finding",
        session=request.session or session.id,
        request_id=request.request_id,
        expect_version=expected,
        ttl_s=request.ttl_s,
        anchors=anchors,
        supersedes=request.supersedes,
        redactions=redactions + (value.count if value else 0) + sum(tag.count for tag in tags),
    )


def _anchors(request: StoreRequest, sight: Sight, standing: Page) -> tuple[tuple[Anchor, ...], int]:
    if request.evidence:
        taken = []
        for cited in request.evidence:
            file = sight.file(cited.path)
            taken.append(take(cited, file, sight.kept(file)))
        return tuple(anchor for anchor, _ in taken), sum(count for _, count in taken)
    if not request.confirm:
        return (), 0
    if not any(standing.anchors):
        raise BadArgument(f"{request.key!r} has no evidence to confirm.", "Give `evidence`.")
    return confirmed(sight.place.project, standing.anchors[0], sight.find)
