from __future__ import annotations

import pytest

from rlmd.doors.framing import Framer, FrameTooLarge


def frames(framer: Framer) -> list[bytes]:
    return list(iter(framer.next_frame, None))


def test_lines_come_out_in_order_and_without_their_ends():
    framer = Framer(100)

    framer.feed(b'{"a":1}\n{"b":2}\r\n')

    assert frames(framer) == [b'{"a":1}', b'{"b":2}']


def test_empty_lines_are_no_frames():
    framer = Framer(100)

    framer.feed(b"\n \r\n\t\n{}\n\n")

    assert frames(framer) == [b"{}"]


def test_a_torn_line_waits_for_its_end():
    framer = Framer(100)
    framer.feed(b'{"a"')

    before = frames(framer)
    framer.feed(b":1}\n")

    assert (before, frames(framer)) == ([], [b'{"a":1}'])


def test_a_line_of_exactly_the_limit_passes():
    framer = Framer(10)

    framer.feed(b"x" * 10 + b"\n")

    assert frames(framer) == [b"x" * 10]


def test_a_line_over_the_limit_is_refused_before_it_ends():
    framer = Framer(10)

    framer.feed(b"x" * 11)

    with pytest.raises(FrameTooLarge):
        framer.next_frame()


def test_a_line_over_the_limit_that_came_whole_is_refused_after_the_frames_before_it():
    framer = Framer(10)
    framer.feed(b"ok\n" + b"x" * 11 + b"\nlater\n")

    first = framer.next_frame()

    assert first == b"ok"
    with pytest.raises(FrameTooLarge):
        framer.next_frame()
    with pytest.raises(FrameTooLarge):
        framer.next_frame()


def test_what_nothing_ended_is_handed_out_once_at_the_end():
    framer = Framer(100)
    framer.feed(b"{}\n{}")

    whole = frames(framer)

    assert (whole, framer.rest(), framer.rest()) == ([b"{}"], b"{}", None)
