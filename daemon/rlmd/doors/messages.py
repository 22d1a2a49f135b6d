"""What one frame says: a JSON-RPC message, a greeting, or nothing that can be served.  No I/O."""

from __future__ import annotations

import json
import os.path
import re
from dataclasses import dataclass

from mcp_types import INVALID_REQUEST, PARSE_ERROR
from mcp_types.jsonrpc import JSONRPCMessage, JSONRPCNotification, RequestId, jsonrpc_message_adapter
from pydantic import ValidationError

HELLO = "rlmd/hello"
GET = re.compile(rb"GET (/\S*) HTTP/1\.[01]")


@dataclass(frozen=True, slots=True)
class Hello:
    """The line a bridge or the command line sends ahead: where it was started, and typed paths."""

    cwd: str | None
    paths: tuple[str, ...] = ()
    version: str = ""


@dataclass(frozen=True, slots=True)
class Get:
    """The first line of an HTTP request: somebody wants a page, such as /metrics."""

    path: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """The JSON-RPC error that answers a frame; `id` is the frame's own where it has a usable one."""

    code: int
    message: str
    id: RequestId | None = None

    def encode(self) -> bytes:
        """Return the line to send."""
        error = {"code": self.code, "message": self.message}
        return json.dumps({"jsonrpc": "2.0", "id": self.id, "error": error}).encode() + b"\n"


def decode(frame: bytes) -> JSONRPCMessage | Hello | Get | Refusal:
    """Say what *frame* is; never raises, whatever the bytes are."""
    try:
        message = jsonrpc_message_adapter.validate_json(frame, by_name=False)
    except ValidationError as exc:
        if any(
            error["type"] == "json_invalid" for error in exc.errors(include_url=False, include_input=False)
        ):
            if get := GET.fullmatch(frame):
                return Get(get[1].decode(errors="replace"))
            return Refusal(PARSE_ERROR, "Parse error: the line is not JSON")
        return _explain(json.loads(frame))
    if isinstance(message, JSONRPCNotification) and b'"id"' in frame:
        return _without_usable_id(json.loads(frame), message)
    return message


def _explain(value: object) -> Hello | Refusal:
    """Tell a greeting from JSON that is no message."""
    match value:
        case {"rlmd/hello": dict() as hello, **rest} if not rest:
            return _greeting(hello)
        case list():
            return Refusal(
                INVALID_REQUEST, "Invalid Request: batches are not served; send one message a line"
            )
        case {"id": str() | int() as request_id} if not isinstance(request_id, bool):
            return Refusal(INVALID_REQUEST, "Invalid Request: not a JSON-RPC 2.0 message", request_id)
        case _:
            return Refusal(INVALID_REQUEST, "Invalid Request: not a JSON-RPC 2.0 message")


def _greeting(hello: dict[str, object]) -> Hello | Refusal:
    cwd, version, paths = hello.get("cwd"), hello.get("version", ""), hello.get("paths", [])
    if cwd is not None and not _is_absolute(cwd):
        return Refusal(INVALID_REQUEST, f"{HELLO}: cwd must be an absolute path")
    if not isinstance(paths, list) or not all(_is_absolute(path) for path in paths):
        return Refusal(INVALID_REQUEST, f"{HELLO}: paths must be a list of absolute paths")
    return Hello(None if cwd is None else str(cwd), tuple(paths), str(version))


def _is_absolute(value: object) -> bool:
    return isinstance(value, str) and os.path.isabs(value) and "\0" not in value


def _without_usable_id(value: object, message: JSONRPCNotification) -> JSONRPCNotification | Refusal:
    """Refuse a request whose id no response could carry: as a notification it would never be answered."""
    if isinstance(value, dict) and "id" in value:
        return Refusal(INVALID_REQUEST, "Invalid Request: id must be a string or an integer")
    return message
