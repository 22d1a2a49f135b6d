import pytest

from rlmd.sandbox.wire import HEAD, Frame, Frames, Op, WireError, encode

LIMIT = 10_000


def taken(*pieces, limit=LIMIT):
    frames, found = Frames(limit), []
    for piece in pieces:
        frames.feed(piece)
        while (frame := frames.take()) is not None:
            found.append(frame)
    return found


def test_a_frame_comes_out_as_it_went_in():
    assert taken(encode(Op.DONE, 7, 3, ["a", "", "ü😀"])) == [Frame(Op.DONE, 7, 3, ("a", "", "ü😀"))]


def test_frames_may_come_in_any_pieces():
    stream = encode(1, 1, 1, ["one"]) + encode(2, 2, 2) + encode(3, 3, 3, ["x" * 500])

    assert taken(*(stream[at : at + 1] for at in range(len(stream)))) == taken(stream)
    assert [frame.op for frame in taken(stream)] == [1, 2, 3]


def test_a_lone_surrogate_travels_as_a_question_mark():
    assert taken(encode(1, parts=["a\ud800b"]))[0].parts == ("a?b",)


def test_a_frame_over_the_limit_is_refused_before_it_is_read():
    frames = Frames(100)
    frames.feed(encode(1, parts=["x" * 200])[: HEAD.size])

    with pytest.raises(WireError, match="100 are allowed"):
        frames.take()


@pytest.mark.parametrize(
    "data",
    [
        bytes(4),
        HEAD.pack(11, 1, 1, 1, 5),
        HEAD.pack(11 + 4, 1, 1, 1, 1) + b"\xff\xff\xff\xff",
        HEAD.pack(11 + 4 + 1, 1, 1, 1, 1) + b"\0\0\0\1\xff",
        HEAD.pack(11 + 1, 1, 1, 1, 0) + b"x",
    ],
    ids=["no size", "more parts than bytes", "a part too long", "not utf-8", "bytes left over"],
)
def test_what_is_no_frame_is_our_error(data):
    with pytest.raises(WireError):
        taken(data)


def test_more_parts_than_can_be_named_are_refused():
    with pytest.raises(WireError):
        encode(1, parts=[""] * 70_000)


def test_nothing_is_left_over_after_whole_frames():
    frames = Frames(LIMIT)
    frames.feed(encode(1))
    assert not frames.is_empty

    frames.take()

    assert frames.is_empty
