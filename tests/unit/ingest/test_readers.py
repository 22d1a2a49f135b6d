from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

import pytest
import trio

from rlmd.ingest import reading
from rlmd.ingest.readers import reader_pool
from rlmd.requests import Read
from rlmd.values import FileRef, ReadFile, Skip, Span, TextEncoding
from unit.ingest.sinks import MemorySink

pytestmark = pytest.mark.real_io
MIB = 1 << 20


def refs(root: Path, *names: str) -> list[FileRef]:
    return [FileRef(name, f"{root}/{name}") for name in names]


async def read(files: list[FileRef], sink: MemorySink, **limits) -> list[ReadFile | Skip]:
    settings = {"max_file_bytes": 100 * MIB, "read_timeout_s": 5, "open_files": 2} | limits
    with trio.fail_after(5):
        async with reader_pool(**settings)() as handle:
            return await handle(Read(files, sink))


async def test_outcomes_come_in_order_with_hash_and_place(tmp_path):
    (tmp_path / "a").write_bytes(b"alpha")
    (tmp_path / "d").mkdir()
    (tmp_path / "d/b").write_bytes(b"be\0ta")
    (tmp_path / "d/c").write_bytes(b"")
    sink = MemorySink()

    first, second, third = await read(refs(tmp_path, "a", "d/b", "d/c"), sink)

    assert isinstance(first, ReadFile)
    assert (first.sha256, first.encoding) == (sha256(b"alpha").hexdigest(), "utf-8")
    assert sink.content(first.span) == b"alpha"
    status = (tmp_path / "a").stat()
    assert (first.stat.inode, first.stat.size_bytes, first.stat.mtime_ns) == (
        status.st_ino, 5, status.st_mtime_ns
    )  # fmt: skip
    assert second == Skip("d/b", "binary")
    assert isinstance(third, ReadFile)
    assert third.span.length == 0


async def test_a_big_file_streams_in_pieces_and_reads_the_same(tmp_path):
    text = "zeile für zeile\n".encode() * 200_000
    (tmp_path / "big").write_bytes(text)
    sink = MemorySink()

    (outcome,) = await read(refs(tmp_path, "big"), sink, stream_over_bytes=MIB)

    assert isinstance(outcome, ReadFile)
    assert (outcome.sha256, outcome.encoding) == (sha256(text).hexdigest(), "utf-8")
    assert sink.content(outcome.span) == text
    assert sink.largest_piece == MIB


async def test_a_big_binary_is_told_by_its_first_piece_and_takes_no_room(tmp_path):
    (tmp_path / "big").write_bytes(b"\0" * (2 * MIB))
    sink = MemorySink()

    assert await read(refs(tmp_path, "big"), sink, stream_over_bytes=MIB) == [Skip("big", "binary")]
    assert not sink.data


async def test_a_file_over_the_limit_is_not_read(tmp_path):
    (tmp_path / "big").write_bytes(b"12345")

    assert await read(refs(tmp_path, "big"), MemorySink(), max_file_bytes=4) == [Skip("big", "too_large")]


async def test_a_file_that_changed_once_while_read_is_read_again(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"old")
    growths = iter([b"new!"])

    def read_then_grow(descriptor: int, size: int) -> bytes:
        data = os.pread(descriptor, size, 0)
        for growth in growths:
            (tmp_path / "a").write_bytes(growth)
            break
        return data

    monkeypatch.setattr(reading.os, "read", read_then_grow)
    sink = MemorySink()

    (outcome,) = await read(refs(tmp_path, "a"), sink)

    assert isinstance(outcome, ReadFile)
    assert sink.content(outcome.span) == b"new!"


async def test_a_failing_sink_is_nobodys_skip(tmp_path):
    class FullDisk(MemorySink):
        def add(self, sha256: str, data: bytes, encoding: TextEncoding) -> Span:
            raise OSError(28, "No space left on device")

    (tmp_path / "a").write_bytes(b"a")

    with pytest.raises(OSError, match="No space"):
        await read(refs(tmp_path, "a"), FullDisk())
