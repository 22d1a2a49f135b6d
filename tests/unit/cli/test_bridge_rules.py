"""What the bridge repeats, because it may import nothing, is held equal to what it repeats."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rlmd import paths
from rlmd.cli import bridge

SOCKET_OF = f"import sys; sys.path.insert(0, {os.path.dirname(bridge.__file__)!r}); import bridge; "


def in_bare_python(code: str, env: dict[str, str], *, before: str = "") -> str:
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", before + SOCKET_OF + code],
        capture_output=True,
        text=True,
        env=env,
        timeout=20,
        check=True,
    )
    return done.stdout.strip()


@pytest.mark.parametrize(
    "env",
    [
        {"RLMD_SOCKET": "/a/b.sock"},
        {"RLMD_SOCKET": "relative.sock"},
        {"RLMD_SOCKET": "", "XDG_RUNTIME_DIR": "/nowhere/run"},
        {"XDG_RUNTIME_DIR": "/nowhere/run/"},
        {"XDG_RUNTIME_DIR": "not/absolute"},
        {"XDG_RUNTIME_DIR": ""},
        {},
    ],
)
def test_the_bridge_looks_for_the_socket_where_the_daemon_has_it(env: dict[str, str]):
    assert in_bare_python("print(bridge.socket_path())", env) == paths.socket_path(env)


def test_the_way_to_a_running_daemon_loads_c_modules_only():
    started = "import sys; started = set(sys.modules)\n"
    loaded = (
        "bridge.hello(); bridge.parse(b'{}'); "
        "print(sorted(name for name in sys.modules if name not in started))"
    )

    names = in_bare_python(loaded, {}, before=started)

    assert names == "['_json', '_socket', 'bridge', 'errno', 'select']"


def test_a_working_directory_that_is_gone_makes_no_greeting(home: Any, monkeypatch: pytest.MonkeyPatch):
    gone = home.path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()

    assert bridge.hello() == b""


def test_a_working_directory_with_any_name_is_quoted(home: Any, monkeypatch: pytest.MonkeyPatch):
    odd = home.path / 'a "b"\\ü'
    odd.mkdir()
    monkeypatch.chdir(odd)

    assert b'\\"b\\"' in bridge.hello()
    assert Path(bridge.__file__).name == "bridge.py"


def book_of(*frames: dict[str, Any]) -> bridge.Book:
    book = bridge.Book()
    for frame in frames:
        book.note_requests(json.dumps(frame).encode() + b"\n")
    return book


def request(request_id: Any, method: str = "tools/call") -> dict[str, Any]:
    return {"method": method, "params": {"id": 7, "method": "x"}, "jsonrpc": "2.0", "id": request_id}


def answers(book: bridge.Book) -> list[dict[str, Any]]:
    return [json.loads(line) for line in book.settle().splitlines()]


def test_what_is_owed_is_what_was_asked_and_neither_answered_nor_cancelled():
    cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "c"}}
    book = book_of(
        request(1), request('a"b'), request("c"), request(4, "tools/list"), cancel, {"method": "x"}
    )
    book.note_answers(
        b'{"jsonrpc":"2.0","method":"notifications/progress","params":{"id":4}}\n{"jsonrpc":"2.'
    )
    book.note_answers(b'0","id":1,"result":{}}\n')

    call, listing = answers(book)

    assert (call["id"], listing["id"]) == ('a"b', 4)
    assert call["result"]["isError"] is True
    assert call["result"]["_meta"]["rlmd/error"]["code"] == "busy"
    assert listing["error"]["message"].startswith("busy")
    assert book.settle() == b""


def test_pieces_of_any_size_come_to_the_same():
    sent = b"".join(json.dumps(request(number)).encode() + b"\n" for number in range(3))
    told = b'{"jsonrpc":"2.0","id":2,"result":"%s"}\n{"jsonrpc":"2.0","id":0,"error":{}}\n' % (b"x" * 3_000)
    for size in (1, 7, 1_000, 10_000):
        book = bridge.Book()
        for at in range(0, len(sent), size):
            book.note_requests(sent[at : at + size])
        for at in range(0, len(told), size):
            book.note_answers(told[at : at + size])

        assert [each["id"] for each in answers(book)] == [1]


def test_a_line_that_was_torn_on_the_way_is_answered_and_its_rest_goes_nowhere():
    book = bridge.Book()
    line = json.dumps(request(1)).encode() + b"\n"
    book.note_requests(line[:20])

    assert book.settle() == b""
    assert book.mend(line[20:30]) == b""
    assert book.mend(line[30:] + b"next") == b"next"
    assert [each["id"] for each in answers(book)] == [1]
    assert book.mend(b"whole\n") == b"whole\n"


def test_an_answer_that_was_torn_ends_its_line_first():
    book = book_of(request(1))
    book.note_answers(b'{"jsonrpc":"2.0","id":1,"resu')

    torn, whole, _ = book.settle().split(b"\n")

    assert torn == b""
    assert json.loads(whole)["id"] == 1


@pytest.mark.parametrize(
    "line", [b"", b"{", b"[]", b"\xff", b"{}x", b"[" * 100_000, b'{"id":1}', b'{"method":1}']
)
def test_what_is_no_request_is_nobody_s_debt(line: bytes):
    book = bridge.Book()

    book.note_requests(line + b"\n")

    assert book.settle() == b""
