"""Whatever a confined process sends: frames, or our one error, at once and without growth."""

from __future__ import annotations

import random
import resource
import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlmd.sandbox.outcome import Violation, read_report
from rlmd.sandbox.wire import Frame, Frames, Op, WireError, encode

LIMIT = 1 << 20
LONGEST_STALL_S = 0.010


def swallow(data: bytes) -> list[Frame]:
    frames, found = Frames(LIMIT), []
    frames.feed(data)
    try:
        while (frame := frames.take()) is not None:
            found.append(frame)
    except WireError:
        pass
    return found


def report(frame: Frame) -> None:
    with suppress(Violation):
        read_report(frame.parts, output_chars=1000)


@given(st.binary(max_size=300))
def test_any_bytes_are_frames_or_our_error(data):
    for frame in swallow(data):
        report(frame)


@given(st.lists(st.text(max_size=20), max_size=20))
def test_any_parts_are_a_report_or_our_error(parts):
    report(Frame(Op.DONE, 1, 0, tuple(parts)))


def test_mutated_frames_are_frames_or_our_error():
    mutate(20_000)


@pytest.mark.slow
def test_a_million_mutated_frames_are_frames_or_our_error():
    mutate(1_000_000)


def mutate(rounds: int) -> None:
    rng = random.Random(4)
    seeds = [
        encode(Op.DONE, 1, 0, ["out", "3", "", "json", '{"a": [1, 2]}', "1", "x", "int", "0"]),
        encode(Op.DONE, 1, 0, ["out", "3", "", "text", "answer", "0", "lines", "a.py", "1", "2"]),
        encode(Op.LLM_QUERY, 1, 1, ["", "prompt " * 20]),
        encode(Op.SEARCH, 1, 2, ["query", "10", "a", "b"]) + encode(Op.BUDGET, 1, 3),
    ]
    slow: list[float] = []
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(rounds):
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.randrange(1, 5)):
            at = rng.randrange(len(data))
            match rng.randrange(4):
                case 0:
                    data[at] = rng.randrange(256)
                case 1:
                    data[at] ^= 1 << rng.randrange(8)
                case 2:
                    del data[at : at + rng.randrange(1, 9)]
                case _:
                    data[at:at] = rng.randbytes(rng.randrange(1, 9))
            if not data:
                break
        began = time.thread_time()  # of this thread: others' work is no stall of ours
        for frame in swallow(bytes(data)):
            report(frame)
        if (took := time.thread_time() - began) > LONGEST_STALL_S:
            slow.append(took)
    grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb
    assert slow == []
    assert grown_kb < 32 << 10
