"""The Unix socket: who may connect, how many at once, and whose crash stays whose.

`bind` needs nothing of the protocol: the daemon binds first and loads the rest while clients wait
in the queue of the kernel.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import stat
import struct
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import structlog
import trio

from rlmd import lockfile
from rlmd.doors.traffic import Traffic
from rlmd.errors import ConfigError
from rlmd.paths import make_private_dir

log = structlog.get_logger(__name__)

BACKLOG = 128
FAREWELL_S = 0.5
BUSY_LINE = (
    b'{"jsonrpc":"2.0","id":null,"error":{"code":-32000,'
    b'"message":"busy: too many connections. Close one, or raise doors.max_connections."}}\n'
)


class SocketTaken(Exception):
    """Another process listens on this path."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The process at the other end, as the kernel vouches for it at connection time."""

    pid: int
    uid: int


@dataclass(frozen=True, slots=True)
class Door:
    """A listening socket; where we bound it ourselves, also the file and the lock that are ours."""

    socket: socket.socket
    path: str
    inode: tuple[int, int] | None = None
    lock_fd: int | None = None

    def close(self) -> None:
        """Stop listening; unlink the socket unless somebody else's has taken its place."""
        if self.inode is not None and _inode(self.path) == self.inode:
            os.unlink(self.path)
        self.socket.close()
        if self.lock_fd is not None:
            lockfile.release(_lock_path(self.path), self.lock_fd)


def bind(path: str) -> Door:
    """Listen at *path*, open to our own user alone, in place of a socket that a dead daemon left.

    A lock beside the socket is held while it lasts.  Raises SocketTaken when a process listens there
    already, ConfigError when the place is not fit for it.  Call it before there are threads: the
    umask is the process's own.
    """
    make_private_dir(os.path.dirname(path))
    try:
        lock_fd = lockfile.acquire(_lock_path(path))
        if lock_fd is None:
            raise SocketTaken(f"{path}: another daemon listens here")
        try:
            _reclaim(path)
            return Door(_listen(path), path, _inode(path), lock_fd)
        except BaseException:  # whatever it was, the lock goes with us
            lockfile.release(_lock_path(path), lock_fd)
            raise
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be bound: {exc.strerror or exc}") from exc


def adopt(fd: int) -> Door:
    """Listen on an inherited socket; its file stays with whoever made it."""
    listening = socket.socket(fileno=fd)
    if listening.family != socket.AF_UNIX or listening.type != socket.SOCK_STREAM:
        listening.close()
        raise ConfigError(f"the inherited descriptor {fd} is no Unix stream socket")
    return Door(listening, str(listening.getsockname()))


def turn_away(door: Door, why: str) -> None:
    """Tell whoever waits at an inherited socket that nobody will serve them, and *why*; close it.

    A service manager starts us for a connection that waits, and again for one that was left waiting.
    """
    with door.socket:
        door.socket.setblocking(False)
        for waiting in _accepted(door.socket):
            with waiting, suppress(OSError):
                waiting.settimeout(FAREWELL_S)
                if _peer(waiting).uid == os.getuid():
                    waiting.sendall(_error_line(why))
                    waiting.shutdown(socket.SHUT_WR)
                    while waiting.recv(1 << 16):  # closed with something unread, it would lose our line
                        pass


async def serve(
    door: Door,
    handle: Callable[[trio.SocketStream, Peer], Awaitable[None]],
    *,
    traffic: Traffic,
    connections: trio.Nursery | None = None,
    uid: int | None = None,
    task_status: trio.TaskStatus[list[trio.SocketListener]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Hand each connection of our own user to *handle*, in a task of its own, until cancelled.

    Given a nursery for them, *connections* outlive the accepting, and those that the kernel had taken
    in by its end are handed over, too; on an inherited socket they wait for the next daemon.  A
    handler that raises loses its own connection only.  Beyond the bounds of *traffic* a peer is told so
    and let go.  *uid* is the one user let in, by default the process's own.
    """
    door.socket.setblocking(False)
    # A duplicate, since serve_listeners closes what it was given, and with it who still waits.
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(door.socket.dup()))
    admit = partial(_admit, handle, traffic, os.getuid() if uid is None else uid)
    try:
        await trio.serve_listeners(admit, [listener], handler_nursery=connections, task_status=task_status)
    finally:
        if connections is not None and door.inode is not None:
            for stream in _waiting(door):
                connections.start_soon(admit, stream)


def _waiting(door: Door) -> Iterator[trio.SocketStream]:
    """Accept whoever is in the kernel's queue, without waiting for more."""
    for accepted in _accepted(door.socket):
        yield trio.SocketStream(trio.socket.from_stdlib_socket(accepted))


def _accepted(listening: socket.socket) -> Iterator[socket.socket]:
    with suppress(OSError):  # nobody, or nothing that could be accepted
        while True:
            yield listening.accept()[0]


async def _admit(
    handle: Callable[[trio.SocketStream, Peer], Awaitable[None]],
    traffic: Traffic,
    uid: int,
    stream: trio.SocketStream,
) -> None:
    async with stream:
        peer = _peer(stream.socket)
        if peer.uid != uid:
            traffic.refused["foreign_uid"] += 1
            log.warning("connection.refused", reason="foreign_uid", peer_uid=peer.uid, peer_pid=peer.pid)
            return
        if traffic.is_full:
            traffic.refused["too_many"] += 1
            log.warning("connection.refused", reason="too_many", limit=traffic.bounds.max_connections)
            await _say_busy(stream)
            return
        with traffic.connection():
            try:
                await handle(stream, peer)
            except Exception:  # a crash is of this connection alone
                log.exception("connection.crashed", error_id=secrets.token_hex(4), peer_pid=peer.pid)


async def _say_busy(stream: trio.SocketStream) -> None:
    with trio.move_on_after(1):
        try:
            await stream.send_all(BUSY_LINE)
        except trio.BrokenResourceError:
            return


def _error_line(message: str) -> bytes:
    error = {"code": -32000, "message": message}
    return json.dumps({"jsonrpc": "2.0", "id": None, "error": error}).encode() + b"\n"


def _peer(connection: socket.socket | trio.socket.SocketType) -> Peer:
    packed = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, _gid = struct.unpack("3i", packed)
    return Peer(pid, uid)


def _listen(path: str) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        listening.bind(path)
    except OSError:
        listening.close()
        raise
    finally:
        os.umask(mask)
    listening.listen(BACKLOG)
    return listening


def _lock_path(path: str) -> str:
    return f"{path}.lock"


def _reclaim(path: str) -> None:
    """Remove a socket that nobody listens on; the lock is held, so nobody of ours can be at it."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode) or found.st_uid != os.getuid():
        raise ConfigError(f"{path}: is in the way and no socket of ours; set RLMD_SOCKET to another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except BlockingIOError:
            pass  # its queue is full: somebody is there
    raise SocketTaken(f"{path}: another process listens here")


def _inode(path: str) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
