import errno
import hashlib
import os
from pathlib import Path

import pytest

from rlmd.corpus.pack import HEAD_BYTES, Pack, PackClosed
from rlmd.corpus.scratch import open_scratch
from rlmd.errors import Busy
from rlmd.values import Span


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_content_is_stored_once(tmp_path: Path) -> None:
    pack = Pack(str(tmp_path / "pack"))

    first, second = pack.add(digest(b"same"), b"same"), pack.add(digest(b"same"), b"same")

    assert first == second
    assert os.path.getsize(pack.path) == HEAD_BYTES + len(b"same\n")
    pack.close()


def test_a_content_that_comes_in_pieces_is_read_back_whole(tmp_path: Path) -> None:
    pack = Pack(str(tmp_path / "pack"))
    pack.add(digest(b"before"), b"before")

    offset = pack.reserve(6)
    pack.write(offset + 3, b"def")
    pack.write(offset, b"abc")
    span = pack.adopt(digest(b"abcdef"), Span(offset, 6), "utf-8")

    assert pack.read(span) == b"abcdef"
    pack.close()


def test_adopting_a_known_content_returns_its_older_place(tmp_path: Path) -> None:
    pack = Pack(str(tmp_path / "pack"))
    older = pack.add(digest(b"abc"), b"abc")

    offset = pack.reserve(3)
    pack.write(offset, b"abc")

    assert pack.adopt(digest(b"abc"), Span(offset, 3), "utf-8") == older
    pack.close()


def test_a_closed_pack_refuses(tmp_path: Path) -> None:
    pack = Pack(str(tmp_path / "pack"))
    span = pack.add(digest(b"x"), b"x")

    pack.close()

    with pytest.raises(PackClosed):
        pack.read(span)
    with pytest.raises(PackClosed):
        pack.write(0, b"y")


def test_a_full_disk_is_busy_and_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pack = Pack(str(tmp_path / "pack"))

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwritev", full)
    with pytest.raises(Busy, match=str(tmp_path)):
        pack.add(digest(b"x"), b"x")
    pack.close()


def test_the_file_is_for_the_owner_alone(tmp_path: Path) -> None:
    pack = Pack(str(tmp_path / "pack"))

    assert os.stat(pack.path).st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        Pack(str(tmp_path / "pack"))
    pack.close()


def test_what_a_dead_daemon_left_is_removed_and_the_living_are_spared(tmp_path: Path) -> None:
    with open_scratch(tmp_path) as living:
        dead = living.parent / "run-dead"
        dead.mkdir()
        (dead / "pack").write_bytes(b"old")

        with open_scratch(tmp_path) as own:
            assert not dead.exists()
            assert living.exists()
            assert own != living

        assert not own.exists()
        assert living.exists()
