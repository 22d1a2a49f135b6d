"""The sockets on which HTTP may be asked, and what a request has to show there.

Nothing of HTTP is imported here: they are bound with the daemon's own socket, before the rest is
loaded, and only where the settings ask for them.
"""

from __future__ import annotations

import errno
import os
import secrets
import socket
import stat
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass

from rlmd.doors import listener
from rlmd.doors.listener import BACKLOG, Door
from rlmd.errors import ConfigError

SOCKET_NAME = "http.sock"
TOKEN_NAME = "http-token"  # noqa: S105  # the name of its file
TOKEN_BYTES = 32
LONGEST_TOKEN = 1_000


@dataclass(frozen=True, slots=True)
class Guard:
    """What a request on a port has to show: the token, and a Host and Origin that are this machine's."""

    token: str
    port: int

    def refuse(self, headers: Mapping[bytes, bytes]) -> tuple[int, str] | None:
        """Return the status and sentence of a refusal, None for who may come in.

        The Host is looked at before the token: a page whose name was made to point here has to learn
        nothing, and a name that is not ours is the sign of it (DNS rebinding).
        """
        names = [f"{name}:{self.port}" for name in ("127.0.0.1", "localhost", "[::1]")]
        host, origin = (headers.get(key, b"").decode("latin-1") for key in (b"host", b"origin"))
        if host not in names:
            return 421, f"The Host is not this one; ask at 127.0.0.1:{self.port}."
        if origin and origin not in {f"http://{name}" for name in names}:
            return 403, "Pages of other origins are not served."
        given = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
        if given[0].lower() != "bearer" or not secrets.compare_digest(
            given[2].strip().encode(), self.token.encode()
        ):
            return (
                401,
                "Send `Authorization: Bearer TOKEN`; the token is in http-token in the state directory.",
            )
        return None


@dataclass(frozen=True, slots=True)
class Way:
    """A socket that listens for HTTP; without a guard the file system is one."""

    door: Door
    guard: Guard | None = None


@contextmanager
def open_ways(*, unix: bool, port: int, beside: str, state: str) -> Iterator[list[Way]]:
    """Listen where the settings ask for it, for the length of the block; raise ConfigError.

    The Unix socket lies *beside* the daemon's own.  The token of the port is kept in *state*, and
    made where there is none.
    """
    ways: list[Way] = []
    with ExitStack() as opened:
        if unix:
            path = os.path.join(os.path.dirname(beside), SOCKET_NAME)
            ways.append(Way(opened.enter_context(closing(listener.bind(path)))))
        if port:
            guard = Guard(token(os.path.join(state, TOKEN_NAME)), port)
            ways.append(Way(opened.enter_context(closing(_bind_port(port))), guard))
        yield ways


def token(path: str) -> str:
    """Return the token that *path* holds, making one for its owner alone to read where there is none."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _read_token(path)
    made = secrets.token_urlsafe(TOKEN_BYTES)
    with open(fd, "w", encoding="ascii") as file:
        file.write(f"{made}\n")
    return made


def _read_token(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        found = os.fstat(file.fileno())
        text = file.read(LONGEST_TOKEN).strip()
    if found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise ConfigError(f"{path}: has to be ours, and closed to others; run: chmod 600 {path}")
    if not text.isascii() or len(text) < TOKEN_BYTES:
        raise ConfigError(
            f"{path}: holds no token of {TOKEN_BYTES} characters or more; remove it for a new one"
        )
    return text


def _bind_port(port: int) -> Door:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port))
        listening.listen(BACKLOG)
    except OSError as exc:
        listening.close()
        taken = "; choose another http.port" if exc.errno == errno.EADDRINUSE else ""
        raise ConfigError(f"127.0.0.1:{port}: cannot be bound: {exc.strerror}{taken}") from exc
    return Door(listening, f"127.0.0.1:{port}")
