"""What HTTP listens on, and what a request on a port has to show."""

from __future__ import annotations

import socket
import stat
from typing import Any

import pytest

from rlmd.doors import ways
from rlmd.doors.ways import Guard
from rlmd.errors import ConfigError

GUARD = Guard("s3cret", 8000)
GOOD = {b"host": b"127.0.0.1:8000", b"authorization": b"Bearer s3cret"}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {b"host": b"localhost:8000"},
        {b"host": b"[::1]:8000"},
        {b"origin": b"http://localhost:8000"},
        {b"authorization": b"bearer  s3cret "},
    ],
)
def test_who_shows_the_token_and_a_name_of_this_machine_comes_in(headers: dict[bytes, bytes]):
    assert GUARD.refuse(GOOD | headers) is None


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({b"host": b"evil.example:8000"}, 421),
        ({b"host": b"127.0.0.1"}, 421),
        ({b"host": b"127.0.0.1:8001"}, 421),
        ({b"host": b"127.0.0.1:8000.evil.example"}, 421),
        ({b"host": b"\xff"}, 421),
        ({b"host": b""}, 421),
        ({b"origin": b"http://evil.example"}, 403),
        ({b"origin": b"null"}, 403),
        ({b"origin": b"https://127.0.0.1:8000"}, 403),
        ({b"authorization": b""}, 401),
        ({b"authorization": b"Bearer"}, 401),
        ({b"authorization": b"Bearer s3cre"}, 401),
        ({b"authorization": b"Bearer s3cret2"}, 401),
        ({b"authorization": b"Bearer \xff\xfe"}, 401),
        ({b"authorization": b"Basic s3cret"}, 401),
    ],
)
def test_all_others_are_refused(headers: dict[bytes, bytes], status: int):
    refused = GUARD.refuse(GOOD | headers)

    assert refused is not None
    assert refused[0] == status


def test_a_token_is_made_once_and_for_its_owner_alone(home: Any):
    path = home.path / "http-token"

    made = ways.token(str(path))

    assert len(made) >= 40
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert ways.token(str(path)) == made


@pytest.mark.parametrize(
    ("text", "mode"), [("x" * 43, 0o640), ("", 0o600), ("short", 0o600), ("ü" * 40, 0o600)]
)
def test_a_token_that_others_know_or_could_guess_is_refused(home: Any, text: str, mode: int):
    path = home.path / "http-token"
    path.write_text(text)
    path.chmod(mode)

    with pytest.raises(ConfigError, match="http-token"):
        ways.token(str(path))


def test_a_port_that_is_taken_is_a_mistake_of_the_set_up_and_leaves_nothing_open(home: Any):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]

        with (
            pytest.raises(ConfigError, match=r"http\.port"),
            ways.open_ways(unix=True, port=port, beside=str(home.socket), state=str(home.path)),
        ):
            pass

    assert not (home.path / "http.sock").exists()


def test_nothing_is_listened_on_unless_asked_for(home: Any):
    with ways.open_ways(unix=False, port=0, beside=str(home.socket), state=str(home.path)) as opened:
        assert opened == []

    assert list(home.path.iterdir()) == []
