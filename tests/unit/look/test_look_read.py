from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio

from rlmd.answers import ReadRequest
from rlmd.errors import BadArgument, OutsideRoots
from rlmd.look import texts
from rlmd.look.read import LINE_MARGIN_CHARS, ReadResult, read
from rlmd.values import WalkRules

pytestmark = pytest.mark.real_io


async def look(path: Path, *, secret: tuple[str, ...] = (), **request: int) -> ReadResult:
    with trio.fail_after(5):
        return await read(
            ReadRequest(path=path.name, **request),
            str(path),
            rules=WalkRules(secret=secret),
            workspace=str(path.parent),
            limiter=trio.CapacityLimiter(1),
        )


async def test_lines_come_from_an_offset_and_say_how_to_go_on(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("one\ntwo\nthree\nfour\n")

    result = await look(file, offset=1, limit=2)

    assert result == ReadResult(
        path="a.txt",
        text="two\nthree",
        start_line=2,
        end_line=3,
        total_lines=4,
        truncated=True,
        next_offset=3,
        line_cut=False,
    )


@pytest.mark.parametrize(
    ("content", "text", "total"),
    [
        (b"", "", 0),
        (b"\n", "", 1),
        (b"one\ntwo", "one\ntwo", 2),
        (b"one\n\n", "one\n", 2),
        (b"\xef\xbb\xbfone\n", "one", 1),
        ("zwei\nörter\n".encode("utf-16"), "zwei\nörter", 2),
        ("\ufeffzwei\n".encode("utf-16-be"), "zwei", 1),
        (b"caf\xe9\r\n", "caf\ufffd\r", 1),
    ],
)
async def test_text_is_read_in_its_encoding_to_its_last_line(
    tmp_path: Path, content: bytes, text: str, total: int
) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(content)

    result = await look(file)

    assert (result.text, result.total_lines, result.truncated) == (text, total, False)


async def test_whole_lines_fill_the_room_there_is(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("0123456789\n" * 5)

    result = await look(file, max_chars=2 * (10 + LINE_MARGIN_CHARS))

    assert (result.text, result.next_offset, result.line_cut) == ("0123456789\n0123456789", 2, False)


async def test_a_first_line_too_long_for_the_room_is_cut_and_says_so(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("é" * 300 + "\nnext\n")

    result = await look(file, max_chars=100)

    assert (result.text, result.line_cut, result.truncated, result.next_offset) == ("é" * 100, True, True, 1)


async def test_a_file_of_many_pieces_is_counted_and_entered_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(texts, "PIECE_BYTES", 64)
    file = tmp_path / "a.txt"
    file.write_text("".join(f"line {number}\n" for number in range(1000)) + "x" * 500)

    result = await look(file, offset=998, limit=2)

    assert (result.text, result.total_lines) == ("line 998\nline 999", 1001)
    assert (await look(file, offset=1000)).text == "x" * 500


async def test_an_offset_behind_the_end_shows_nothing_but_the_count(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("one\n")

    result = await look(file, offset=7)

    assert (result.text, result.end_line, result.total_lines, result.next_offset) == ("", 7, 1, None)


async def test_what_is_no_text_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"text\n" * 10 + b"\0")
    os.mkfifo(tmp_path / "fifo")

    with pytest.raises(BadArgument, match="binary"):
        await look(tmp_path / "binary")
    with pytest.raises(BadArgument, match="FIFO"):
        await look(tmp_path / "fifo")
    with pytest.raises(BadArgument, match="directory") as refused:
        await look(tmp_path)
    assert "rlm_glob" in refused.value.hint


async def test_a_file_that_counts_as_secret_is_refused_by_the_setting_that_says_so(tmp_path: Path) -> None:
    (tmp_path / ".env.local").write_text("KEY=1")

    with pytest.raises(OutsideRoots) as refused:
        await look(tmp_path / ".env.local", secret=(".env*",))

    assert "privacy.exclude" in refused.value.hint


@pytest.mark.parametrize("request_", [{"offset": -1}, {"limit": 0}, {"max_chars": 0}])
async def test_numbers_out_of_range_are_refused(tmp_path: Path, request_: dict[str, int]) -> None:
    with pytest.raises(BadArgument):
        await look(tmp_path, **request_)
