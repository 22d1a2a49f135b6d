"""A snapshot that was refreshed edit by edit equals one that is taken cold."""

import os
import shutil
import tempfile
from pathlib import Path

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus_world import open_world
from rlmd.corpus.snapshot import Snapshot

PATHS = ["a.py", "b.py", "pkg/c.py", "pkg/d.md", "pkg/deep/e.txt", ".hidden"]
CONTENTS = ["", "x = 1\n", "x = 2\n", "retry delay\n", "\0binary", "caf\xe9"]
EDITS = st.tuples(
    st.sampled_from(["write", "keep_mtime", "remove", "rename"]),
    st.sampled_from(PATHS),
    st.sampled_from(CONTENTS),
)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.lists(EDITS, max_size=4), min_size=1, max_size=4))
async def test_a_refreshed_snapshot_equals_a_cold_one(rounds: list[list[tuple[str, str, str]]]) -> None:
    place = Path(tempfile.mkdtemp())
    tree = place / "tree"
    tree.mkdir()
    try:
        with trio.fail_after(30):
            async with open_world(place / "warm") as warm:
                for edits in rounds:
                    for kind, path, content in edits:
                        edit(tree, kind, path, content)
                    refreshed = await warm.collect(tree)
                warm_contents = contents(refreshed)
            async with open_world(place / "cold") as cold:
                anew = await cold.collect(tree)
                cold_contents = contents(anew)
    finally:
        shutil.rmtree(place)

    assert refreshed.id == anew.id
    assert refreshed.skipped == anew.skipped
    assert (refreshed.bytes, refreshed.tokens) == (anew.bytes, anew.tokens)
    assert [(each.tokens, each.encoding) for each in refreshed.files] == [
        (each.tokens, each.encoding) for each in anew.files
    ]
    assert warm_contents == cold_contents


def contents(snapshot: Snapshot) -> dict[str, bytes]:
    return {entry.path: snapshot.pack.read(entry.span) for entry in snapshot.files}


def edit(tree: Path, kind: str, path: str, content: str) -> None:
    file = tree / path
    file.parent.mkdir(parents=True, exist_ok=True)
    match kind:
        case "remove":
            file.unlink(missing_ok=True)
        case "rename" if file.exists():
            file.rename(tree / "renamed.py")
        case "keep_mtime" if file.exists():
            before = file.stat()
            file.write_bytes(content.encode("latin-1"))
            os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        case _:
            file.write_bytes(content.encode("latin-1"))
