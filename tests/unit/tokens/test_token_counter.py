"""The counter actor: what it sends to the worker process, in what portions, and what it says of it."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from rlmd.offload import open_offload
from rlmd.requests import Count
from rlmd.tokens.counter import token_counter
from rlmd.tokens.worker import Counted
from rlmd.values import Span


class Recorder:
    """An offload that counts bytes, and keeps what it was asked."""

    def __init__(self, engine="gigatoken", refusal=None):
        self.calls = []
        self.engine = engine
        self.refusal = refusal

    async def call(self, function, pack, items, encoding, choice, *, timeout_s):
        await trio.lowlevel.checkpoint()
        self.calls.append((function, pack, [length for _, length, _ in items], encoding, choice, timeout_s))
        return Counted([length for _, length, _ in items], self.engine, self.refusal)


def request(*lengths):
    return Count("/pack", [(Span(0, length), "utf-8") for length in lengths], "o200k_base")


async def test_counts_come_in_order_from_calls_of_bounded_bytes(autojump_clock):
    recorder = Recorder()

    async with token_counter(recorder, call_bytes=100, timeout_s=9)() as count:
        assert await count(request(60, 40, 1, 500, 99, 2)) == [60, 40, 1, 500, 99, 2]

    assert [lengths for _, _, lengths, *_ in recorder.calls] == [[60, 40], [1], [500], [99], [2]]
    assert recorder.calls[0] == ("rlmd.tokens.worker:count", "/pack", [60, 40], "o200k_base", "auto", 9)


async def test_a_request_without_items_makes_the_process_ready(autojump_clock):
    recorder = Recorder()

    async with token_counter(recorder)() as count:
        assert await count(request()) == []

    assert [lengths for _, _, lengths, *_ in recorder.calls] == [[]]


async def test_requests_side_by_side_take_turns(autojump_clock):
    recorder = Recorder()

    async with token_counter(recorder, call_bytes=1)() as count, trio.open_nursery() as nursery:
        nursery.start_soon(count, request(1, 1, 1))
        nursery.start_soon(count, request(2, 2, 2))

    sizes = [lengths[0] for _, _, lengths, *_ in recorder.calls]
    assert sorted(sizes[:2]) == sorted(sizes[2:4]) == sorted(sizes[4:]) == [1, 2]


async def test_the_engine_is_logged_once(autojump_clock, events):
    async with token_counter(Recorder(), call_bytes=1)() as count:
        await count(request(1, 1))
        await count(request(1))

    assert events == [
        {
            "event": "tokens.engine_chosen",
            "log_level": "info",
            "encoding": "o200k_base",
            "engine": "gigatoken",
        }
    ]


async def test_a_refused_engine_is_a_warning_with_its_reason(autojump_clock, events):
    async with token_counter(Recorder("tiktoken", "other ids"))() as count:
        await count(request(1))

    assert [(event["event"], event["log_level"], event["reason"]) for event in events] == [
        ("tokens.engine_refused", "warning", "other ids")
    ]


@pytest.mark.real_io
async def test_the_worker_process_counts_a_pack(tmp_path):
    pack = tmp_path / "pack"
    pack.write_bytes(b"hello worldtiktoken is great!")

    async with open_offload() as offload, token_counter(offload)() as count:
        with trio.fail_after(30):
            counts = await count(
                Count(str(pack), [(Span(11, 18), "utf-8"), (Span(0, 11), "utf-8")], "o200k_base")
            )

    assert counts == [6, 2]
