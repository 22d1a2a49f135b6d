from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import trio

from rlmd.answers import GrepRequest
from rlmd.errors import BadArgument
from rlmd.look import texts
from rlmd.look.grep import grep
from rlmd.look.page import FoundLine, GrepResult
from rlmd.values import WalkRules

pytestmark = pytest.mark.real_io


async def look(path: Path, pattern: str, *, workspace: Path | None = None, **request: Any) -> GrepResult:
    with trio.fail_after(5):
        return await grep(
            GrepRequest(pattern=pattern, **request),
            str(path),
            rules=WalkRules(secret=(".env*",)),
            workspace=str(workspace or path),
            limiter=trio.CapacityLimiter(1),
        )


def places(result: GrepResult) -> list[tuple[str, int]]:
    return [(match.path, match.line) for match in result.matches]


async def test_matches_come_by_path_and_line_with_their_text(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x.py").write_text("no\nneedle one")
    (tmp_path / "c.py").write_text("needle two\nno\nthree needle\n")
    (tmp_path / ".env").write_text("needle")

    result = await look(tmp_path, "needle")

    assert result.matches == (
        FoundLine("b/x.py", 2, "needle one"),
        FoundLine("c.py", 1, "needle two"),
        FoundLine("c.py", 3, "three needle"),
    )
    assert (result.files, result.total, result.truncated, result.next_cursor) == (2, 3, False, None)
    assert result.skipped.by_reason == {"secret": 1}


@pytest.mark.parametrize(
    ("content", "pattern", "lines"),
    [
        (b"\xef\xbb\xbffirst\n", "^first$", [(1, "first")]),
        (b"one\r\ntwo\r\n", "one$", []),
        (b"one\r\ntwo\r\n", r"one\r$", [(1, "one\r")]),
        (b"one\ntwo", "two$", [(2, "two")]),
        (b"one\n\nthree\n", "^$", [(2, "")]),
        (b"one\n\n", "", [(1, "one"), (2, "")]),
        (b"", "", []),
        (b"caf\xe9 au\n", "caf. au", []),
        (b"caf\xe9 au\n", "caf", [(1, "caf\ufffd au")]),
        ("Straße\n".encode("utf-16"), r"^\w{6}$", [(1, "Straße")]),
        ("l\u00f8kke\n".encode(), r"\bløkke\b", [(1, "løkke")]),
        ("xløkke\n".encode(), r"\bøkke\b", []),
        (b"needle\n\0", "needle", []),
    ],
)
async def test_bytes_match_as_ripgrep_has_it(
    tmp_path: Path, content: bytes, pattern: str, lines: list[tuple[int, str]]
) -> None:
    (tmp_path / "a").write_bytes(content)

    result = await look(tmp_path, pattern)

    assert [(match.line, match.text) for match in result.matches] == lines


async def test_a_text_is_cut_at_500_characters(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("ü" * 600)

    assert (await look(tmp_path, "ü")).matches[0].text == "ü" * 500


async def test_lines_of_a_file_in_many_pieces_keep_their_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(texts, "PIECE_BYTES", 50)
    (tmp_path / "a").write_text("".join(f"{number}\n" for number in range(1, 1001)))

    result = await look(tmp_path, "0$", context_lines=1)

    assert [match.line for match in result.matches] == list(range(10, 1001, 10))
    assert (result.matches[41].before, result.matches[41].after) == (("419",), ("421",))
    assert result.matches[-1].after == ()


async def test_a_nul_far_into_a_file_takes_back_its_matches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(texts, "PIECE_BYTES", 50)
    (tmp_path / "a").write_bytes(b"needle\n" * 100 + b"\0")

    result = await look(tmp_path, "needle")

    assert (result.total, result.matches, result.skipped.by_reason) == (0, (), {"binary": 1})


async def test_pages_go_on_behind_the_last_match_though_earlier_ones_are_gone(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x\nx\n")
    (tmp_path / "b").write_text("x\n")
    first = await look(tmp_path, "x", limit=2)
    (tmp_path / "a").write_text("y\ny\n")

    second = await look(tmp_path, "x", limit=2, cursor=first.next_cursor)

    assert (places(first), first.total, first.truncated) == ([("a", 1), ("a", 2)], 3, True)
    assert (places(second), second.total, second.truncated) == ([("b", 1)], 1, False)


async def test_a_page_may_end_within_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x\nx\nx\n")

    first = await look(tmp_path, "x", limit=2)
    second = await look(tmp_path, "x", limit=2, cursor=first.next_cursor)

    assert (places(first), places(second)) == ([("a", 1), ("a", 2)], [("a", 3)])


@pytest.mark.parametrize("mode", ["files_with_matches", "count"])
async def test_file_modes_name_each_file_once_and_count_all_lines(tmp_path: Path, mode: str) -> None:
    (tmp_path / "a").write_text("no\nx\nx\n")
    (tmp_path / "b").write_text("x\n")

    whole = await look(tmp_path, "x", output_mode=mode)
    first = await look(tmp_path, "x", output_mode=mode, limit=1)
    second = await look(tmp_path, "x", output_mode=mode, limit=1, cursor=first.next_cursor)

    assert first.matches == (FoundLine("a", 2, "x", count=2),)
    assert (first.files, first.total, first.truncated) == (2, 3, True)
    assert second.matches == (FoundLine("b", 1, "x", count=1),)
    assert whole.matches == first.matches + second.matches


async def test_glob_and_type_narrow_the_files(tmp_path: Path) -> None:
    for name in ("a.py", "b.rs", "c.txt", "d_test.py"):
        (tmp_path / name).write_text("x")

    assert places(await look(tmp_path, "x", glob="*.{rs,txt}")) == [("b.rs", 1), ("c.txt", 1)]
    assert places(await look(tmp_path, "x", file_type="py")) == [("a.py", 1), ("d_test.py", 1)]
    assert places(await look(tmp_path, "x", file_type="py", glob="!*_test.py")) == [("a.py", 1)]


async def test_fixed_strings_take_no_character_for_an_operator(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a.c(\nabc\nA.C(\n")

    assert places(await look(tmp_path, "a.c(", fixed_strings=True)) == [("a", 1)]
    assert places(await look(tmp_path, "a.c(", fixed_strings=True, case_insensitive=True)) == [
        ("a", 1),
        ("a", 3),
    ]


async def test_one_file_may_be_asked_for_and_paths_outside_the_workspace_are_absolute(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "a").write_text("x")

    result = await look(tmp_path / "a", "x", workspace=tmp_path / "inner")

    assert places(result) == [(f"{tmp_path}/a", 1)]


async def test_special_files_and_links_delay_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "a").write_text("x")
    (tmp_path / "link").symlink_to("a")

    result = await look(tmp_path, "x")

    assert places(result) == [("a", 1)]
    assert (await look(tmp_path / "fifo", "x")).total == 0


async def test_a_file_behind_a_link_put_there_since_the_walk_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/hostname")

    with pytest.raises(texts.NotText, match="special"), texts.open_file(str(tmp_path / "link")):
        pass


@pytest.mark.parametrize(
    "request_",
    [
        {"file_type": "pyhton"},
        {"glob": "[a"},
        {"limit": 0},
        {"cursor": "bm9uc2Vuc2U="},
        {"context_lines": -1},
        {"context_lines": 1000},
    ],
)
async def test_what_cannot_be_used_is_refused(tmp_path: Path, request_: dict[str, Any]) -> None:
    with pytest.raises(BadArgument):
        await look(tmp_path, "x", **request_)


async def test_cancelling_returns_while_a_thread_still_searches(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"e" * 70 + b"\n" * 4_000_000)
    clock = trio.current_time()

    with trio.move_on_after(0.05) as scope:
        await look(tmp_path, r"^(a|\pL{3,9})*[^e]*$")

    assert scope.cancelled_caught
    assert trio.current_time() - clock < 0.15
