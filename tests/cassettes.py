"""Conversations with a model server, recorded once and played back: at the transport, below the SDK.

A cassette is a file of JSON lines, one exchange each, in order.  It holds no header that could carry a
secret: of a request its method, path and body are kept, of a response its status, body and limits.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import httpx2

_KEPT_HEADERS = ("content-type", "retry-after", "retry-after-ms", "x-ratelimit-", "anthropic-ratelimit-")


class UnexpectedRequest(AssertionError):
    """What was asked is not what the cassette holds next; the message shows both."""


class Recorder(httpx2.AsyncBaseTransport):
    """Passes every request on to *inner*, and appends the exchange to *path*."""

    def __init__(self, path: Path, inner: httpx2.AsyncBaseTransport) -> None:
        self._path = path
        self._inner = inner

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await self._inner.handle_async_request(request)
        key = request.headers.get("authorization", "").removeprefix("Bearer ").encode()
        body = await response.aread()
        if key:
            body = body.replace(key, b"***")
        exchange = {
            "request": _request(request),
            "status": response.status_code,
            "headers": {
                name: value for name, value in response.headers.items() if name.startswith(_KEPT_HEADERS)
            },
            "body": base64.b64encode(body).decode(),
        }
        with self._path.open("a") as cassette:
            cassette.write(json.dumps(exchange) + "\n")
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


class Player(httpx2.AsyncBaseTransport):
    """Answers from *path*, in order, and only what was asked when it was recorded."""

    def __init__(self, path: Path) -> None:
        self.left: list[dict[str, Any]] = [json.loads(line) for line in path.read_text().splitlines()]

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        asked = _request(request)
        if not self.left:
            raise UnexpectedRequest(f"the cassette is at its end, and was asked {asked}")
        exchange = self.left.pop(0)
        if exchange["request"] != asked:
            raise UnexpectedRequest(f"asked {asked}, recorded {exchange['request']}")
        return httpx2.Response(
            exchange["status"],
            headers=exchange["headers"],
            content=base64.b64decode(exchange["body"]),
            request=request,
        )


def _request(request: httpx2.Request) -> dict[str, Any]:
    body = json.loads(request.content) if request.content else None
    return {"method": request.method, "path": request.url.path, "body": body}
