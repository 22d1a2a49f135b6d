"""What the kernel tells of a tree, turned into looks at parts of it, gives what a look at all would."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corpus_world import World, open_world
from rlmd.corpus.snapshot import Snapshot

NAMES = ["a.py", "b.py", "c.o", ".gitignore", ".ignore", "d", "e", "é"]
DIRECTORIES = ["", "d", "d/e", "e", "e/d"]
PATHS = [f"{directory}/{name}".lstrip("/") for directory in DIRECTORIES for name in NAMES]
CONTENTS = ["", "x = 1\n", "x = 2\n", "\0binary", "*.o\n", "!c.o\n/d\n", "e/\nb.py\n"]
KINDS = [
    "write",
    "append",
    "keep_times",
    "remove",
    "rename",
    "mkdir",
    "link",
    "symlink",
    "chmod",
    "git",
    "repo",
]
EDIT = st.tuples(
    st.sampled_from(KINDS), st.sampled_from(PATHS), st.sampled_from(PATHS), st.sampled_from(CONTENTS)
)


ROUNDS = st.lists(st.lists(EDIT, min_size=1, max_size=6), min_size=1, max_size=4)
Rounds = list[list[tuple[str, str, str, str]]]


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ROUNDS)
async def test_a_watched_tree_is_what_a_cold_collection_finds(rounds: Rounds) -> None:
    await hold_watched_to_cold(rounds)


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ROUNDS)
async def test_many_watched_trees_are_what_cold_collections_find(rounds: Rounds) -> None:
    await hold_watched_to_cold(rounds)


async def hold_watched_to_cold(rounds: Rounds) -> None:
    place = Path(tempfile.mkdtemp())
    tree = place / "tree"
    (tree / "d/e").mkdir(parents=True)
    (tree / ".git").mkdir()
    (tree / "d/a.py").write_text("x = 0\n")
    try:
        with trio.fail_after(60):
            async with open_world(place / "warm") as warm:
                await warm.collect(tree)
                for edits in rounds:
                    for edit in edits:
                        apply(tree, *edit)
                    await compare(warm, tree, place)
    finally:
        shutil.rmtree(place)


async def compare(warm: World, tree: Path, place: Path) -> None:
    watched = await warm.collect(tree)
    async with open_world(place / "cold", watches=0) as cold:
        anew = await cold.collect(tree)
        assert facts(watched) == facts(anew)
    shutil.rmtree(place / "cold")


def facts(snapshot: Snapshot) -> object:
    entries = [
        (entry.path, snapshot.pack.read(entry.span), entry.tokens, entry.encoding) for entry in snapshot.files
    ]
    return snapshot.id, entries, snapshot.skipped, snapshot.bytes, snapshot.tokens


def apply(tree: Path, kind: str, path: str, other: str, content: str) -> None:
    """Do what can be done; what the state of the tree forbids is left."""
    file, target = tree / path, tree / other
    try:
        match kind:
            case "write":
                file.write_bytes(content.encode("latin-1"))
            case "append":
                with file.open("ab") as open_file:
                    open_file.write(content.encode("latin-1"))
            case "keep_times":
                before = file.stat()
                file.write_bytes(content.encode("latin-1"))
                os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
            case "remove":
                shutil.rmtree(file) if file.is_dir() and not file.is_symlink() else file.unlink()
            case "rename":
                file.rename(target)
            case "mkdir":
                file.mkdir(parents=True)
            case "link":
                target.hardlink_to(file)
            case "symlink":
                file.symlink_to(os.path.relpath(target, file.parent))
            case "chmod":
                file.chmod(0o700)
            case "repo":
                toggle(file.parent / ".git")
            case "git":
                (tree / ".git/info").mkdir(exist_ok=True)
                (tree / ".git/info/exclude").write_text(content.replace("\0", ""))
    except OSError:
        pass


def toggle(directory: Path) -> None:
    """Make *directory*, or remove it if it is there."""
    if directory.exists():
        shutil.rmtree(directory)
    else:
        directory.mkdir()
