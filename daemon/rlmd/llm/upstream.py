"""The upstream of an endpoint, opened when it is first asked."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import trio

from rlmd.llm.bodies import ServedModel
from rlmd.llm.command import CommandUpstream
from rlmd.llm.providers import Endpoint
from rlmd.llm.values import Chat, RateInfo, Reply, UpstreamError

if TYPE_CHECKING:
    from rlmd.llm.wire import Wire


class HttpUpstream:
    """A server, asked through `llm.wire`, which the first call imports in a thread."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._opening = trio.Lock()
        self._wire: Wire | None = None

    @property
    def name(self) -> str:
        """The address, without what may be secret in it."""
        return self.endpoint.name

    async def complete(self, chat: Chat) -> tuple[Reply, RateInfo]:
        """Answer *chat* once, as `Wire.complete` does."""
        return await (await self._opened()).complete(chat)

    async def models(self) -> tuple[ServedModel, ...]:
        """Return the models that the server lists; raises UpstreamError."""
        return await (await self._opened()).models()

    async def settle(self) -> Endpoint:
        """Return the endpoint with a model, and with its window if the server tells it.

        Asks the server only for what settings, environment and our table leave open.  Raises
        UpstreamError where no model can be named.
        """
        endpoint = self.endpoint
        if endpoint.model and endpoint.window_tokens:
            return endpoint
        listed = await self._listed()
        model = endpoint.model or (listed[0].id if listed else "")
        if not model:
            raise UpstreamError(
                "not_found", f"{self.name} lists no model.", hint="Set llm.model to the model to ask."
            )
        window = endpoint.window_tokens or await self._window(model)
        window = window or next((each.window_tokens for each in listed if each.id == model), None)
        window = window or endpoint.provider.window_tokens
        sub_model = endpoint.sub_model or model
        self.endpoint = replace(endpoint, model=model, sub_model=sub_model, window_tokens=window)
        return self.endpoint

    async def aclose(self) -> None:
        """Close every connection, if there ever was one; a later call opens new ones."""
        wire, self._wire = self._wire, None
        if wire is not None:
            await wire.aclose()

    async def _opened(self) -> Wire:
        async with self._opening:
            if self._wire is None:
                self._wire = await trio.to_thread.run_sync(_open, self.endpoint, abandon_on_cancel=True)
            return self._wire

    async def _listed(self) -> tuple[ServedModel, ...]:
        """Return the listing; a server without one has to be told its model, and that is enough."""
        try:
            return await self.models()
        except UpstreamError:
            if self.endpoint.model:
                return ()
            raise

    async def _window(self, model: str) -> int | None:
        try:
            return await (await self._opened()).window(model)
        except UpstreamError:
            return None


def open_upstream(endpoint: Endpoint) -> HttpUpstream | CommandUpstream:
    """Return what answers for *endpoint*; nothing is started or connected yet."""
    return CommandUpstream(endpoint) if endpoint.command else HttpUpstream(endpoint)


def _open(endpoint: Endpoint) -> Wire:
    from rlmd.llm.wire import Wire  # noqa: PLC0415  # a second of imports that only a first call needs

    return Wire(endpoint)
