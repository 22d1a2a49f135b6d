"""Conversations with a model server, recorded once and played back: below the wire, above the sockets.

A cassette is a file of JSON lines, one exchange each, in order.  It holds no header that could carry a
secret: of a request its address and body are kept, of a response its status, body and limits.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rlmd.llm.lines import Answer, Exchange

_KEPT_HEADERS = ("content-type", "retry-after", "retry-after-ms", "x-ratelimit-", "anthropic-ratelimit-")


class UnexpectedRequest(AssertionError):
    """What was asked is not what the cassette holds next; the message shows both."""


class Recorder:
    """Passes every request on to *inner*, and appends the exchange to *path*."""

    def __init__(self, path: Path, inner: Exchange) -> None:
        self._path = path
        self._inner = inner

    async def send(self, url: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        answer = await self._inner.send(url, headers, body)
        key = headers.get("authorization", "").removeprefix("Bearer ").encode()
        heard = answer.body.replace(key, b"***") if key else answer.body
        exchange = {
            "request": _request(url, body),
            "status": answer.status,
            "headers": {
                name: value for name, value in answer.headers.items() if name.startswith(_KEPT_HEADERS)
            },
            "body": base64.b64encode(heard).decode(),
        }
        with self._path.open("a") as cassette:
            cassette.write(json.dumps(exchange) + "\n")
        return answer

    async def aclose(self) -> None:
        await self._inner.aclose()


class Player:
    """Answers from *path*, in order, and only what was asked when it was recorded."""

    def __init__(self, path: Path) -> None:
        self.left: list[dict[str, Any]] = [json.loads(line) for line in path.read_text().splitlines()]

    async def send(self, url: str, _: Mapping[str, str], body: bytes | None) -> Answer:
        asked = _request(url, body)
        if not self.left:
            raise UnexpectedRequest(f"the cassette is at its end, and was asked {asked}")
        exchange = self.left.pop(0)
        if exchange["request"] != asked:
            raise UnexpectedRequest(f"asked {asked}, recorded {exchange['request']}")
        return Answer(exchange["status"], exchange["headers"], base64.b64decode(exchange["body"]))

    async def aclose(self) -> None:
        pass


def _request(url: str, body: bytes | None) -> dict[str, Any]:
    return {"path": urlsplit(url).path, "body": None if body is None else json.loads(body)}
