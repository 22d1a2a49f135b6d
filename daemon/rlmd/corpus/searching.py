"""The word indexes of all corpora: which tree is searched in which, and what is indexed behind the answers.

The trees of one repository share an index, since their contents are mostly the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import structlog
import trio

from rlmd.corpus.build import Builder
from rlmd.corpus.foremost import Wish
from rlmd.corpus.index import stemmer
from rlmd.corpus.lineage import lineage_of
from rlmd.corpus.naming import Naming
from rlmd.corpus.pasts import Pasts
from rlmd.corpus.path_words import PathWords
from rlmd.corpus.roles import WEIGHTS
from rlmd.corpus.search import Ranked, Searched, search
from rlmd.corpus.snapshot import Bundle, Snapshot, Source, Text, Tree
from rlmd.corpus.words import beginnings, wanted
from rlmd.errors import Busy
from rlmd.offload import Offload, OffloadError
from rlmd.values import Kind, Report

PAST_S = 1.0
"""An answer waits so long for past commits that are still being read; they vote in the next one."""
FAMILIES = 32
"""Indexes that lie in the cache; those opened least lately go when the next daemon starts."""
_TEXT = "text-"
log = structlog.get_logger(__name__)


@dataclass
class _Asked:
    """A source that was asked about: the name of its index, the words of its paths, what completes it."""

    family: str
    path_words: tuple[tuple[str, ...], PathWords] | None = None
    completing: trio.CancelScope | None = field(default=None)


class Searching:
    """Owns *directory*, with an index for each repository, written by *offloads* in shards.

    Indexes are completed, and past commits read, in tasks of *nursery*.  `names` answers what is asked
    of contents themselves.
    """

    def __init__(
        self,
        directory: Path,
        offloads: Sequence[Offload],
        threads: trio.CapacityLimiter,
        nursery: trio.Nursery,
    ) -> None:
        self._directory, self._offloads = directory, offloads
        self._threads, self._nursery = threads, nursery
        self._stem = stemmer()
        self._asked: dict[Source, _Asked] = {}
        self._builders: dict[str, Builder] = {}
        self.names = Naming(offloads[-1])
        self._pasts = Pasts(directory / "past", offloads[-1], threads, nursery)

    async def tidy(self) -> None:
        """Remove what earlier daemons indexed and nobody asked about for long."""
        await trio.to_thread.run_sync(_tidy, self._directory, limiter=self._threads)

    async def search(
        self,
        snapshot: Snapshot,
        question: str,
        kind: Kind,
        limit: int,
        report: Report,
        deadline_s: float | None,
    ) -> Ranked:
        """Find at least *limit* passages of *snapshot* that answer *question*, best first.

        Indexes first what is not indexed yet, for *deadline_s* seconds at most and a batch; what is
        not done by then is named in the answer, and done behind it.
        """
        source = snapshot.source
        asked = self._asked.get(source) or await self._meet(source)
        builder = self._builders[asked.family]
        builder.is_whole = sum(other.family == asked.family for other in self._asked.values()) == 1
        path_words = await self._path_words(asked, snapshot)
        share = path_words.weigh(wanted(question, self._stem))
        wish = Wish(beginnings(question, self._stem), share, WEIGHTS[kind])

        async def rank() -> Ranked:
            searchers, plan = await builder.ready(snapshot, wish, report, deadline_s)
            past = None
            if isinstance(source, Tree) and kind != "docs":
                past = await self._pasts.before(source.root, PAST_S)
            if plan.missing and asked.completing is None:
                asked.completing = trio.CancelScope()
                self._nursery.start_soon(self._complete, asked, builder, snapshot)
            searched = Searched(snapshot, searchers, plan, path_words, past)
            ask = partial(search, searched, self._stem, question, kind, limit)
            return await trio.to_thread.run_sync(ask, limiter=self._threads, abandon_on_cancel=True)

        try:
            return await rank()
        except (OSError, ValueError) as error:  # what tantivy raises when files are not what they were
            log.warning("index.distrusted", family=asked.family, error=str(error))
            await builder.begin()
            return await rank()

    def forget(self, source: Source) -> None:
        """Let go what is in memory for *source*; a text's index goes with it, a tree's stays on disk."""
        asked = self._asked.pop(source, None)
        if asked is None:
            return
        if asked.completing is not None:
            asked.completing.cancel()
        if not any(other.family == asked.family for other in self._asked.values()):
            del self._builders[asked.family]
            if not isinstance(source, Tree):
                self._nursery.start_soon(_remove, self._directory / asked.family)

    async def _meet(self, source: Source) -> _Asked:
        family = await trio.to_thread.run_sync(_family, source, limiter=self._threads)
        if family not in self._builders:
            self._builders[family] = Builder(self._directory / family, self._offloads, self._threads)
        return self._asked.setdefault(source, _Asked(family))

    async def _path_words(self, asked: _Asked, snapshot: Snapshot) -> PathWords:
        paths = snapshot.files.paths
        if asked.path_words is None or asked.path_words[0] != paths:
            words = await trio.to_thread.run_sync(
                PathWords, paths, self._stem, limiter=self._threads, abandon_on_cancel=True
            )
            asked.path_words = (paths, words)
        return asked.path_words[1]

    async def _complete(self, asked: _Asked, builder: Builder, snapshot: Snapshot) -> None:
        try:
            with asked.completing or trio.CancelScope():
                await builder.complete(snapshot)
        except (Busy, OSError, ValueError, OffloadError) as error:  # the next question will tell of it
            log.warning("index.not_completed", error=str(error))
        finally:
            asked.completing = None


def _family(source: Source) -> str:
    """Return the name of the index that *source* is searched in."""
    if isinstance(source, Text):
        return f"{_TEXT}{source.sha256[:24]}"
    if isinstance(source, Bundle):
        named = f"{source.root}\0{source.key}".encode("utf-8", "surrogateescape")
        return f"{_TEXT}{hashlib.sha256(named).hexdigest()[:24]}"
    lineage = lineage_of(source.root)
    place = source.root if lineage is None else lineage.common
    return hashlib.sha256(place.encode("utf-8", "surrogateescape")).hexdigest()[:24]


def _tidy(directory: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        places = [place for place in directory.iterdir() if place.name != "past"]
        texts = [place for place in places if place.name.startswith(_TEXT)]
        trees = sorted(set(places) - set(texts), key=os.path.getmtime, reverse=True)
        for place in texts + trees[FAMILIES:]:
            shutil.rmtree(place, ignore_errors=True)


async def _remove(directory: Path) -> None:
    await trio.to_thread.run_sync(partial(shutil.rmtree, directory, ignore_errors=True))
