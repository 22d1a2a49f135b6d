"""A writer that is killed at any moment loses nothing that it acknowledged.

Run as a program this file is the victim: 64 tasks store through a supervised writer, and note each
acknowledgement in a file opened O_APPEND, which a kill cannot undo.
"""

import itertools
import os
import random
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import apsw
import pytest
import trio

from rlmd.memory.anchor import Anchor
from rlmd.memory.entry import Store
from rlmd.memory.writer import RESTART, memory_writer
from rlmd.store import integrity
from rlmd.supervision import open_supervisor

WRITERS = 64
HOT_KEYS = 8


def anchor_for(name):
    return Anchor(f"src/{name}.py", 1, 1, name, name.encode(), (), (), "")


async def store_for_ever(path, acknowledged, life):
    descriptor = os.open(acknowledged, os.O_APPEND | os.O_CREAT | os.O_WRONLY)
    numbers = itertools.count()

    async def write(mailbox, writer):
        for number in numbers:
            name = f"{life}.{number}"
            hot = number % 3 == 0
            stored = await mailbox.ask(
                Store(
                    key=f"hot{number % HOT_KEYS}" if hot else name,
                    value=f"{name} {'payload ' * (number % 40)}",
                    project="p",
                    tags=("t", f"life{life}"),
                    request_id=name,
                    anchors=(anchor_for(name),) if number % 4 == 1 else (),
                )
            )
            os.write(descriptor, f"{name} {stored.key} {stored.version}\n".encode())

    async with open_supervisor(grace=1) as supervisor, trio.open_nursery() as nursery:
        actor = partial(memory_writer, path)
        mailbox = await supervisor.start_batch("memory_writer", actor, restart=RESTART)
        for writer in range(WRITERS):
            nursery.start_soon(write, mailbox, writer)


def kill_one(path, acknowledged, life, delay_s):
    """Let a victim store until *delay_s* after its first acknowledgement, then kill it."""
    before = acknowledged.stat().st_size if acknowledged.exists() else 0
    command = [sys.executable, __file__, str(path), str(acknowledged), str(life)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, env=environment) as victim:
        try:
            deadline = time.monotonic() + 20
            while not acknowledged.exists() or acknowledged.stat().st_size == before:
                assert victim.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.005)
            time.sleep(delay_s)
        finally:
            victim.send_signal(signal.SIGKILL)
    assert victim.returncode == -signal.SIGKILL


def require_nothing_lost(path, acknowledged):
    """Compare the file with the acknowledgements; return how many there were."""
    db = apsw.Connection(str(path))
    try:
        assert integrity(str(path)) == ()
        db.execute("INSERT INTO memory_fts(memory_fts, rank) VALUES ('integrity-check', 1)")
        values = {
            (key, rev): value
            for key, rev, value in db.execute(
                "SELECT key, rev, value FROM memory UNION ALL "
                "SELECT key, r.rev, r.value FROM memory_rev r JOIN memory m ON m.id = r.memory_id"
            )
        }
        live, tags = (
            db.execute("SELECT count(*) FROM memory").get,
            db.execute("SELECT count(*) FROM memory_tag").get,
        )
        anchored = set(db.execute("SELECT path, span FROM anchor").fetchall())
    finally:
        db.close()
    lines = acknowledged.read_text().splitlines()
    lost = []
    for line in lines:
        name, key, version = line.split()
        if not values.get((key, int(version)), "").startswith(f"{name} "):
            lost.append(line)
        number = int(name.partition(".")[2])
        if number % 4 == 1 and (f"src/{name}.py", name) not in anchored:
            lost.append(f"anchor of {line}")
    assert lost == []
    assert tags == 2 * live
    return len(lines)


def kill_repeatedly(tmp_path, kills, seed):
    path, acknowledged = tmp_path / "memory.db", tmp_path / "acknowledged"
    delays = random.Random(seed)
    counts = []
    for life in range(kills):
        kill_one(path, acknowledged, life, delays.uniform(0, 0.25))
        counts.append(require_nothing_lost(path, acknowledged))
    assert counts == sorted(set(counts))


def test_nothing_acknowledged_is_lost_to_kill_9(tmp_path):
    kill_repeatedly(tmp_path, kills=3, seed=9)


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_to_kill_9_time_and_again(tmp_path):
    """As often as RLMD_KILLS says; `make kills` makes it 200."""
    kill_repeatedly(tmp_path, kills=int(os.environ.get("RLMD_KILLS", "20")), seed=time.time_ns())


def test_a_loss_would_be_noticed(tmp_path):
    path, acknowledged = tmp_path / "memory.db", Path(tmp_path / "acknowledged")
    kill_one(path, acknowledged, 0, 0.02)
    with apsw.Connection(str(path)) as db:
        db.execute("DELETE FROM anchor WHERE path = 'src/0.1.py'; DELETE FROM memory WHERE key = '0.1'")
    db.close()

    with pytest.raises(AssertionError, match=r"0\.1 0\.1 1"):
        require_nothing_lost(path, acknowledged)


if __name__ == "__main__":
    trio.run(store_for_ever, *sys.argv[1:])
