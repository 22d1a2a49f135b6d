"""`rlmd connect`: bytes of stdin to the daemon's socket, and back.

An agent starts this once per session and waits for it, so the way to a running daemon loads C
modules only: `python -I -S bridge.py connect` is there in tens of milliseconds.  Starting a daemon
that is not there may take longer, and loads what it needs only then.
"""

import _socket
import errno
import posix
import select
import sys

STDIN, STDOUT = 0, 1
CHUNK_BYTES = 65_536
ATOMIC_BYTES = 4_096
"""What a pipe that poll(2) calls writable takes without blocking (PIPE_BUF of pipe(7))."""
VERSION = "0.1.0"
OK, UNAVAILABLE, CONFIG = 0, 69, 78
ABSENT = (errno.ENOENT, errno.ECONNREFUSED, errno.EAGAIN)
GONE = (errno.EPIPE, errno.ECONNRESET)


def main() -> int:
    """Carry bytes until either side is done, starting the daemon where there is none.

    Returns the exit code: 0 after a conversation however it ended, 69 or 78 when there was none.
    """
    path = socket_path()
    try:
        connection = connect(path)
    except OSError as exc:
        if exc.errno in ABSENT:
            connection = start()
        elif exc.errno is None:
            return complain(f"rlmd: {path}: {exc}; set RLMD_SOCKET to a shorter path", CONFIG)
        else:
            return complain(f"rlmd: {path}: {exc.strerror}", UNAVAILABLE)
    try:
        connection.sendall(hello())
        pump(connection)
    except OSError as exc:
        if exc.errno not in GONE:
            raise
    return OK


def socket_path() -> str:
    """Say where the daemon listens: the rule of `rlmd.paths`, which is not at hand here."""
    env = posix.environ
    if chosen := decode(env.get(b"RLMD_SOCKET", b"")):
        return chosen if chosen.startswith("/") else f"{posix.getcwd()}/{chosen}"
    runtime = decode(env.get(b"XDG_RUNTIME_DIR", b""))
    directory = f"{runtime.rstrip('/')}/rlmd" if runtime.startswith("/") else f"/tmp/rlmd-{posix.getuid()}"  # noqa: S108  # whose it is gets checked
    return f"{directory}/mcp.sock"


def connect(path: str) -> _socket.socket:
    """Return a connection to a daemon of our own user, whose socket root may hold; others' are none."""
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    connection.connect(path)
    credentials = connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)
    if int.from_bytes(credentials[4:8], sys.byteorder) not in {0, posix.getuid()}:
        raise PermissionError(errno.EACCES, "another user's process listens there")
    return connection


def start() -> _socket.socket:
    """Start a daemon and connect to it; where that cannot be, say why on stderr and exit."""
    sys.path.insert(0, __file__.rsplit("/", 3)[0])
    from rlmd.cli import start as starting  # noqa: PLC0415  # only where there is no daemon
    from rlmd.errors import ConfigError  # noqa: PLC0415

    try:
        return _socket.socket(fileno=starting.reach().detach())
    except starting.StartFailed as exc:
        sys.exit(complain(f"rlmd: {exc}", exc.exit_code))
    except ConfigError as exc:
        sys.exit(complain(f"rlmd: {exc}", CONFIG))


def hello() -> bytes:
    """Return the line that tells the daemon where this session works."""
    from _json import encode_basestring_ascii as quote  # noqa: PLC0415  # not every build has it built in

    try:
        cwd = posix.getcwd()
        cwd.encode()
    except (OSError, UnicodeEncodeError):
        return b""  # the directory is gone or has no name in JSON: the daemon looks for itself
    return f'{{"rlmd/hello":{{"cwd":{quote(cwd)},"version":"{VERSION}"}}}}\n'.encode()


def pump(connection: _socket.socket) -> None:
    """Carry bytes both ways until the daemon is done, or nobody reads what it says.

    Neither direction ever waits for the other, so a client may send much before it reads.
    """
    connection.setblocking(False)
    daemon = connection.fileno()
    inbound = outbound = b""  # read from one side, not yet taken by the other
    asking = True
    while True:
        ready = wait(daemon, inbound, outbound, asking)
        if ready.get(STDOUT, 0) & (select.POLLERR | select.POLLHUP | select.POLLNVAL):
            return  # whoever started us has stopped reading
        if STDOUT in ready:
            inbound = inbound[posix.write(STDOUT, inbound[:ATOMIC_BYTES]) :]
        if ready.get(daemon, 0) & select.POLLOUT:
            outbound = outbound[posix.write(daemon, outbound) :]
        if ready.get(daemon, 0) & ~select.POLLOUT and not inbound:
            inbound = posix.read(daemon, CHUNK_BYTES)
            if not inbound:
                return
        if STDIN in ready and not (outbound := posix.read(STDIN, CHUNK_BYTES)):
            asking = False
            connection.shutdown(_socket.SHUT_WR)  # answers still under way are waited for


def wait(daemon: int, inbound: bytes, outbound: bytes, asking: bool) -> dict[int, int]:  # noqa: FBT001  # all state
    """Wait until something can be read that can be passed on, or written that is held."""
    poll = select.poll()
    poll.register(STDOUT, select.POLLOUT if inbound else 0)
    if wanted := (0 if inbound else select.POLLIN) | (select.POLLOUT if outbound else 0):
        poll.register(daemon, wanted)
    if asking and not outbound:
        poll.register(STDIN, select.POLLIN)
    return dict(poll.poll())


def decode(name: bytes) -> str:
    """Decode a name of the file system as Python does."""
    return name.decode(sys.getfilesystemencoding(), "surrogateescape")


def complain(text: str, exit_code: int) -> int:
    """Say *text* on stderr; return *exit_code*."""
    posix.write(2, f"{text}\n".encode(errors="backslashreplace"))
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
