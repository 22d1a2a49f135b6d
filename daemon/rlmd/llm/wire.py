"""One endpoint on the wire: our JSON over its connections, and what became of each call, in our words.

Foreign exceptions become ours here, once.  Ours never carry theirs as a cause: those hold the
request, and with it the key.
"""

from __future__ import annotations

import difflib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from urllib.parse import urljoin

import httpcore2
import httpx2
import trio

from rlmd import __version__
from rlmd.llm.bodies import ServedModel, read_models, read_reply, read_window, request_body
from rlmd.llm.dialects import refusal
from rlmd.llm.headers import rate_info
from rlmd.llm.lines import Answer, Exchange, Lines, Unusable, basic_auth
from rlmd.llm.prices import Prices, load_prices
from rlmd.llm.providers import Endpoint
from rlmd.llm.values import Chat, FailureKind, RateInfo, Reply, UpstreamError

CONNECT_S = 5.0
SILENCE_S = 120.0
CLOSE_S = 2.0
LISTING_S = 3.0
MOST_REPLY_BYTES = 32 << 20
NAMED_MODELS = 20

_ANSWERED = range(200, 300)
_SHORTEST_REDACTED = 8
_LOSSES = (
    httpcore2.ConnectionNotAvailable,
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.ProxyError,
    httpcore2.TimeoutException,
)


class Wire:
    """One endpoint over one pool of connections, which lives until `aclose`."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        connect_s: float = CONNECT_S,
        silence_s: float = SILENCE_S,
        most_reply_bytes: int = MOST_REPLY_BYTES,
        lines: Exchange | None = None,
        prices: Prices | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Blocks for some 50 ms: certificates are read.  *silence_s* bounds each wait for bytes.

        Raises UpstreamError for an address that is none.
        """
        self._endpoint = endpoint
        self._now = now
        self._prices = prices or load_prices()
        try:
            self.lines: Exchange = lines or Lines(
                endpoint.base_url, connect_s=connect_s, silence_s=silence_s, most_bytes=most_reply_bytes
            )
            self._getting, self._posting = _headers(endpoint, asks=False), _headers(endpoint, asks=True)
        except httpx2.InvalidURL:
            raise UpstreamError("bad_request", "llm.base_url is no address that can be reached.") from None

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
        reply = read_reply(response.body, chat, response.headers, now=now)
        if reply.usage.usd is None:
            usd = self._prices.usd(self._endpoint.provider.name, chat.model, reply.usage)
            reply = replace(reply, usage=replace(reply.usage, usd=usd))
        return reply, rate_info(response.headers, now=now)

    async def models(self) -> tuple[ServedModel, ...]:
        """Return the models that the server lists; raises UpstreamError."""
        return read_models((await self._request("/models")).body)

    async def window(self, model: str) -> int | None:
        """Return the window that *model* runs with, where the server is of a kind that tells."""
        path = self._endpoint.provider.window_path
        if not path:
            return None
        response = await self._request(urljoin(self._endpoint.base_url, path))
        return read_window(response.body, model)

    async def aclose(self) -> None:
        """Close every connection, within two seconds even when cancelled."""
        with trio.move_on_after(CLOSE_S, shield=True):
            await self.lines.aclose()

    async def _request(self, path: str, body: Mapping[str, object] | None = None) -> Answer:
        """Send one request, POST if it has a *body*, and return its whole answer; map what fails.

        A *path* is below the endpoint's address, unless it is an address itself.
        """
        url = path if "://" in path else f"{self._endpoint.base_url.rstrip('/')}{path}"
        sent = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        headers = self._posting if sent is not None else self._getting
        try:
            answer = await self.lines.send(url, headers, sent)
        except (Unusable, *_LOSSES) as lost:
            error = self._lost(lost)
        else:
            answer = answer._replace(body=self._redacted(answer.body))
            if answer.status in _ANSWERED:
                return answer
            error = refusal(answer.status, answer.headers, answer.body, now=self._now())
        raise error from None  # theirs holds the request, and so the key

    def _lost(self, cause: Exception) -> UpstreamError:
        """Return what it means that no whole response came."""
        kind: FailureKind
        match cause:
            case Unusable():
                kind, what = "malformed", f"sent {cause}"
            case httpcore2.ConnectTimeout():
                kind, what = "connect", "did not accept a connection in time"
            case httpcore2.TimeoutException():
                kind, what = "timeout", "was silent for too long"
            case httpcore2.ConnectError():
                kind, what = "connect", f"cannot be reached: {cause}"
            case httpcore2.LocalProtocolError():
                kind, what = "bad_request", f"cannot be asked: {type(cause).__name__}"
            case _:
                kind, what = "connect", f"broke the connection: {str(cause) or type(cause).__name__}"
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

    def _redacted(self, body: bytes) -> bytes:
        """Take our key out of what a server repeats, as it is or as JSON may write it."""
        key = self._endpoint.key
        if len(key) < _SHORTEST_REDACTED:
            return body
        for form in {key, key.replace("/", "\\/")}:
            body = body.replace(form.encode(), b"***")
        return body


def _headers(endpoint: Endpoint, *, asks: bool) -> dict[str, str]:
    """Return the headers of a call, or of a listing: only what is meant for this endpoint."""
    headers = {
        "user-agent": f"rlmd/{__version__}",
        "accept": "application/json",
        "accept-encoding": "identity",
    }
    if auth := f"Bearer {endpoint.key}" if endpoint.key else basic_auth(endpoint.base_url):
        headers["authorization"] = auth
    if asks:
        return headers | {"content-type": "application/json"}
    if endpoint.key and endpoint.provider.name == "anthropic":
        headers |= {"x-api-key": endpoint.key, "anthropic-version": "2023-06-01"}
    return headers
