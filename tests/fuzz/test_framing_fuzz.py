from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rlmd.doors.framing import Framer, FrameTooLarge

LIMIT_BYTES = 12
pieces = st.lists(
    st.one_of(st.binary(max_size=30), st.sampled_from([b"\n", b"\r\n", b"{}\n", b" "])), max_size=12
)


def outcome(chunks: list[bytes]) -> tuple[list[bytes], bool, bytes | None]:
    """Return the frames of a stream, whether it was refused, and its unended rest."""
    framer = Framer(LIMIT_BYTES)
    found: list[bytes] = []
    try:
        for chunk in chunks:
            framer.feed(chunk)
            found += iter(framer.next_frame, None)
    except FrameTooLarge:
        return found, True, None
    return found, False, framer.rest()


def by_hand(stream: bytes) -> tuple[list[bytes], bool, bytes | None]:
    """Say the same by splitting the whole stream at once."""
    *lines, last = stream.split(b"\n")
    found: list[bytes] = []
    for line in lines:
        if len(line) > LIMIT_BYTES:
            return found, True, None
        if line.strip():
            found.append(line.strip())
    refused = len(last) > LIMIT_BYTES
    return found, refused, None if refused else last.strip() or None


@given(pieces)
def test_any_chunking_gives_the_frames_of_the_whole_stream(chunks: list[bytes]):
    stream = b"".join(chunks)

    expected = by_hand(stream)

    assert outcome(chunks) == expected
    assert outcome([stream]) == expected
    assert outcome([stream[i : i + 1] for i in range(len(stream))]) == expected
