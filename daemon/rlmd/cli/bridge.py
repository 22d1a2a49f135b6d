"""`rlmd connect`: bytes of stdin to the daemon's socket, and back, for as long as the agent lives.

An agent starts this once per session and waits for it, so the way to a running daemon loads C
modules only: `python -I -S bridge.py connect` is there in tens of milliseconds.  Starting a daemon
that is not there may take longer, and loads what it needs only then.

Daemons come and go under a session: they are upgraded, stopped, crash, or end when idle.  What the
daemon that went still owed is answered here, as busy; the next request of the agent is for the next
daemon, which is told first how the session began.
"""

import _json
import _socket
import errno
import posix
import select
import sys

STDIN, STDOUT = 0, 1
CHUNK_BYTES = 65_536
ATOMIC_BYTES = 4_096
"""What a pipe that poll(2) calls writable takes without blocking (PIPE_BUF of pipe(7))."""
HEAD_BYTES = 1_024
OPENING_S = 30.0
VERSION = "0.1.0"
OK, UNAVAILABLE, CONFIG = 0, 69, 78
ABSENT = (errno.ENOENT, errno.ECONNREFUSED, errno.EAGAIN)
GONE = (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN)
ANSWER = b'{"jsonrpc":"2.0","id":'
LOST_TEXT = "busy: the daemon went away before it had answered. Ask again."
LOST = f'"error":{{"code":-32000,"message":"{LOST_TEXT}"}}'
LOST_CALL = (
    f'"result":{{"content":[{{"type":"text","text":"{LOST_TEXT}"}}],"isError":true,"resultType":"complete",'
    '"_meta":{"rlmd/error":{"code":"busy","message":"the daemon went away before it had answered",'
    '"retryable":true,"hint":"Ask again."}}}'
)


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
        greet(connection, [])
        Session(connection).pump()
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
    try:
        cwd = posix.getcwd()
        cwd.encode()
    except (OSError, UnicodeEncodeError):
        return b""  # the directory is gone or has no name in JSON: the daemon looks for itself
    return f'{{"rlmd/hello":{{"cwd":{_json.encode_basestring_ascii(cwd)},"version":"{VERSION}"}}}}\n'.encode()


class Session:
    """Bytes both ways until the agent is done, over one connection after another.

    Neither direction ever waits for the other, so an agent may send much before it reads.
    """

    def __init__(self, connection: _socket.socket) -> None:
        self.connection: _socket.socket | None = connection
        self.book = Book()
        self.inbound = self.outbound = b""  # read from one side, not yet taken by the other
        self.asking = True

    def pump(self) -> None:
        """Carry bytes until the agent is done and answered, or nobody reads what is said."""
        while self.asking or self.connection is not None or self.inbound:
            daemon = -1 if self.connection is None else self.connection.fileno()
            ready = wait(daemon, self.inbound, self.outbound, self.asking)
            if ready.get(STDOUT, 0) & (select.POLLERR | select.POLLHUP | select.POLLNVAL):
                return  # whoever started us has stopped reading
            if STDOUT in ready:
                self.inbound = self.inbound[posix.write(STDOUT, self.inbound[:ATOMIC_BYTES]) :]
            if daemon >= 0:
                self.exchange(daemon, ready.get(daemon, 0))
            if STDIN in ready:
                self.ask(posix.read(STDIN, CHUNK_BYTES))

    def exchange(self, daemon: int, events: int) -> None:
        """Write to and read from the daemon what *events* say can be; see whether it is gone."""
        try:
            if events & select.POLLOUT:
                self.outbound = self.outbound[posix.write(daemon, self.outbound) :]
            if events & ~select.POLLOUT and not self.inbound:
                self.inbound = posix.read(daemon, CHUNK_BYTES)
                if not self.inbound:
                    self.part()
                self.book.note_answers(self.inbound)
        except OSError as exc:
            if exc.errno not in GONE:
                raise
            self.part()

    def part(self) -> None:
        """Take leave of a daemon that went, and answer in its stead what it still owed."""
        if self.connection is not None:
            self.connection.close()
        self.connection, self.outbound = None, b""
        self.inbound += self.book.settle()

    def ask(self, data: bytes) -> None:
        """Send on what the agent says, to the next daemon where the last one went."""
        if not data:
            self.asking = False
            if self.connection is not None:
                self.connection.shutdown(_socket.SHUT_WR)  # answers still under way are waited for
            return
        if self.connection is None:
            data = self.book.mend(data)
            if self.book.owed:  # the rest of what the daemon that went was being told
                self.inbound += self.book.settle()
            if not data:
                return
            self.connection = again(self.book.opening)
        self.book.note_requests(data)
        self.outbound = data
        if self.connection is None:
            self.part()


class Book:
    """What the agent has asked and not been answered, read off the lines that pass.

    Only requests are parsed whole.  Of answers the beginning will do, which is always the same: they
    are the daemon's own.
    """

    def __init__(self) -> None:
        self.opening: list[bytes] = []
        self.owed: dict[str | int, str] = {}
        self.line = bytearray()
        self.head = b""
        self.torn = False

    def note_requests(self, data: bytes) -> None:
        """Take note of what the agent sends; *data* is any piece of it."""
        *ends, rest = data.split(b"\n")
        for end in ends:
            self.note_request(bytes(self.line + end))
            self.line.clear()
        self.line += rest

    def note_request(self, line: bytes) -> None:
        """Take note of one line of the agent; what is no request changes nothing."""
        match parse(line.strip()):
            case {"method": "notifications/initialized"} if self.opening:
                self.opening.append(line + b"\n")
            case {"method": "notifications/cancelled", "params": {"requestId": str() | int() as cancelled}}:
                self.owed.pop(cancelled, None)  # nobody waits for an answer to it any more
            case {"method": str() as method, "id": str() | int() as request}:
                self.owed[request] = method
                if method == "initialize":
                    self.opening = [line + b"\n"]

    def note_answers(self, data: bytes) -> None:
        """Take note of what the daemon answers; *data* is any piece of it."""
        *ends, rest = data.split(b"\n")
        for end in ends:
            self.note_answer(self.head + end[:HEAD_BYTES])
            self.head = b""
        self.head = (self.head + rest)[:HEAD_BYTES]

    def note_answer(self, head: bytes) -> None:
        """Take note of one line of the daemon, by its beginning."""
        if head.startswith(ANSWER):
            answered = parse(head, len(ANSWER))
            if isinstance(answered, str | int):
                self.owed.pop(answered, None)

    def settle(self) -> bytes:
        """Return an answer to whatever is owed, so that no agent waits for what cannot come."""
        self.torn = self.torn or bool(self.line)
        lines = [b"\n"] if self.head else []  # it went in the middle of a line
        lines += [lost(request, method) for request, method in self.owed.items()]
        self.head = b""
        self.owed.clear()
        return b"".join(lines)

    def mend(self, data: bytes) -> bytes:
        """Return *data* without the end of a line whose beginning went to the daemon that is gone."""
        if not self.torn:
            return data
        end, found, rest = data.partition(b"\n")
        self.note_requests(end + found)
        self.torn = not found
        return rest


def lost(request: str | int, method: str) -> bytes:
    """Return the line that answers a request which no daemon will."""
    name = _json.encode_basestring_ascii(request) if isinstance(request, str) else request
    return f'{{"jsonrpc":"2.0","id":{name},{LOST_CALL if method == "tools/call" else LOST}}}\n'.encode()


class Grammar:
    """What the scanner of JSON asks for: nothing but the defaults of Python."""

    strict = False
    object_hook = object_pairs_hook = None
    parse_float, parse_int, parse_constant = float, int, float


def parse(line: bytes, begin: int = 0) -> object:
    """Return the JSON value that begins there, None for what is none."""
    try:
        value, _ = SCANNER(line.decode(), begin)
    except (StopIteration, ValueError, RecursionError):
        return None
    else:
        return value


SCANNER = _json.make_scanner(Grammar)  # type: ignore[arg-type]  # what has these names will do


def again(opening: list[bytes]) -> _socket.socket | None:
    """Connect to the next daemon, starting it where there is none, and open the session there as before.

    Its answer to the handshake is dropped: the agent has had one.  Returns None where it goes away
    over that.
    """
    try:
        connection = connect(socket_path())
    except OSError as exc:
        if exc.errno not in ABSENT:
            raise
        connection = start()
    try:
        greet(connection, opening)
    except OSError:
        connection.close()
        return None
    return connection


def greet(connection: _socket.socket, opening: list[bytes]) -> None:
    """Say who we are and, in the older era of the protocol, how the session began."""
    connection.settimeout(OPENING_S)
    connection.sendall(hello() + b"".join(opening))
    if opening:
        while connection.recv(1) not in {b"\n", b""}:
            pass
    connection.setblocking(False)


def wait(daemon: int, inbound: bytes, outbound: bytes, asking: bool) -> dict[int, int]:  # noqa: FBT001  # all state
    """Wait until something can be read that can be passed on, or written that is held."""
    poll = select.poll()
    poll.register(STDOUT, select.POLLOUT if inbound else 0)
    if daemon >= 0 and (wanted := (0 if inbound else select.POLLIN) | (select.POLLOUT if outbound else 0)):
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
