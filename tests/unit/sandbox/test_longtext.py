"""A text beyond one str behaves as the str would."""

import mmap

import pytest

from rlmd.sandbox import longtext
from rlmd.sandbox.longtext import LongText
from rlmd.sandbox.pages import Pages
from rlmd.sandbox.table import Row

WORDS = "".join(f"line {n} grün 😀 café\n" for n in range(400))


@pytest.fixture(params=["utf-8", "utf-16-le", "utf-16-be", "one line"])
def pair(request, monkeypatch):
    """The same text as a str and as a LongText, in blocks so small that it has many."""
    monkeypatch.setattr(longtext, "BLOCK_BYTES", 256)
    monkeypatch.setattr(longtext, "LOOK_BACK_BYTES", 64)
    encoding = "utf-8" if request.param == "one line" else request.param
    text = WORDS.replace("\n", " ") if request.param == "one line" else WORDS
    data = text.encode(encoding)
    mapped = mmap.mmap(-1, len(data) + 6)
    mapped[3 : 3 + len(data)] = data
    return text, LongText(Pages(mapped, 0, None), Row("a", 3, len(data), encoding))


def test_length_and_slices_are_those_of_the_str(pair):
    text, long = pair

    for key in [
        slice(0, 10),
        slice(300, 700),
        slice(-20, None),
        slice(5, -5, 7),
        slice(None, None, -1),
        slice(9, 3),
    ]:
        assert long[key] == text[key]
    assert [long[0], long[-1], long[1234]] == [text[0], text[-1], text[1234]]
    assert len(long) == len(text)
    with pytest.raises(IndexError):
        long[len(text)]


def test_lines_and_characters_are_those_of_the_str(pair):
    text, long = pair

    assert list(long.lines()) == text.splitlines()
    assert "".join(long) == text


@pytest.mark.parametrize("part", ["line 399", "grün 😀", "é", "nowhere", "7 grün 😀 café\nline 8 g"])
def test_what_is_found_is_where_the_str_has_it(pair, part):
    text, long = pair

    assert long.find(part) == text.find(part)
    assert long.find(part, 500) == text.find(part, 500)
    assert long.find(part, 0, 300) == text.find(part, 0, 300)
    assert (part in long) == (part in text)


def test_patterns_match_within_lines():
    data = WORDS.encode()
    mapped = mmap.mmap(-1, len(data))
    mapped[:] = data
    long = LongText(Pages(mapped, 0, None), Row("a", 0, len(data), "utf-8"))

    assert long.findall(r"line (\d+)") == [str(n) for n in range(400)]
    assert [at for at, _ in long.finditer("line 7 ")] == [WORDS.find("line 7 ")]
