"""Keeps a watch over one tree from one collection of it to the next."""

from __future__ import annotations

import trio

from rlmd.corpus.news import News
from rlmd.corpus.snapshot import Source, Tree
from rlmd.corpus.watch import Budget, Changes, Watch, begin

DEBOUNCE_S = 0.05
AGAIN_S = 300.0
"""So long after a tree could not be watched it is tried again."""


class Follower:
    """The watch over *source*, if it can have one; tells *news* what changes while it has.

    `unwatched` says why there is none.
    """

    def __init__(self, source: Source, budget: Budget, news: News, tasks: trio.Nursery) -> None:
        self._source, self._budget, self._news, self._tasks = source, budget, news, tasks
        self._watch: Watch | None = None
        self._listening = trio.CancelScope()
        self._not_before = -AGAIN_S
        self.unwatched = "it was not collected yet"

    @property
    def is_watching(self) -> bool:
        """Whether the kernel tells of every change."""
        return self._watch is not None

    @property
    def is_quiet(self) -> bool:
        """Whether nothing has changed since the last collection, as far as the kernel has told until now."""
        if self._watch is None:
            return False
        self._hear(self._watch)
        return self._watch.is_quiet

    async def changes(self) -> tuple[Watch, Changes] | None:
        """Return what has changed since the last time; None where all is to be looked at."""
        if (watch := self._watch) is None:
            return None
        changes = await trio.to_thread.run_sync(watch.take)
        self._hear(watch)
        return None if changes.everything else (watch, changes)

    async def begin(self) -> Watch | None:
        """Return a new watch to go along with a walk of the whole, None where there can be none."""
        self.stop(self.unwatched)
        if not isinstance(self._source, Tree) or self._source.targets or self._source.alias:
            self.unwatched = "only a part of it was asked for"
            return None
        if trio.current_time() < self._not_before + AGAIN_S:
            return None
        begun = await trio.to_thread.run_sync(begin, self._source.root, self._budget)
        if isinstance(begun, str):
            self._refuse(begun)
            return None
        return begun

    def follow(self, watch: Watch) -> None:
        """Go on with *watch*, through which a whole walk has gone."""
        if watch.failure is not None:
            watch.close()
            self._refuse(watch.failure)
        elif watch is not self._watch:
            self._watch, self._listening = watch, trio.CancelScope()
            self._tasks.start_soon(self._listen, watch, self._listening)

    def stop(self, why: str) -> None:
        """Watch no more."""
        self.unwatched = why
        if self._watch is not None:
            self._listening.cancel()  # before the file goes: the wait for it ends at once
            self._watch.close()
            self._watch = None

    def _refuse(self, why: str) -> None:
        self.unwatched, self._not_before = why, trio.current_time()

    async def _listen(self, watch: Watch, scope: trio.CancelScope) -> None:
        """Empty the kernel's queue before it is full, and tell what was in it."""
        with scope:
            while True:
                await trio.lowlevel.wait_readable(watch.fd)
                await trio.sleep(DEBOUNCE_S)
                while watch.drain():
                    await trio.lowlevel.checkpoint()
                self._hear(watch)

    def _hear(self, watch: Watch) -> None:
        """Tell the news of what was drained, by whomever."""
        watch.drain()
        self._news.tell(watch.root, watch.untold())
