"""Paths that name no tree: `PATH@REVISION`, an archive, a document that has to be turned into text."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple, TypeVar, cast

import trio

from rlmd.answers import Question
from rlmd.corpus.bundle import CollectBundle
from rlmd.errors import BadArgument, NotFound, OutsideRoots
from rlmd.ingest.archive import archive, is_archive, state_key
from rlmd.ingest.bundle import Bounds, Sorting
from rlmd.ingest.paper import is_paper
from rlmd.ingest.revision import place_of, revision
from rlmd.look.selection import narrowed
from rlmd.offload import Offload, OffloadError
from rlmd.requests import Document
from rlmd.roots import Roots
from rlmd.values import Session, WalkRules

PAPER_S = 120.0
T = TypeVar("T")


class _Named(NamedTuple):
    """A file or directory that exists, and the revision of it that is meant."""

    file: str
    revision: str | None


@dataclass(frozen=True, eq=False)
class Bundles:
    """Finds bundles where a session may read; `reading` is the process that reads papers."""

    bounds: Bounds
    reading: Offload
    roots: Roots
    rules: WalkRules

    async def find(self, question: Question, session: Session) -> CollectBundle | None:
        """Return what the paths of *question* name if that is a bundle, None for files of a tree.

        Raises what resolving does, BadArgument for a bundle among other paths, and NotFound for a
        revision that is not there.
        """
        for path in question.paths:
            named = await _in_thread(partial(self._named, path, session))
            if named is not None and len(question.paths) > 1:
                raise BadArgument(f"{path} can only be asked about alone", "Give it as the only path.")
            if named is not None:
                chosen = (*question.include, *(f"!{excluded}" for excluded in question.exclude))
                return await self._bundle(named, session, chosen)
        return None

    async def find_one(self, path: str, session: Session) -> CollectBundle | None:
        """Return what *path* names if it is one document in a bundle, None for a plain file."""
        named = await _in_thread(partial(self._named, path, session))
        bundle = None if named is None else await self._bundle(named, session, ())
        if bundle is not None and bundle.name is None:
            raise BadArgument(f"{path} is more than one text", "Ask rlm_analyze about it.")
        return bundle

    def _named(self, path: str, session: Session) -> _Named | None:
        try:
            file = self.roots.resolve(path, session)
        except NotFound:
            for at in (at for at, char in enumerate(path) if char == "@"):
                with suppress(NotFound):
                    return _Named(self.roots.resolve(path[:at] or ".", session), path[at + 1 :])
            raise
        return _Named(file, None) if os.path.isfile(file) and (is_archive(file) or is_paper(file)) else None

    async def _bundle(self, named: _Named, session: Session, chosen: tuple[str, ...]) -> CollectBundle:
        # What closes directories of the machine says nothing of paths in a bundle.
        rules = replace(self.rules, deny=(), own=())
        for glob in chosen:
            rules = narrowed(rules, glob, named.file)
        if named.revision is None and is_paper(named.file):
            return await self._paper(named.file, rules)
        return await _in_thread(partial(self._read, named, session, rules))

    def _read(self, named: _Named, session: Session, rules: WalkRules) -> CollectBundle:
        if named.revision is None:
            found = archive(named.file, rules, self.bounds)
            return CollectBundle(found.root, found.key, found.documents)
        place = place_of(named.file)
        for store in place.stores:
            self.roots.resolve(store, session)
        found = revision(place, named.revision, rules, self.bounds)
        is_one = place.name is not None and ".." not in named.revision
        return CollectBundle(found.root, found.key, found.documents, place.name if is_one else None)

    async def _paper(self, file: str, rules: WalkRules) -> CollectBundle:
        name = os.path.basename(file)
        if refusal := Sorting(file, rules, self.bounds).refusal(name):
            raise OutsideRoots(f"{file} counts as {refusal.reason}", "privacy.exclude says which files do.")
        state = await _in_thread(partial(os.stat, file))
        call = partial(self.reading.call, "rlmd.ingest.paper:text_of", timeout_s=PAPER_S)
        try:
            text = cast("bytes", await call(file, self.bounds.max_file_bytes))
        except OffloadError as failed:
            raise BadArgument(
                f"{file} cannot be read: {failed}", "It may be damaged, or too large."
            ) from failed
        documents = partial(iter, (Document(name, text, "utf-8"),))
        return CollectBundle(os.path.dirname(file), f"{name}:{state_key(state)}", documents, name)


async def _in_thread(work: Callable[[], T]) -> T:
    return await trio.to_thread.run_sync(work, abandon_on_cancel=True)
