"""Which files of a tree are as they were read, and which are to be read: by their stamps alone.

Plain synchronous code; `collect` runs it in threads, one call at a time.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence

from rlmd.corpus.known import Known
from rlmd.corpus.snapshot import Tree
from rlmd.corpus.watch import Changes
from rlmd.values import FileRef, FileStat, Skip

NO_STAT = FileStat(0, 0, 0, 0, 0)
_HELD, _DOUBTED, _GONE = b"\1\0\2"


class Comparison:
    """Holds what is known of *source* against the files that are found.

    `changed` are to be read, with what they look like; `refused` are no texts, as they were before;
    `linked` are those that have further names.
    """

    def __init__(self, source: Tree, known: Known | None) -> None:
        self.changed: list[tuple[FileRef, FileStat]] = []
        self.refused: dict[str, tuple[FileStat, Skip]] = {}
        self.linked: dict[str, tuple[int, ...]] = {}
        self._source, self._known = source, known
        self._paths: Sequence[str] = known.snapshot.files.paths if known is not None else ()
        self._rows: dict[str, int] = {}
        self._rows_held = bytearray(len(self._paths))
        self._dirty: set[str] | None = None

    def expect_all(self) -> None:
        """Make ready for all files of the tree; what is not found is gone."""
        self._rows = dict(zip(self._paths, range(len(self._paths)), strict=True))

    def expect(self, changes: Changes, restless: set[str], linked: dict[str, tuple[int, ...]]) -> None:
        """Make ready for the files that *changes* are about; all others are as they were.

        *restless* files belong, though they could not be read; *linked* are those of before.
        """
        rows, held = self._paths, self._rows_held
        held[:] = bytes([_HELD]) * len(rows)
        for row in rows_in(rows, changes.directories):
            held[row] = _DOUBTED
        for row in rows_below(rows, changes.gone):
            held[row] = _GONE
        self._dirty = changes.files
        before = self._known.refused if self._known is not None else {}
        self.refused = {path: each for path, each in before.items() if not self._is_about(path, changes)}
        self.linked = {path: each for path, each in linked.items() if not self._is_about(path, changes)}
        for path in changes.files:
            known = self._row(path)
            belongs = known is not None or path in before or path in restless
            if belongs and not self._is_listed(path, changes):
                if known is not None:
                    held[known] = _DOUBTED
                self._look(FileRef(path, os.path.join(self._source.root, path)))

    def compare(self, batch: Iterable[FileRef]) -> None:
        """Look at each file of *batch*, unless nothing can have happened to it."""
        for ref in batch:
            row = self._row(self._name(ref.path))
            if self._dirty is None or ref.path in self._dirty:
                self._look(ref)
            elif row is not None and self._rows_held[row] == _DOUBTED:
                self._rows_held[row] = _HELD
            elif row is not None and self._rows_held[row] == _HELD:
                continue
            else:
                self._look(ref)

    def gone(self) -> list[int]:
        """Return the known rows that are not held, in order."""
        held = self._rows_held
        return (
            [row for row in range(len(held)) if held[row] != _HELD] if held.count(_HELD) < len(held) else []
        )

    def _look(self, ref: FileRef) -> None:
        try:
            stat = os.stat(ref.absolute)
        except OSError:
            self.changed.append((ref, NO_STAT))  # the reader finds out why and says so
            return
        identity = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        if stat.st_nlink > 1:
            self.linked[ref.path] = identity
        row = self._row(self._name(ref.path))
        if row is not None and self._known is not None and self._known.stamps.hold(row, stat):
            self._rows_held[row] = _HELD
            return
        before = self._known.refused.get(ref.path) if self._known is not None else None
        if before is not None and before[0] == FileStat(*identity):
            self.refused[ref.path] = before
        else:
            self.changed.append((ref, FileStat(*identity)))

    def _row(self, path: str) -> int | None:
        if self._dirty is None:
            return self._rows.get(path)
        at = bisect_left(self._paths, path)
        return at if at < len(self._paths) and self._paths[at] == path else None

    def _name(self, path: str) -> str:
        return path if self._source.alias is None else self._source.alias

    def _is_listed(self, path: str, changes: Changes) -> bool:
        return path[: path.rfind("/") + 1] in changes.directories or any(map(path.startswith, changes.gone))

    def _is_about(self, path: str, changes: Changes) -> bool:
        return path in changes.files or self._is_listed(path, changes)


def rows_below(paths: Sequence[str], prefixes: Iterable[str]) -> Iterator[int]:
    """Yield the places in the sorted *paths* of those that begin with one of *prefixes*."""
    for prefix in prefixes:
        at = bisect_left(paths, prefix)
        while at < len(paths) and paths[at].startswith(prefix):
            yield at
            at += 1


def rows_in(paths: Sequence[str], directories: Iterable[str]) -> Iterator[int]:
    """Yield the places in the sorted *paths* of those that lie in one of *directories* itself."""
    for directory in directories:
        at = bisect_left(paths, directory)
        while at < len(paths) and paths[at].startswith(directory):
            slash = paths[at].find("/", len(directory))
            if slash < 0:
                yield at
                at += 1
            else:  # past all that lies in the directory below
                at = bisect_left(paths, paths[at][:slash] + "0", at)
