from __future__ import annotations

import pytest

from rlmd.ingest.decode import Classifier, classify


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "utf-8"),
        (b"plain", "utf-8"),
        ("wörter".encode(), "utf-8"),
        ("\ufeffwörter".encode(), "utf-8-bom"),
        ("\ufeffwörter".encode("utf-16-le"), "utf-16-le"),
        ("\ufeffwörter".encode("utf-16-be"), "utf-16-be"),
        ("\ufeffa\0b".encode("utf-16-le"), None),
        ("wörter".encode("latin-1"), "unknown-8bit"),
        ("\ufeff".encode() + b"\xff", "unknown-8bit"),
        ("ö".encode()[:1], "unknown-8bit"),
        (b"text" * 300_000 + b"\0", None),
        (b"\xff" + b"text" * 300_000 + b"\0", None),
        ("wörter".encode("utf-16-le"), None),
    ],
)
def test_content_decides_what_a_file_is(data, expected):
    assert classify(data) == expected


@pytest.mark.parametrize("text", ["wörter 漢字 😀", "\ufeffwörter 😀"])
@pytest.mark.parametrize("cut", range(3, 12))
def test_pieces_say_the_same_as_the_whole(text, cut):
    data = text.encode()
    classifier = Classifier()

    assert classifier.feed(data[:cut])
    assert classifier.feed(data[cut:])

    assert classifier.encoding() == classify(data)
