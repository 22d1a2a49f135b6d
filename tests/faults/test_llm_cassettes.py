"""A recorded conversation plays back the same, offline, and holds no key."""

from __future__ import annotations

import base64
import json

import pytest
import trio

from cassettes import Player, Recorder, UnexpectedRequest
from fake_provider import KEY, Asked, Talk, chat_of, open_wire, reply_body
from rlmd.llm.lines import Lines
from rlmd.llm.providers import OTHER, Endpoint
from rlmd.llm.values import UpstreamError
from rlmd.llm.wire import Wire


async def conversation(wire: Wire) -> list[object]:
    heard: list[object] = []
    for text in ("one", "two"):
        try:
            heard.append(await wire.complete(chat_of(text)))
        except UpstreamError as error:
            heard.append((error.kind, error.message, error.retry_after_s))
    return heard


async def handler(asked: Asked, talk: Talk) -> None:
    if asked.body["messages"][0]["content"] == "two":
        await talk.json({"error": {"message": f"slow down, {KEY}"}}, 429, {"retry-after": "3"})
    else:
        await talk.json(
            reply_body("first"), headers={"x-ratelimit-limit-requests": "9", "set-cookie": "id=1"}
        )


def lines() -> Lines:
    return Lines("http://127.0.0.1", connect_s=5, silence_s=5, most_bytes=1 << 20)


def playing(path) -> tuple[Wire, Player]:
    player = Player(path)
    endpoint = Endpoint(provider=OTHER, base_url="http://127.0.0.1:1/v1", key=KEY, model="m")
    return Wire(endpoint, lines=player), player


async def test_what_was_recorded_plays_back_the_same_without_a_server(tmp_path):
    tape = tmp_path / "tape.jsonl"
    with trio.fail_after(10):
        async with open_wire(handler, lines=Recorder(tape, lines())) as (wire, _):
            live = await conversation(wire)
        replay, player = playing(tape)
        again = await conversation(replay)
        await replay.aclose()

    assert again == live
    assert live[1] == ("rate_limited", "429: slow down, ***", 3)
    assert player.left == []
    kept = [json.loads(line) for line in tape.read_text().splitlines()]
    told = tape.read_text() + str([base64.b64decode(each["body"]) for each in kept])
    assert not [word for word in ("authorization", "cookie", KEY) if word in told]


async def test_another_question_than_the_recorded_one_fails_with_both(tmp_path):
    tape = tmp_path / "tape.jsonl"
    with trio.fail_after(10):
        async with open_wire(handler, lines=Recorder(tape, lines())) as (wire, _):
            await wire.complete(chat_of("one"))
        replay, _ = playing(tape)
        with pytest.raises(UnexpectedRequest, match=r"other.*one"):
            await replay.complete(chat_of("other"))
        await replay.aclose()
