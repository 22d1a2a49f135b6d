"""Counting spans of a pack, as it runs in the worker process."""

from __future__ import annotations

import time

import pytest

from rlmd.tokens.engines import Panicked
from rlmd.tokens.worker import PackTooShort, count, decoded, engine_for, token_count

ENGINES = pytest.mark.parametrize("choice", ["gigatoken", "tiktoken"])


@pytest.fixture
def pack(tmp_path):
    """Write blobs one after the other; return the path and where each lies."""

    def write(*blobs):
        path = tmp_path / "pack"
        path.write_bytes(b"".join(blobs))
        starts = [sum(map(len, blobs[:index])) for index in range(len(blobs))]
        return str(path), list(zip(starts, map(len, blobs), strict=True))

    return write


def tiktoken_count(text, encoding="o200k_base"):
    return len(engine_for(encoding, "tiktoken").encode(text))


@ENGINES
def test_counts_are_those_of_the_decoded_text_in_the_order_asked(pack, choice):
    text = "Grüße, 世界! <|endoftext|>\r\n"
    path, spans = pack(text.encode(), text.encode("utf-16-le"), b"", "\ufefflatin caf\xe9 \ufeff".encode())

    counted = count(
        path,
        [(*spans[3], "utf-8-bom"), (*spans[1], "utf-16-le"), (*spans[2], "utf-8"), (*spans[0], "utf-8")],
        "o200k_base",
        choice,
    )

    text_count = tiktoken_count(text)
    assert counted.counts == [tiktoken_count("\ufefflatin café \ufeff"), text_count, 0, text_count]
    assert counted.engine == choice


@pytest.mark.parametrize(
    ("blob", "encoding", "text"),
    [
        (b"a\xff\xfeb\xe4\xb8", "utf-8", "a\ufffd\ufffdb\ufffd"),
        (b"caf\xe9", "unknown-8bit", "caf\ufffd"),
        (b"\xef\xbb\xbfa", "utf-8-bom", "\ufeffa"),
        (b"\xff\xfea\x00", "utf-16-le", "a"),
        (b"\xfe\xff\x00a\xd8\x00", "utf-16-be", "a\ufffd"),
        (b"\r\n\r", "utf-8", "\r\n\r"),
    ],
)
def test_bytes_are_read_as_open_would_read_them(pack, blob, encoding, text):
    path, [(start, length)] = pack(blob)

    with open(path, "rb") as file:
        assert "".join(decoded(file.fileno(), (start, length, encoding))) == text


def test_a_character_across_two_reads_stays_whole(pack, monkeypatch):
    monkeypatch.setattr("rlmd.tokens.worker.READ_BYTES", 2)
    path, [(start, length)] = pack("añ世👍\ud83d".encode("utf-8", "surrogatepass"))

    with open(path, "rb") as file:
        assert "".join(decoded(file.fileno(), (start, length, "utf-8"))) == "añ世👍\ufffd\ufffd\ufffd"


def test_an_item_beyond_the_pack_is_an_error(pack):
    path, _ = pack(b"abc")

    with pytest.raises(PackTooShort):
        count(path, [(1, 5, "utf-8")], "o200k_base", "tiktoken")


def test_no_items_make_the_engine_ready_and_open_nothing():
    assert count("/nonexistent", [], "o200k_base", "gigatoken").counts == []


@pytest.mark.slow
@ENGINES
@pytest.mark.parametrize("run", ["a", " ", "="])
def test_a_megabyte_of_one_character_is_counted_in_bounded_time_without_panic(pack, choice, run):
    path, [span] = pack(run.encode() * 1_100_000 + b"x")
    engine_for("o200k_base", choice)

    started = time.perf_counter()
    counted = count(path, [(*span, "utf-8")], "o200k_base", choice)

    assert time.perf_counter() - started < 10
    assert counted.counts[0] > 0


def test_a_text_the_engine_panics_on_is_counted_in_smaller_pieces():
    def panics_beyond_two_thousand(text):
        if len(text) > 2000:
            raise Panicked
        return text.split()

    assert token_count(panics_beyond_two_thousand, "word " * 3000) == 3000


def test_a_panic_on_a_short_text_is_the_callers():
    def panics(text):
        raise Panicked

    with pytest.raises(Panicked):
        token_count(panics, "x" * 5000)
