"""How identifiers come apart, for what is stored and for what is asked."""

import time

import pytest

from rlmd.errors import BadArgument
from rlmd.memory.words import STOP_WORDS, humps, identifier_parts, require_text


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("parseURLPath", ["parse", "URL", "Path"]),
        ("HTTPServer", ["HTTP", "Server"]),
        ("camelCase", ["camel", "Case"]),
        ("utf8Decode", ["utf8", "Decode"]),
        ("plain", []),
        ("Plain", []),
        ("URL", []),
        ("snake_case", []),
        ("", []),
    ],
)
def test_humps(word, parts):
    assert humps(word) == parts


def test_parts_come_once_in_the_order_of_the_text():
    assert identifier_parts("readFile", "then writeFile, not read_file or FILE") == "read File write"


def test_text_without_humps_has_no_parts():
    assert identifier_parts("Notes about the URL. Then nothing") == ""


@pytest.mark.parametrize("text", ["a" * 65_536, "A" * 65_536, "aB" * 32_768, "a " * 32_768, "ABa" * 20_000])
def test_no_text_takes_long_to_split(text):
    started = time.perf_counter()

    identifier_parts(text)

    assert time.perf_counter() - started < 1


def test_stop_words_are_words():
    assert {"the", "of", "a", "yourselves"} <= STOP_WORDS
    assert all(word.isalpha() and word.islower() for word in STOP_WORDS)


def test_text_is_measured_in_characters_and_bounds_are_inclusive():
    require_text("t", "é" * 5, most=5)
    require_text("t", "", most=5, least=0)

    with pytest.raises(BadArgument, match="6 characters; it takes 1 to 5"):
        require_text("t", "é" * 6, most=5)
