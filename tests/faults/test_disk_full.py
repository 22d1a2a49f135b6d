"""A disk that refuses costs the write, never what was stored, and is forgiven once it obeys again."""

import os
import subprocess
from dataclasses import replace

import apsw
import pytest
import trio
import trio.testing

from rlmd.errors import Busy
from rlmd.memory.ask import Recall
from rlmd.memory.entry import Store, Stored
from rlmd.memory.recall import open_recaller
from rlmd.memory.writer import memory_writer
from rlmd.store import integrity

NOTE = Store(key="k", value="v", project="p")


class FlakyDisk(apsw.VFS):
    """The system's files, of which *failing* operations raise once *obeys* more have passed."""

    def __init__(self):
        self.obeys = float("inf")
        self.fault = apsw.FullError
        self.failing = "xWrite"
        super().__init__("flaky", "unix", makedefault=True)

    def xOpen(self, name, flags):  # noqa: N802  SQLite's own name
        return FlakyFile(self, name, flags)

    def meet(self, operation):
        if operation == self.failing:
            self.obeys -= 1
            if self.obeys < 0:
                raise self.fault("as the test wants it")


class FlakyFile(apsw.VFSFile):
    def __init__(self, disk, name, flags):
        self._disk = disk
        super().__init__("unix", name, flags)

    def xWrite(self, data, offset):  # noqa: N802  SQLite's own name
        self._disk.meet("xWrite")
        super().xWrite(data, offset)

    def xSync(self, flags):  # noqa: N802  SQLite's own name
        self._disk.meet("xSync")
        super().xSync(flags)


@pytest.fixture
def disk():
    disk = FlakyDisk()
    yield disk
    disk.unregister()


def stored_values(path):
    db = apsw.Connection(str(path))
    try:
        db.execute("INSERT INTO memory_fts(memory_fts, rank) VALUES ('integrity-check', 1)")
        assert integrity(str(path)) == ()
        return dict(db.execute("SELECT key, value FROM memory").fetchall())
    finally:
        db.close()


@pytest.mark.parametrize(
    ("failing", "fault", "says"),
    [
        ("xWrite", apsw.FullError, "is full; this was not stored. Nothing stored before is lost."),
        ("xWrite", apsw.IOError, "fails"),
        ("xSync", apsw.IOError, "fails"),
        ("xWrite", apsw.ReadOnlyError, "read-only"),
    ],
)
async def test_a_write_that_fails_anywhere_loses_nothing_acknowledged(tmp_path, disk, failing, fault, says):
    """Fail from the n-th operation on, for every n until a whole batch passes."""
    path = tmp_path / "memory.db"
    disk.failing, disk.fault = failing, fault
    acknowledged, cuts = {}, 0
    with trio.fail_after(30):
        async with memory_writer(str(path)) as write:
            refused = True
            while refused:
                batch = [replace(NOTE, key=f"{cuts}.{number}", value="x" * 5_000) for number in range(3)]
                disk.obeys = cuts
                outcomes = await write(batch)
                disk.obeys = float("inf")
                refused = isinstance(outcomes[0], Busy)
                if refused:
                    assert [type(outcome) for outcome in outcomes] == [Busy] * 3
                    assert str(tmp_path) in outcomes[0].message
                    assert says in outcomes[0].message
                again = await write(batch)
                assert all(isinstance(outcome, Stored) for outcome in again)
                acknowledged |= {note.key: note.value for note in batch}
                cuts += 1

    assert cuts > 1
    assert stored_values(path) == acknowledged


async def test_a_disk_that_stays_full_refuses_again_and_again_while_recall_goes_on(tmp_path, disk):
    path = tmp_path / "memory.db"
    with trio.fail_after(10):
        async with memory_writer(str(path)) as write, open_recaller(str(path), readers=1) as recaller:
            await write([NOTE])
            disk.obeys = 0
            for _ in range(5):
                (refused,) = await write([replace(NOTE, value="lost")])
                assert (type(refused), refused.retryable) == (Busy, True)
                (item,) = (await recaller.recall(Recall(project="p", key="k"))).items
                assert (item.value, item.version) == ("v", 1)
            disk.obeys = float("inf")

            (stored,) = await write([replace(NOTE, value="w")])

    assert stored.version == 2
    assert stored_values(path) == {"k": "w"}


async def test_a_checkpoint_that_fails_loses_nothing(tmp_path, disk, monkeypatch):
    monkeypatch.setattr("rlmd.memory.writer._CHECKPOINT_PAGES", 0)
    path = tmp_path / "memory.db"
    acknowledged = {}
    with trio.fail_after(30):
        async with memory_writer(str(path)) as write:
            for cut in range(12):
                note = replace(NOTE, key=f"k{cut}", value="x" * 20_000)
                disk.obeys = 14 + cut
                while isinstance((await write([note]))[0], Busy):
                    disk.obeys = float("inf")
                acknowledged[note.key] = note.value
                await trio.testing.wait_all_tasks_blocked(0.01)

    assert stored_values(path) == acknowledged


@pytest.fixture
def small_disk(tmp_path):
    """Mount 2 MiB of memory as a disk, where we may."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    try:
        mounted = os.getuid() == 0 and subprocess.run(mount, check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("needs the right to mount")
    yield place
    subprocess.run(["umount", str(place)], check=True)


async def test_a_disk_that_is_really_full_refuses_and_takes_writes_again_once_it_is_not(small_disk):
    path = small_disk / "memory.db"
    (small_disk / "ballast").write_bytes(b"x" * 800_000)
    acknowledged = {}
    with trio.fail_after(20):
        async with memory_writer(str(path)) as write:
            outcome = None
            while not isinstance(outcome, Busy):
                note = replace(NOTE, key=f"k{len(acknowledged)}", value=os.urandom(10_000).hex())
                (outcome,) = await write([note])
                if isinstance(outcome, Stored):
                    acknowledged[note.key] = note.value
            assert f"The disk under {small_disk} is full" in outcome.message
            (small_disk / "ballast").unlink()

            (stored,) = await write([note])
            acknowledged[note.key] = note.value

    assert stored.version == 1
    assert len(acknowledged) > 5
    assert stored_values(path) == acknowledged
