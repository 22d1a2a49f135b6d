"""A model server on loopback that misbehaves as told: real sockets, HTTP by h11, no mock anywhere."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial, wraps
from typing import Any

import h11
import pytest
import trio

from rlmd.llm.providers import OTHER, Endpoint, Provider
from rlmd.llm.values import Chat, Message, Upstream, UpstreamError
from rlmd.llm.wire import Wire

KEY = "sk-test-0123456789abcdefghijklmnop"
PATIENCE_S = 20
GONE = (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError, h11.LocalProtocolError)


def bounded(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Fail *test* where it hangs: nothing here takes that long."""

    @wraps(test)
    async def run(*args: Any, **kwargs: Any) -> None:
        with trio.fail_after(PATIENCE_S):
            await test(*args, **kwargs)

    return run


def chat_of(text: str = "hello", **changes: Any) -> Chat:
    return Chat(messages=(Message("user", text),), model=changes.pop("model", "m"), **changes)


def reply_body(text: str | None = "hello", *, reason: str | None = "stop", **changes: Any) -> dict[str, Any]:
    choice = {"index": 0, "finish_reason": reason, "message": {"role": "assistant", "content": text}}
    usage = {"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 11}
    return {
        "id": "c1",
        "object": "chat.completion",
        "model": "m",
        "choices": [choice],
        "usage": usage,
        **changes,
    }


@dataclass(frozen=True)
class Asked:
    """One request, as it came over the wire."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]


@dataclass
class Talk:
    """The server's side of one request."""

    stream: trio.SocketStream
    http: h11.Connection

    async def json(
        self, payload: object, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        await self.head(status, {"content-length": str(len(body)), **(headers or {})})
        await self.say(body)
        await self.end()

    async def head(self, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        pairs = {"content-type": "application/json", **(headers or {})}
        await self._send(h11.Response(status_code=status, headers=list(pairs.items())))

    async def say(self, data: bytes) -> None:
        await self._send(h11.Data(data=data))

    async def end(self) -> None:
        await self._send(h11.EndOfMessage())

    async def tear(self) -> None:
        """Close without a word more."""
        await trio.aclose_forcefully(self.stream)

    async def _send(self, event: h11.Event) -> None:
        await self.stream.send_all(self.http.send(event) or b"")


Handler = Callable[[Asked, Talk], Awaitable[None]]


@dataclass
class FakeProvider:
    """Serves by `handler`, remembers what was asked, and when clients hung up in the middle of it."""

    handler: Handler
    base_url: str = ""
    asked: list[Asked] = field(default_factory=list)
    hung_up_at: list[float] = field(default_factory=list)
    connections: int = 0
    working: int = 0

    async def serve(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        http = h11.Connection(h11.SERVER)
        with suppress(*GONE):
            async with stream:
                while (asked := await _next_request(stream, http)) is not None:
                    self.asked.append(asked)
                    await self._answer(asked, Talk(stream, http))
                    if http.our_state is not h11.DONE or http.their_state is not h11.DONE:
                        return
                    http.start_next_cycle()

    async def _answer(self, asked: Asked, talk: Talk) -> None:
        """Run the handler until it ends or the client goes away."""
        self.working += 1
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch, talk.stream, nursery.cancel_scope)
                await self.handler(asked, talk)
                nursery.cancel_scope.cancel()
        except* GONE:
            pass
        finally:
            self.working -= 1

    async def _watch(self, stream: trio.SocketStream, scope: trio.CancelScope) -> None:
        with suppress(*GONE):
            if await stream.receive_some(1) != b"":
                raise AssertionError("a client spoke before it was answered")
        self.hung_up_at.append(trio.current_time())
        scope.cancel()


@asynccontextmanager
async def open_provider(handler: Handler) -> AsyncIterator[FakeProvider]:
    provider = FakeProvider(handler)
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, provider.serve, 0, host="127.0.0.1"))
        provider.base_url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}/v1"
        yield provider
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def open_wire(
    handler: Handler, *, provider: Provider = OTHER, stream: bool = False, **limits: Any
) -> AsyncIterator[tuple[Wire, FakeProvider]]:
    """Open a wire to a fake that behaves by *handler*."""
    async with open_provider(handler) as fake:
        endpoint = Endpoint(
            provider=provider, base_url=fake.base_url, key=KEY, key_origin="test", model="m", stream=stream
        )
        wire = Wire(endpoint, **limits)
        try:
            yield wire, fake
        finally:
            await wire.aclose()


async def failure_of(wire: Upstream, chat: Chat | None = None) -> UpstreamError:
    """Return how a call fails."""
    with pytest.raises(UpstreamError) as caught:
        await wire.complete(chat or chat_of())
    return caught.value


async def _next_request(stream: trio.SocketStream, http: h11.Connection) -> Asked | None:
    request: h11.Request | None = None
    body = bytearray()
    while True:
        match http.next_event():
            case h11.NEED_DATA:
                http.receive_data(await stream.receive_some(65_536))
            case h11.Request() as request:
                pass
            case h11.Data() as piece:
                body += piece.data
            case h11.EndOfMessage() if request is not None:
                headers = {name.decode(): value.decode() for name, value in request.headers}
                path = request.target.decode()
                return Asked(request.method.decode(), path, headers, json.loads(body or b"{}"))
            case _:
                return None
