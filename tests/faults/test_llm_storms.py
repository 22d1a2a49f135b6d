"""The whole caller over the wire against a server that refuses, breaks and recovers."""

from __future__ import annotations

import pytest
import trio

from fake_provider import Asked, Talk, bounded, open_wire, reply_body
from llm_world import open_caller, question
from rlmd.llm.retry import Retry


async def settled_calls(handler, *, calls, luck=0.0, **limits):
    """Ask *calls* different questions at once through the whole caller; return texts and the server."""
    ends = []
    async with open_wire(handler) as (wire, fake), open_caller(wire, luck=luck, **limits) as box:

        async def ask(number: int) -> None:
            ends.append((await box.ask(question(f"q{number}", job=f"j{number % 5}"))).text)

        async with trio.open_nursery() as nursery:
            for number in range(calls):
                nursery.start_soon(ask, number)
    return ends, fake


@pytest.mark.parametrize("headers", [{}, {"retry-after-ms": "50"}])
@bounded
async def test_a_storm_of_429_is_sat_out_and_every_call_answered_and_paid_once(headers):
    refused, paid = [], []

    async def handler(asked: Asked, talk: Talk) -> None:
        if len(refused) < 60:
            refused.append(asked)
            await talk.json({"error": {"message": "slow down"}}, 429, headers)
        else:
            paid.append(asked.body["messages"][0]["content"])
            await talk.json(reply_body())

    ends, _ = await settled_calls(handler, calls=50, luck=0.02, retry=Retry(limit=10))

    assert ends == ["hello"] * 50
    assert sorted(paid) == sorted(f"q{number}" for number in range(50))


@bounded
async def test_a_flapping_server_is_asked_again_and_nothing_is_paid_twice():
    paid, turns = [], iter(range(1_000))

    async def handler(asked: Asked, talk: Talk) -> None:
        match next(turns) % 3:
            case 0:
                await talk.json({}, 500)
            case 1:
                await talk.tear()
            case _:
                paid.append(asked.body["messages"][0]["content"])
                await talk.json(reply_body())

    ends, _ = await settled_calls(
        handler, calls=20, luck=0.02, retry=Retry(limit=30), breaker_faults=1_000, start=4
    )

    assert ends == ["hello"] * 20
    assert sorted(paid) == sorted(f"q{number}" for number in range(20))
