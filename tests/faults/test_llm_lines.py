"""The connections under the wire: used again while they are whole, unpacked, through proxies."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace

import pytest

from fake_provider import Asked, Talk, bounded, chat_of, failure_of, open_provider, open_wire, reply_body
from rlmd.llm.providers import OTHER, Endpoint
from rlmd.llm.upstream import HttpUpstream
from rlmd.llm.wire import Wire


async def fine(_: Asked, talk: Talk) -> None:
    await talk.json(reply_body())


@bounded
async def test_lines_are_used_again_and_not_once_the_server_has_closed_them():
    async def handler(asked: Asked, talk: Talk) -> None:
        await talk.json(reply_body(), headers={"connection": "close"} if "last" in str(asked.body) else None)

    async with open_wire(handler) as (wire, fake):
        for text in ("one", "two", "the last", "three"):
            await wire.complete(chat_of(text))
        connections = fake.connections
        left = wire.lines.busy, len(wire.lines.idle)

    assert connections == 2
    assert left == (0, 1)


@bounded
async def test_a_body_packed_though_nobody_asked_is_unpacked_up_to_its_bound():
    bodies = [json.dumps(reply_body()).encode(), b" " * (1 << 22), b""]

    async def handler(_: Asked, talk: Talk) -> None:
        body = bodies.pop(0)
        await talk.json(gzip.compress(body) if body else b"nothing", headers={"content-encoding": "gzip"})

    async with open_wire(handler, most_reply_bytes=1 << 20) as (wire, _):
        reply, _ = await wire.complete(chat_of())
        too_long, damaged = await failure_of(wire), await failure_of(wire)

    assert reply.text == "hello"
    assert (too_long.kind, damaged.kind) == ("malformed", "malformed")
    assert "more than a reply may have" in too_long.message
    assert "does not decode" in damaged.message


@bounded
async def test_a_proxy_that_the_environment_names_is_used_and_others_are_left_out(monkeypatch):
    async with open_provider(fine) as proxy, open_wire(fine) as (direct, fake):
        monkeypatch.setenv("http_proxy", proxy.base_url.removesuffix("/v1"))
        endpoint = Endpoint(provider=OTHER, base_url="http://models.example/v1", model="m")
        monkeypatch.delenv("no_proxy", raising=False)
        through = Wire(endpoint)
        monkeypatch.setenv("no_proxy", "models.example")
        around = Wire(replace(endpoint, base_url=fake.base_url))
        await through.complete(chat_of())
        await direct.complete(chat_of())
        await through.aclose()
        await around.aclose()

    assert proxy.asked[0].headers["host"] == "models.example"
    assert len(fake.asked) == 1


@pytest.mark.parametrize(
    "address", ["http://\udcff", "ftp://models.example/v1", "models.example/v1", "http://"]
)
@bounded
async def test_what_is_no_address_is_told_so_and_nothing_is_tried(address):
    error = await failure_of(HttpUpstream(Endpoint(provider=OTHER, base_url=address, model="m")))

    assert (error.kind, error.retryable) == ("bad_request", False)
    assert "llm.base_url" in error.message


@bounded
async def test_a_name_and_password_in_the_address_are_sent_as_such():
    async with open_provider(fine) as fake:
        address = fake.base_url.replace("//", "//user:secret@")
        upstream = HttpUpstream(Endpoint(provider=OTHER, base_url=address, model="m"))
        await upstream.complete(chat_of())
        await upstream.aclose()

    assert fake.asked[0].headers["authorization"] == "Basic dXNlcjpzZWNyZXQ="
