"""Who wants to know which files change in the trees that are watched, and hears of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import trio

MOST_PATHS = 10_000


class News:
    """Tells every reader of each change; a slow one hears of many at once, never of too few."""

    def __init__(self) -> None:
        self._readers = set[Reader]()

    def tell(self, root: str, paths: Iterable[str]) -> None:
        """Say that *paths*, relative to *root*, have changed; "" is anything below it."""
        told = set(paths)
        if told:
            for reader in self._readers:
                reader.hear(root, told)

    @contextmanager
    def read(self) -> Iterator[Reader]:
        """Hear of all that is told from now on until the end of the block."""
        reader = Reader()
        self._readers.add(reader)
        try:
            yield reader
        finally:
            self._readers.discard(reader)


class Reader:
    """What one reader has not taken yet."""

    def __init__(self) -> None:
        self._unread: dict[str, set[str]] = {}
        self._something = trio.Event()

    def hear(self, root: str, paths: set[str]) -> None:
        """Add to what is unread."""
        held = self._unread.setdefault(root, set())
        held |= paths
        if "" in held or len(held) > MOST_PATHS:
            self._unread[root] = {""}
        self._something.set()

    async def next(self) -> Mapping[str, set[str]]:
        """Wait for a change; return the paths that changed by their root, "" standing for anything below."""
        await self._something.wait()
        unread, self._unread, self._something = self._unread, {}, trio.Event()
        return unread
