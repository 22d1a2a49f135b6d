"""A small MCP client for the command line: one socket, one call at a time, standard library only.

It speaks the stateless era of the protocol, in which every request says all that it needs.
"""

from __future__ import annotations

import itertools
import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

PROTOCOL_VERSION = "2026-07-28"
CHUNK_BYTES = 65_536
INVALID_PARAMS = -32602

OnProgress = Callable[[float, float | None, str], None]
"""Called with how far the work is, of how much, and in words."""


class Disconnected(Exception):
    """The daemon closed the connection before it had answered."""


class ProtocolError(Exception):
    """The daemon refused a request as such: the two sides are not of one version, or there is a bug.

    `code` is JSON-RPC's.
    """

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


class CallFailed(Exception):
    """A tool said why it cannot answer, in words for a person; `code` is the contract's."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True)
class Result:
    """What a tool answered: for a reader, and for a program."""

    text: str
    facts: dict[str, Any]


class Client:
    """A conversation with the daemon over *connection*, which stays the caller's to close."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._ids = itertools.count(1)
        self._received = bytearray()

    def greet(self, *, cwd: str, paths: Sequence[str] = ()) -> None:
        """Say where relative paths start, and which absolute *paths* the person typed."""
        self._send({"rlmd/hello": {"cwd": cwd, "paths": list(paths)}})

    def call(self, tool: str, arguments: Mapping[str, Any], on_progress: OnProgress | None = None) -> Result:
        """Call *tool* and wait for its result; raise CallFailed, ProtocolError or Disconnected."""
        return _result(self._ask("tools/call", {"name": tool, "arguments": dict(arguments)}, on_progress))

    def read(self, uri: str) -> str:
        """Return the text at *uri*; raise as `call` does, CallFailed where nothing is there."""
        try:
            contents = self._ask("resources/read", {"uri": uri})["contents"]
        except ProtocolError as exc:
            if exc.code != INVALID_PARAMS:
                raise
            raise CallFailed("not_found", str(exc)) from exc
        return "".join(part["text"] for part in contents)

    def _ask(
        self, method: str, given: Mapping[str, Any], on_progress: OnProgress | None = None
    ) -> Mapping[str, Any]:
        request_id = next(self._ids)
        meta: dict[str, Any] = {
            "io.modelcontextprotocol/protocolVersion": PROTOCOL_VERSION,
            "io.modelcontextprotocol/clientInfo": {"name": "rlmd", "version": "0"},
            "io.modelcontextprotocol/clientCapabilities": {},
        }
        if on_progress is not None:
            meta["progressToken"] = request_id
        params = {**given, "_meta": meta}
        self._send({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params})
        for message in self._messages():
            match message:
                case {"method": "notifications/progress", "params": dict() as told} if on_progress:
                    on_progress(told["progress"], told.get("total"), told.get("message", ""))
                case {"id": answered, "result": result} if answered == request_id:
                    return cast("Mapping[str, Any]", result)
                case {"id": answered, "error": {"code": int(code), "message": reason}} if answered in {
                    request_id,
                    None,
                }:
                    raise ProtocolError(str(reason), code)
        raise Disconnected("the daemon closed the connection before it had answered")

    def _send(self, message: Mapping[str, Any]) -> None:
        try:
            self._connection.sendall(json.dumps(message, ensure_ascii=False).encode() + b"\n")
        except (BrokenPipeError, ConnectionResetError) as exc:
            raise Disconnected("the daemon closed the connection") from exc

    def _messages(self) -> Iterator[dict[str, Any]]:
        while True:
            line, end, rest = self._received.partition(b"\n")
            if end:
                self._received = rest
                yield json.loads(line)
                continue
            try:
                data = self._connection.recv(CHUNK_BYTES)
            except ConnectionResetError:
                return
            if not data:
                return
            self._received += data


def _result(result: Mapping[str, Any]) -> Result:
    text = "\n".join(block.get("text", "") for block in result.get("content", []))
    meta = result.get("_meta", {})
    if result.get("isError"):
        raise CallFailed(meta.get("rlmd/error", {}).get("code", "internal"), text)
    return Result(text, meta.get("rlmd/result", {}))


@contextmanager
def conversation(connection: socket.socket, *, paths: Sequence[str] = ()) -> Iterator[Client]:
    """Yield a client that has greeted the daemon from the working directory; close *connection* after."""
    with connection:
        client = Client(connection)
        client.greet(cwd=os.getcwd(), paths=paths)
        yield client
