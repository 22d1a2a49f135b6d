"""What a root model is told of the files at first: names, sizes, kinds, a beginning; never the bulk."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator

from rlmd.corpus.snapshot import Snapshot
from rlmd.corpus.text import decode
from rlmd.values import Span

MOST_LISTED = 40
MOST_GROUPS = 20
PREVIEW_CHARS = 600
_PREVIEW_BYTES = 4 * PREVIEW_CHARS


def manifest(snapshot: Snapshot, context: str | None) -> str:
    """Describe *snapshot* in some 4,000 characters at most; *context* is the one text asked about.

    Blocks: reads the beginning of a file.
    """
    return "\n".join(_lines(snapshot, context))


def _lines(snapshot: Snapshot, context: str | None) -> Iterator[str]:
    files = snapshot.files
    if context is not None and (entry := snapshot.entry(context)) is not None:
        yield f"`context` is a text of {entry.size_bytes:,} bytes, some {entry.tokens:,} tokens."
        yield f"It is `files[{context!r}]` too. It begins:"
        yield _preview(snapshot, context)
        return
    yield f"`files` holds {len(files):,} texts: {snapshot.bytes:,} bytes, some {snapshot.tokens:,} tokens."
    if len(files) <= MOST_LISTED:
        yield from (f"  {entry.path!r}: {entry.size_bytes:,} bytes" for entry in files)
    else:
        yield from _groups(snapshot)
    if len(files):
        first = max(files.paths, key=lambda path: (_is_front(path), -path.count("/"), -len(path)))
        yield f"{first!r} begins:"
        yield _preview(snapshot, first)


def _groups(snapshot: Snapshot) -> Iterator[str]:
    kinds: Counter[str] = Counter()
    folders: Counter[str] = Counter()
    for entry in snapshot.files:
        kinds[os.path.splitext(entry.path)[1] or "(none)"] += 1
        folders[entry.path.partition("/")[0] + ("/" if "/" in entry.path else "")] += entry.size_bytes
    yield "By suffix: " + ", ".join(f"{kind} {count:,}" for kind, count in kinds.most_common(MOST_GROUPS))
    yield "By folder, in bytes: " + ", ".join(
        f"{name!r} {size:,}" for name, size in folders.most_common(MOST_GROUPS)
    )
    largest = sorted(snapshot.files, key=lambda entry: (-entry.size_bytes, entry.path))[:5]
    yield "Largest: " + ", ".join(f"{entry.path!r} {entry.size_bytes:,}" for entry in largest)


def _is_front(path: str) -> bool:
    return path.rpartition("/")[2].lower().startswith("readme")


def _preview(snapshot: Snapshot, path: str) -> str:
    entry = snapshot.entry(path)
    assert entry is not None
    data = snapshot.pack.read(Span(entry.span.offset, min(_PREVIEW_BYTES, entry.span.length)))
    text = decode(data, entry.encoding)[:PREVIEW_CHARS]
    return "\n".join(f"    {line}" for line in text.splitlines())
