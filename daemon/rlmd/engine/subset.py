"""A part of a snapshot, for a run of its own."""

from __future__ import annotations

from collections.abc import Sequence

from rlmd.corpus.snapshot import Files, Snapshot, take
from rlmd.errors import NotFound


def subset(snapshot: Snapshot, paths: Sequence[str]) -> Snapshot:
    """Return the files of *snapshot* that are, or lie below, *paths*; all of them for none.

    Raises NotFound for a path that leads to nothing.  Some microseconds a file: a thread's work.
    """
    wanted = [path.rstrip("/").removeprefix("./") for path in paths]
    if not wanted or any(path in {"", "."} for path in wanted):
        return snapshot
    rows: set[int] = set()
    for path in wanted:
        found = [
            row
            for row, each in enumerate(snapshot.files.paths)
            if each == path or each.startswith(f"{path}/")
        ]
        if not found:
            raise NotFound(f"There is no file {path!r} in this corpus", "Take a path from `files`")
        rows.update(found)
    files = Files(snapshot.files[row] for row in sorted(rows))
    return take(snapshot.source, files, snapshot.skipped, encoding=snapshot.encoding, pack=snapshot.pack)
