"""Trees that were built, or go wrong, to stall a daemon or lead it astray."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from threading import Event

import pytest
import trio

from rlmd.errors import Busy
from rlmd.ingest import reading
from rlmd.ingest.readers import reader_pool
from rlmd.ingest.walk import walk
from rlmd.requests import Read
from rlmd.values import FileRef, ReadFile, Skip, SkipTally, WalkRules
from unit.ingest.sinks import MemorySink

GIB = 1 << 30


def survey(root: Path) -> tuple[list[str], dict[str, tuple[str, bool]]]:
    """Walk *root*: the files that belong, and why and as what the others do not."""
    tally = SkipTally()
    files = [file.path for batch in walk(str(root), (), WalkRules(), tally) for file in batch]
    return files, {skip.path: (skip.reason, skip.is_dir) for skip in tally.examples}


async def read(root: Path, *names: str, **limits) -> list[ReadFile | Skip]:
    settings = {"max_file_bytes": GIB, "read_timeout_s": 5, "open_files": 4} | limits
    files = [FileRef(name, f"{root}/{name}") for name in names]
    with trio.fail_after(10):
        async with reader_pool(**settings)() as handle:
            return await handle(Read(files, MemorySink()))


def reasons(outcomes: list[ReadFile | Skip]) -> list[str]:
    return [outcome.reason if isinstance(outcome, Skip) else "read" for outcome in outcomes]


def test_what_is_no_file_is_named_special(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))

        assert survey(tmp_path) == ([], {"fifo": ("special", False), "socket": ("special", False)})


def test_a_device_is_named_special(tmp_path):
    try:
        os.mknod(tmp_path / "zero", 0o20666, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("only root may make device nodes")

    assert survey(tmp_path) == ([], {"zero": ("special", False)})


def test_links_are_named_for_where_they_lead(tmp_path):
    root = tmp_path / "root"
    (root / "d").mkdir(parents=True)
    (root / "f").touch()
    for link, target in {
        "in-file": "f", "in-dir": "d", "d/up": "..", "self": "self", "dead": "gone",
        "out": str(tmp_path), "out-dead": "/no/such", "passwd": "/etc/passwd",
    }.items():  # fmt: skip
        (root / link).symlink_to(target)
    tally = SkipTally()

    files = [file.path for batch in walk(str(root), (), WalkRules(), tally) for file in batch]

    assert files == ["f"]
    assert tally.by_reason == {"loop": 4, "vanished": 1, "symlink_outside": 3}


def test_a_name_that_is_not_utf8_is_counted_and_shown_printably(tmp_path):
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")).touch()
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/d\xff")).mkdir()

    assert survey(tmp_path) == ([], {r"caf\xe9": ("unreadable", False), r"d\xff": ("unreadable", True)})


@pytest.mark.parametrize("levels", [2_500, pytest.param(10_000, marks=pytest.mark.slow)])
def test_a_tree_deeper_than_any_path_ends_where_paths_end(tmp_path, levels):
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    (tmp_path / "last").touch()

    try:
        files, skipped = survey(tmp_path)
    finally:
        subprocess.run(["rm", "-rf", tmp_path / "d"], check=True)

    assert files == ["last"]
    assert list(skipped.values()) == [("unreadable", True)]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_directory_nobody_may_open_is_unreadable(tmp_path):
    (tmp_path / "closed").mkdir(mode=0)

    assert survey(tmp_path) == ([], {"closed": ("unreadable", True)})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
async def test_a_file_nobody_may_open_is_unreadable(tmp_path):
    (tmp_path / "closed").touch(mode=0)

    assert reasons(await read(tmp_path, "closed")) == ["unreadable"]


def test_a_directory_swapped_for_a_link_during_the_walk_leads_nowhere(tmp_path):
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "d/e").mkdir(parents=True)
    (outside / "e").mkdir(parents=True)
    (outside / "e/secret").touch()
    for number in range(300):
        (root / f"{number}").touch()
    tally = SkipTally()
    steps = walk(str(root), (), WalkRules(), tally)
    next(steps)

    (root / "d").rename(tmp_path / "was")
    (root / "d").symlink_to(outside)
    rest = [file.path for batch in steps for file in batch]

    assert all("secret" not in path for path in rest)
    assert tally.by_reason == {"vanished": 1}


def test_a_directory_whose_parent_is_swapped_during_the_walk_leads_nowhere(tmp_path):
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "d/e").mkdir(parents=True)
    (outside / "e").mkdir(parents=True)
    (outside / "e/secret").touch()
    for number in range(300):
        (root / f"d/{number}").touch()
    tally = SkipTally()
    steps = walk(str(root), (), WalkRules(), tally)
    while not next(steps):
        pass

    (root / "d").rename(tmp_path / "was")
    (root / "d").symlink_to(outside)
    rest = [file.path for batch in steps for file in batch]

    assert all("secret" not in path for path in rest)
    assert tally.by_reason == {"symlink_outside": 1}


def test_a_directory_met_under_two_paths_is_entered_once(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/f").touch()
    (tmp_path / "b").mkdir()
    mount = shutil.which("mount")
    if not mount or subprocess.run([mount, "--bind", tmp_path / "a", tmp_path / "b"], check=False).returncode:
        pytest.skip("only root may bind a directory to a second place")

    try:
        assert survey(tmp_path) == (["a/f"], {"b": ("loop", True)})
    finally:
        subprocess.run(["umount", tmp_path / "b"], check=True)


async def test_a_parent_swapped_for_a_link_before_the_read_leads_nowhere(tmp_path):
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (outside / "f").write_text("secret")
    (root / "d").symlink_to(outside)
    (root / "l").symlink_to(outside / "f")

    assert reasons(await read(root, "d/f", "l")) == ["vanished", "symlink_outside"]


async def test_a_component_further_up_swapped_for_a_link_leads_nowhere(tmp_path):
    root, outside = tmp_path / "root", tmp_path / "outside"
    (outside / "e").mkdir(parents=True)
    root.mkdir()
    (outside / "e/f").write_text("secret")
    (root / "d").symlink_to(outside)

    assert reasons(await read(root, "d/e/f")) == ["symlink_outside"]


async def test_what_was_swapped_for_something_else_is_skipped_and_delays_nobody(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "d").mkdir()
    (tmp_path / "f").touch()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))

        outcomes = await read(tmp_path, "fifo", "d", "gone", "s", "f/x", "f")

    assert reasons(outcomes) == ["special", "vanished", "vanished", "special", "vanished", "read"]


async def test_a_sparse_file_of_five_gigabytes_is_too_large_at_once(tmp_path):
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(5 * GIB)
    began = time.monotonic()

    assert reasons(await read(tmp_path, "huge")) == ["too_large"]
    assert time.monotonic() - began < 1


async def test_a_file_that_keeps_changing_has_vanished(tmp_path, monkeypatch):
    path = tmp_path / "log"
    path.write_text("a")

    def read_while_it_grows(descriptor: int, size: int) -> bytes:
        with path.open("ab") as file:
            file.write(b"more")
        return os.pread(descriptor, size, 0)

    monkeypatch.setattr(reading.os, "read", read_while_it_grows)

    assert reasons(await read(tmp_path, "log")) == ["vanished"]


async def test_a_big_file_that_shrinks_while_it_streams_has_vanished(tmp_path, monkeypatch):
    path = tmp_path / "log"
    path.write_bytes(b"a" * (3 << 20))
    original = os.read

    def read_then_cut(descriptor: int, size: int) -> bytes:
        piece = original(descriptor, size)
        os.truncate(path, path.stat().st_size - 1)
        return piece

    monkeypatch.setattr(reading.os, "read", read_then_cut)

    assert reasons(await read(tmp_path, "log", stream_over_bytes=1 << 20)) == ["vanished"]


async def test_a_read_that_hangs_loses_its_own_file_only(tmp_path, monkeypatch, events):
    for name in ("a", "hung", "b", "c"):
        (tmp_path / name).write_text(name)
    release = hang_on(monkeypatch, "hung")

    outcomes = await read(tmp_path, "a", "hung", "b", "c", read_timeout_s=0.1)

    release.set()
    assert reasons(outcomes) == ["read", "unreadable", "read", "read"]
    assert [event["hanging"] for event in events if event["event"] == "read.abandoned"] == [0]


async def test_when_every_thread_hangs_the_next_reads_are_refused(tmp_path, monkeypatch):
    for name in ("hung1", "hung2", "hung3", "a"):
        (tmp_path / name).write_text(name)
    release = hang_on(monkeypatch, "hung")

    with pytest.raises(Busy, match="2 reads hang"):
        await read(tmp_path, "hung1", "hung2", "hung3", "a", read_timeout_s=0.05, open_files=2)

    release.set()


async def test_cancelling_does_not_wait_for_a_hung_read(tmp_path, monkeypatch):
    (tmp_path / "hung").touch()
    release = hang_on(monkeypatch, "hung")

    with trio.move_on_after(0.05) as scope:
        await read(tmp_path, "hung")
    late_s = trio.current_time() - scope.deadline

    release.set()
    assert scope.cancelled_caught
    assert late_s < 0.1


def hang_on(monkeypatch: pytest.MonkeyPatch, prefix: str) -> Event:
    """Let opening a file named *prefix*… hang, as on a dead mount, until the event returned is set."""
    release = Event()
    original = os.open

    def open_or_hang(path, flags, mode=0o777, *, dir_fd=None):
        if Path(os.fsdecode(path)).name.startswith(prefix):
            release.wait(10)
        return original(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(reading.os, "open", open_or_hang)
    return release
