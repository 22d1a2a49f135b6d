from __future__ import annotations

from pathlib import Path
from threading import Event

import pytest
import trio

from rlmd.ingest import walker as walker_module
from rlmd.ingest.walker import walker
from rlmd.requests import Walk
from rlmd.values import FileRef, SkipTally, WalkRules

pytestmark = pytest.mark.real_io


def request(root: Path, capacity: int = 1) -> tuple[Walk, trio.MemoryReceiveChannel[list[FileRef]]]:
    send, receive = trio.open_memory_channel[list[FileRef]](capacity)
    return Walk(str(root), (), WalkRules(), send), receive


async def test_batches_stream_out_and_the_tally_comes_back(tmp_path):
    for number in range(700):
        (tmp_path / f"{number:03}").touch()
    (tmp_path / ".git").mkdir()
    asked, batches = request(tmp_path)
    paths: list[str] = []

    async def drain() -> None:
        async for batch in batches:
            assert batch
            paths.extend(file.path for file in batch)

    with trio.fail_after(5):
        async with walker(threads=1)() as find, trio.open_nursery() as nursery:
            nursery.start_soon(drain)
            tally = await find(asked)

    assert paths == [f"{number:03}" for number in range(700)]
    assert (tally.files, tally.dirs) == (0, 1)


async def test_a_walk_ends_quietly_when_nobody_wants_the_rest(tmp_path):
    (tmp_path / "a").touch()
    asked, batches = request(tmp_path)
    batches.close()

    with trio.fail_after(5):
        async with walker(threads=1)() as find:
            assert await find(asked) == SkipTally()


async def test_cancelling_leaves_a_hung_step_behind_and_closes_the_stream(tmp_path, monkeypatch):
    hold = Event()

    def hung(*_: object):
        hold.wait(5)
        yield []

    monkeypatch.setattr(walker_module, "walk", hung)
    asked, batches = request(tmp_path)

    with trio.fail_after(2):
        async with walker(threads=2)() as find:
            with trio.move_on_after(0.01):
                await find(asked)
        with pytest.raises(trio.EndOfChannel):
            await batches.receive()
    hold.set()
