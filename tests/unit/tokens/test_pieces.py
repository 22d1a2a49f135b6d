"""Long texts are cut into pieces that are bounded and lose nothing."""

from __future__ import annotations

import pytest

from rlmd.tokens.pieces import LONGEST_PIECE, cut


def test_a_text_that_fits_is_one_piece_even_if_it_comes_in_parts():
    assert list(cut(["one ", "two ", "three"])) == ["one two three"]


def test_a_text_without_characters_is_one_empty_piece():
    assert list(cut([])) == [""]


def test_a_long_text_is_cut_at_the_first_harmless_place_after_the_least_length():
    assert list(cut(["first words and more"], least=7, longest=12)) == ["first words", " and more"]


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("aaaa bbbb", ["aaaa", " bbbb"]),
        ("aaaa\tbbbb", ["aaaa", "\tbbbb"]),
        ("aaa\nbbbbb", ["aaa\n", "bbbbb"]),
        ("====1===", ["====", "1==="]),
        ("漢字漢、漢", ["漢字漢", "、漢"]),
    ],
)
def test_each_kind_of_harmless_place_is_used(text, pieces):
    assert list(cut([text], least=2, longest=len(text) - 1)) == pieces


@pytest.mark.parametrize("text", ["aaa\n/bbbb", "aaaa'bbbb", "    xxxxx", "aaaa\u00b2bbb", "=====/=/="])
def test_a_text_without_harmless_place_is_cut_at_the_longest_length(text):
    assert list(cut([text], least=2, longest=6)) == [text[:6], text[6:]]


def test_pieces_are_bounded_and_add_up_to_the_text():
    text = "word " * 500_000

    pieces = list(cut([text[:1_234_567], text[1_234_567:]]))

    assert "".join(pieces) == text
    assert max(map(len, pieces)) <= LONGEST_PIECE
