"""Counts are those of tiktoken: for real files, for any text, and however a text is cut."""

from __future__ import annotations

import os
import sysconfig
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rlmd.tokens.encodings import CL100K_BASE, read_ranks
from rlmd.tokens.engines import load_gigatoken, load_tiktoken
from rlmd.tokens.pieces import CUT, cut
from rlmd.tokens.worker import count, engine_for

NAMES = ["o200k_base", "cl100k_base"]
EACH = pytest.mark.parametrize("name", NAMES)
SPECIAL = [
    "<|endoftext|>",
    "<|fim_prefix|>",
    "<|endofprompt|>",
    "'s",
    "'LL",
    "'\u017f",
    "\r\n",
    "\n/",
    " /",
    "://",
    "¼½",
]
ODD = (
    " \t\n\r\x0b\x0c\x1c\x85\xa0\u2003\u2028\u3000/'\u2019.,;=-_(0179²Ⅷ٣aAzZéß"
    "\u017fǅʰ\u0301\u200d日本、。한👍🏽\ufeff\ufffd\U0010ffff"
)
TEXTS = st.lists(
    st.one_of(
        st.text(st.sampled_from(" \n/1a.'"), min_size=2),
        st.text(st.sampled_from(ODD)),
        st.sampled_from(SPECIAL),
        st.text(st.characters(exclude_categories=["Cs"])),
    )
).map("".join)


def ids(name, choice, text):
    return list(engine_for(name, choice).encode(text))


@EACH
@given(text=TEXTS)
@settings(deadline=None, max_examples=60)
def test_both_engines_give_the_same_ids_for_any_text(name, text):
    assert ids(name, "gigatoken", text) == ids(name, "tiktoken", text)


@EACH
@given(text=TEXTS)
@example(text="I don't a \n b\n/c\n d1.5;x'll y'LL. \n\n z \t\n/")
@settings(deadline=None, max_examples=100)
def test_cutting_at_every_harmless_place_changes_no_id(name, text):
    places = [0, *(found.start() for found in CUT.finditer(text)), len(text)]
    pieces = [text[start:end] for start, end in pairwise(places)]

    assert [id_ for piece in pieces for id_ in ids(name, "tiktoken", piece)] == ids(name, "tiktoken", text)


@pytest.mark.slow
@EACH
def test_files_of_the_standard_library_have_the_same_ids_with_both_engines(name):
    for path in standard_library()[::8][:200]:
        text = path.read_text("utf-8", errors="replace")

        assert ids(name, "gigatoken", text) == ids(name, "tiktoken", text), path


@EACH
def test_the_standard_library_cut_small_has_the_count_of_the_whole(name):
    text = "".join(path.read_text("utf-8", errors="replace") for path in standard_library()[::40])

    pieces = list(cut([text], least=200, longest=5000))

    assert sum(len(ids(name, "gigatoken", piece)) for piece in pieces) == len(ids(name, "gigatoken", text))


@pytest.mark.slow
@EACH
@pytest.mark.parametrize("choice", ["gigatoken", "tiktoken"])
def test_every_file_of_the_standard_library_counts_as_tiktoken_counts_it(name, choice):
    for path in standard_library():
        with path.open(encoding="utf-8", errors="replace", newline="") as file:
            expected = len(ids(name, "tiktoken", file.read()))

        assert count(str(path), [(0, path.stat().st_size, "utf-8")], name, choice).counts == [expected], path


@EACH
def test_a_stretch_without_harmless_place_is_a_few_tokens_off_per_blind_cut(name):
    text = "a" * 10_000 + " " * 10_000 + "=" * 10_000

    pieces = list(cut([text], least=500, longest=1000))

    off = sum(len(ids(name, "tiktoken", piece)) for piece in pieces) - len(ids(name, "tiktoken", text))
    assert abs(off) <= 3 * len(pieces)


@pytest.mark.parametrize("load", [load_tiktoken, load_gigatoken])
def test_loading_reaches_for_no_network(load):
    """The audit hook of the test session raises on any address beyond the machine."""
    assert len(load(CL100K_BASE, read_ranks(CL100K_BASE))("hello world")) == 2


def standard_library() -> list[Path]:
    root = Path(sysconfig.get_path("stdlib"))
    return sorted(
        path for path in root.rglob("*.py") if "site-packages" not in path.parts and os.access(path, os.R_OK)
    )
