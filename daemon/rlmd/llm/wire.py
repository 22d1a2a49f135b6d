"""The one place that knows the model SDK and its HTTP library; importing it costs a second.

Their exceptions become ours here, once.  Ours never carry theirs as a cause: those hold the
request, and with it the key.
"""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urljoin

import httpx2
import openai
import trio

from rlmd import __version__
from rlmd.llm.bodies import ServedModel, read_models, read_reply, read_window, request_body
from rlmd.llm.dialects import refusal
from rlmd.llm.headers import rate_info
from rlmd.llm.prices import Prices, load_prices
from rlmd.llm.providers import Endpoint
from rlmd.llm.values import Chat, FailureKind, RateInfo, Reply, UpstreamError

if TYPE_CHECKING:
    from httpx2._client import UseClientDefault  # only the names of a method that we override
    from httpx2._types import AuthTypes

CONNECTIONS = 100
CONNECT_S = 5.0
SILENCE_S = 120.0
IDLE_S = 30.0
CLOSE_S = 2.0
LISTING_S = 3.0
MOST_REPLY_BYTES = 32 << 20
NAMED_MODELS = 20

_SENT_HEADERS = {"host", "accept", "connection", "content-type", "content-length", "transfer-encoding"}
_OPENAI_HEADERS = {"openai-organization", "openai-project"}
_SHORTEST_REDACTED = 8


class Wire:
    """One endpoint over one pool of connections, which lives until `aclose`."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        connections: int = CONNECTIONS,
        connect_s: float = CONNECT_S,
        silence_s: float = SILENCE_S,
        most_reply_bytes: int = MOST_REPLY_BYTES,
        transport: httpx2.AsyncBaseTransport | None = None,
        prices: Prices | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Blocks for some 50 ms: certificates are read.  *silence_s* bounds each wait for bytes."""
        timeout = httpx2.Timeout(silence_s, connect=connect_s, pool=None)
        self._endpoint = endpoint
        self._now = now
        self._prices = prices or load_prices()
        self.http = _Http(
            endpoint,
            most_reply_bytes,
            limits=httpx2.Limits(
                max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=IDLE_S
            ),
            timeout=timeout,
            transport=transport,
        )
        self._sdk = openai.AsyncOpenAI(
            base_url=endpoint.base_url,
            api_key=endpoint.key or "none",
            http_client=self.http,
            timeout=timeout,
            max_retries=0,
        )

    @property
    def name(self) -> str:
        """The address, without what may be secret in it."""
        return self._endpoint.name

    async def complete(self, chat: Chat) -> tuple[Reply, RateInfo]:
        """Answer *chat* once; a reply that is not whole is raised as the UpstreamError that it is.

        Cancelling closes the connection.  Where the model does not exist, the hint names those that do.
        """
        body = request_body(chat, self._endpoint.provider, stream=self._endpoint.stream)
        try:
            response = await self._request("/chat/completions", body)
        except UpstreamError as error:
            if error.kind == "not_found":
                await self._name_models(error, chat.model)
            raise
        now = self._now()
        reply = read_reply(response.content, chat, response.headers, now=now)
        if reply.usage.usd is None:
            usd = self._prices.usd(self._endpoint.provider.name, chat.model, reply.usage)
            reply = replace(reply, usage=replace(reply.usage, usd=usd))
        return reply, rate_info(response.headers, now=now)

    async def models(self) -> tuple[ServedModel, ...]:
        """Return the models that the server lists; raises UpstreamError."""
        return read_models((await self._request("/models")).content)

    async def window(self, model: str) -> int | None:
        """Return the window that *model* runs with, where the server is of a kind that tells."""
        path = self._endpoint.provider.window_path
        if not path:
            return None
        response = await self._request(urljoin(self._endpoint.base_url, path))
        return read_window(response.content, model)

    async def aclose(self) -> None:
        """Close every connection, within two seconds even when cancelled."""
        with trio.move_on_after(CLOSE_S, shield=True):
            await self._sdk.close()

    async def _request(self, path: str, body: Mapping[str, object] | None = None) -> httpx2.Response:
        """Send one request, POST if it has a *body*, and return its whole response; map what fails."""
        try:
            if body is None:
                return await self._sdk.get(path, cast_to=httpx2.Response)
            return await self._sdk.post(path, cast_to=httpx2.Response, body=body)
        except openai.APIStatusError as exc:
            answer = exc.response
            error = refusal(answer.status_code, answer.headers, answer.content, now=self._now())
        except openai.APIConnectionError as exc:
            error = self._lost(exc.__cause__)
        except httpx2.InvalidURL:
            error = UpstreamError("bad_request", "llm.base_url is no address that can be reached.")
        raise error from None  # the SDK's error holds the request, and so the key

    def _lost(self, cause: BaseException | None) -> UpstreamError:
        """Return what it means that no whole response came."""
        kind: FailureKind
        match cause:
            case _TooLong():
                kind, what = "malformed", "sent more than a reply may have"
            case httpx2.DecodingError():
                kind, what = "malformed", "sent a body that does not decode"
            case httpx2.ConnectTimeout():
                kind, what = "connect", "did not accept a connection in time"
            case httpx2.TimeoutException():
                kind, what = "timeout", "was silent for too long"
            case httpx2.ConnectError():
                kind, what = "connect", f"cannot be reached: {cause}"
            case httpx2.UnsupportedProtocol() | httpx2.LocalProtocolError():
                kind, what = "bad_request", f"cannot be asked: {type(cause).__name__}"
            case _:
                kind, what = "connect", f"broke the connection: {cause or type(cause).__name__}"
        return UpstreamError(kind, f"{self.name} {what}.")

    async def _name_models(self, error: UpstreamError, model: str) -> None:
        """Add the models that there are to *error*, the nearest first; without them it stands as it is."""
        names: list[str] = []
        with trio.move_on_after(LISTING_S):
            try:
                names = [each.id for each in await self.models()]
            except UpstreamError:
                return
        if names and model not in names:
            nearest = difflib.get_close_matches(model, names, n=NAMED_MODELS, cutoff=0.3)
            shown = [*nearest, *(name for name in names if name not in nearest)][:NAMED_MODELS]
            more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
            error.hint = f"Set llm.model to one that it has: {', '.join(shown)}{more}."


class _TooLong(httpx2.RequestError):
    """A body went over its bound; one of the library's errors, so that the SDK passes it on as such."""


class _Http(httpx2.AsyncClient):
    """Sends only headers that are meant for the endpoint, and reads bodies whole, up to a bound.

    The SDK adds headers of its own, and more from variables that were set for another endpoint.
    Redirects are not followed: a prompt goes where somebody said, and nowhere else.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        most_reply_bytes: int,
        *,
        limits: httpx2.Limits,
        timeout: httpx2.Timeout,
        transport: httpx2.AsyncBaseTransport | None,
    ) -> None:
        super().__init__(limits=limits, timeout=timeout, transport=transport)
        self._endpoint = endpoint
        self._most_bytes = most_reply_bytes
        self._sent = _SENT_HEADERS | (_OPENAI_HEADERS if endpoint.provider.name == "openai" else set())

    async def send(
        self,
        request: httpx2.Request,
        *,
        stream: bool = False,  # noqa: ARG002  # the signature is the library's; bodies are always read whole
        auth: AuthTypes | UseClientDefault | None = httpx2.USE_CLIENT_DEFAULT,
        follow_redirects: bool | UseClientDefault = False,  # noqa: ARG002  # never
    ) -> httpx2.Response:
        """Send *request* and return its response, body included and without our key in it."""
        self._address(request)
        response = await super().send(request, stream=True, auth=auth, follow_redirects=False)
        body = await self._read(response)
        headers = [pair for pair in response.headers.multi_items() if not pair[0].startswith("content-")]
        return httpx2.Response(
            response.status_code, headers=headers, content=self._redacted(body), request=request
        )

    async def _read(self, response: httpx2.Response) -> bytes:
        """Read the whole body of *response* and release its connection; raise what cuts it short."""
        body = bytearray()
        try:
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) > self._most_bytes:
                    # Not left by `break`: a closed connection ends the library's nested generators in order.
                    await response.aclose()
        except (httpx2.RequestError, httpx2.StreamError, trio.ClosedResourceError):
            if len(body) <= self._most_bytes:
                raise
        finally:
            await response.aclose()
        if len(body) > self._most_bytes:
            raise _TooLong("the body is too long")
        return bytes(body)

    def _address(self, request: httpx2.Request) -> None:
        for name in request.headers.keys() - self._sent:
            del request.headers[name]
        request.headers["user-agent"] = f"rlmd/{__version__}"
        request.headers["accept-encoding"] = "identity"
        if key := self._endpoint.key:
            request.headers["authorization"] = f"Bearer {key}"
            if self._endpoint.provider.name == "anthropic" and request.method == "GET":
                request.headers.update({"x-api-key": key, "anthropic-version": "2023-06-01"})

    def _redacted(self, body: bytes) -> bytes:
        """Take our key out of what a server repeats, as it is or as JSON may write it."""
        key = self._endpoint.key
        if len(key) < _SHORTEST_REDACTED:
            return body
        for form in {key, key.replace("/", "\\/")}:
            body = body.replace(form.encode(), b"***")
        return body
