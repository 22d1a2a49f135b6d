"""Connections to one model server, kept open between calls; beside `wire` the one place that knows HTTP.

The library's pool looks at every connection before and after every call, and its client builds what
we throw away; at a hundred calls at once that is two thirds of what a call costs us.  So each call
takes the line that was used last, and one that is not whole after it is closed.
"""

from __future__ import annotations

import base64
import zlib
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Mapping
from contextlib import aclosing
from typing import NamedTuple, Protocol, cast
from urllib.request import getproxies, proxy_bypass

import httpcore2
import httpx2
import trio

IDLE_S = 30.0
CLOSE_S = 2.0

_TOO_LONG = "more than a reply may have"
_GZIP_OR_ZLIB = 47
"""What zlib takes for: either of the two, told by its beginning."""


class Answer(NamedTuple):
    """A whole response; names of headers are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Unusable(Exception):
    """What a body is that cannot be taken: too long, or packed in a way that we did not ask for."""


class Exchange(Protocol):
    """Whoever carries one request to a server and brings its whole answer."""

    async def send(self, url: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        """POST *body*, or GET without one; raises Unusable and the errors of httpcore2."""
        ...

    async def aclose(self) -> None:
        """Close what is open."""
        ...


class Lines:
    """Connections to the server of one address, through the proxy that the environment names for it.

    Whoever calls bounds how many calls there are at once.  `busy` are those in flight, `idle` may be
    used again.  A cancelled call closes its connection at once.
    """

    def __init__(self, base_url: str, *, connect_s: float, silence_s: float, most_bytes: int) -> None:
        """Raise httpx2.InvalidURL for what is no address; block for some 50 ms to read certificates."""
        address = httpx2.URL(base_url)
        if address.scheme not in {"http", "https"} or not address.host:
            raise httpx2.InvalidURL(base_url)
        self._factory = httpcore2.AsyncConnectionPool(
            ssl_context=httpx2.create_ssl_context() if address.scheme == "https" else None,
            keepalive_expiry=IDLE_S,
            proxy=_proxy(address),
            network_backend=httpcore2.TrioBackend(),
        )
        self._extensions = {"timeout": {"connect": connect_s, "read": silence_s, "write": silence_s}}
        self._most_bytes = most_bytes
        self._places: dict[str, tuple[httpcore2.URL, tuple[bytes, bytes]]] = {}
        self.busy = 0
        self.idle: deque[httpcore2.AsyncConnectionInterface] = deque()

    async def send(self, url: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        """POST *body*, or GET without one, following no redirect."""
        place, host = self._place(url)
        fields = [host, *((name.encode(), value.encode()) for name, value in headers.items())]
        if body is not None:
            fields.append((b"content-length", b"%d" % len(body)))
        method = b"GET" if body is None else b"POST"
        request = httpcore2.Request(method, place, headers=fields, content=body, extensions=self._extensions)
        line = await self._free() or self._factory.create_connection(place.origin)
        self.busy += 1
        try:
            response = await line.handle_async_request(request)
            named = _named(response.headers)
            return Answer(response.status, named, self._unpacked(named, await self._read(response)))
        finally:
            self.busy -= 1
            if line.is_idle():
                self.idle.append(line)
            else:
                await _close(line)

    async def aclose(self) -> None:
        """Close the lines that nobody uses; those in use close when their calls are cancelled."""
        while self.idle:
            await _close(self.idle.pop())

    async def _free(self) -> httpcore2.AsyncConnectionInterface | None:
        """Return the line that was used last and still stands; the one longest idle may go meanwhile."""
        while self.idle:
            line = self.idle.pop()
            if not line.has_expired():
                if self.idle and self.idle[0].has_expired():
                    await _close(self.idle.popleft())
                return line
            await _close(line)
        return None

    async def _read(self, response: httpcore2.Response) -> bytes:
        body = bytearray()
        stream = cast("AsyncGenerator[bytes]", aiter(cast("AsyncIterable[bytes]", response.stream)))
        async with aclosing(stream):
            async for piece in stream:
                body += piece
                if len(body) > self._most_bytes:
                    raise Unusable(_TOO_LONG)
        await response.aclose()  # only then may its line be used again
        return bytes(body)

    def _unpacked(self, headers: Mapping[str, str], body: bytes) -> bytes:
        """Return *body* as it was meant; we ask for it plain, which some proxies overhear."""
        if headers.get("content-encoding", "identity") == "identity" or not body:
            return body
        unpacking = zlib.decompressobj(_GZIP_OR_ZLIB)
        try:
            plain = unpacking.decompress(body, self._most_bytes + 1)
        except zlib.error:
            raise Unusable("a body that does not decode") from None
        if len(plain) > self._most_bytes:
            raise Unusable(_TOO_LONG)
        return plain

    def _place(self, url: str) -> tuple[httpcore2.URL, tuple[bytes, bytes]]:
        """Return where *url* is for the library, and the header that names its host."""
        if (known := self._places.get(url)) is None:
            parsed = httpx2.URL(url)
            raw = httpcore2.URL(
                scheme=parsed.raw_scheme, host=parsed.raw_host, port=parsed.port, target=parsed.raw_path
            )
            known = self._places[url] = raw, (b"host", parsed.netloc)
        return known


def basic_auth(base_url: str) -> str:
    """Return the header for a name and password that are written in *base_url*, nothing without."""
    named = httpx2.URL(base_url).userinfo
    return f"Basic {base64.b64encode(named).decode()}" if named else ""


def _proxy(address: httpx2.URL) -> httpcore2.Proxy | None:
    """Return the proxy that the environment names for *address*, as other programs understand it."""
    proxies = getproxies()
    named = proxies.get(address.scheme) or proxies.get("all")
    if not named or proxy_bypass(address.host):
        return None
    proxy = httpx2.Proxy(named if "://" in named else f"http://{named}")
    url = httpcore2.URL(
        scheme=proxy.url.raw_scheme, host=proxy.url.raw_host, port=proxy.url.port, target=proxy.url.raw_path
    )
    return httpcore2.Proxy(url, auth=proxy.raw_auth)


def _named(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers}


async def _close(line: httpcore2.AsyncConnectionInterface) -> None:
    with trio.move_on_after(CLOSE_S, shield=True):
        await line.aclose()
