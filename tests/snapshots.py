"""Snapshots of texts that a test names, without walking or reading."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from rlmd.corpus.pack import Pack
from rlmd.corpus.snapshot import Entry, Files, Snapshot, Text, take
from rlmd.values import SkipTally


def snapshot_of(place: Path, texts: Mapping[str, str]) -> Snapshot:
    """Return the snapshot of *texts* by path, their bytes in a pack below *place*."""
    pack = Pack(str(place / f"pack-{len(list(place.iterdir()))}"))
    entries = []
    for path, text in texts.items():
        data = text.encode()
        sha256 = hashlib.sha256(data).hexdigest()
        entries.append(Entry(path, sha256, pack.add(sha256, data), len(data) // 4, "utf-8"))
    return take(Text("text", ""), Files(entries), SkipTally(), encoding="o200k_base", pack=pack)
