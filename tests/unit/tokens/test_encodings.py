"""The rank files and patterns are the published ones, and nothing else is accepted."""

from __future__ import annotations

import gzip
import importlib.resources

import pytest
from tiktoken_ext import openai_public

from rlmd.tokens.encodings import CL100K_BASE, O200K_BASE, DamagedRanks, read_ranks, unpack_ranks

ENCODINGS = pytest.mark.parametrize("encoding", [O200K_BASE, CL100K_BASE], ids=lambda encoding: encoding.name)


@ENCODINGS
def test_patterns_and_checksums_are_those_of_tiktoken(encoding, monkeypatch):
    expected = []
    monkeypatch.setattr(
        openai_public, "load_tiktoken_bpe", lambda _url, expected_hash: expected.append(expected_hash)
    )

    published = getattr(openai_public, encoding.name)()

    assert encoding.pattern == published["pat_str"]
    assert [encoding.sha256] == expected


@ENCODINGS
def test_the_rank_file_of_the_package_is_the_published_one(encoding):
    assert read_ranks(encoding).startswith(b"IQ== 0\n")


def test_a_rank_file_with_one_wrong_byte_is_refused():
    ranks = bytearray(read_ranks(CL100K_BASE))
    ranks[1000] ^= 1

    with pytest.raises(DamagedRanks, match="cl100k_base are not the published ones"):
        unpack_ranks(gzip.compress(bytes(ranks), 1), CL100K_BASE)


@pytest.mark.parametrize(
    "damage", [lambda packed: packed[:-9], lambda packed: b"no gzip", lambda packed: packed[9:]]
)
def test_a_rank_file_that_does_not_unpack_is_refused(damage):
    packed = gzip.compress(b"IQ== 0\n")

    with pytest.raises(DamagedRanks):
        unpack_ranks(damage(packed), O200K_BASE)


def test_the_licence_of_the_rank_files_lies_beside_them():
    notice = importlib.resources.files("rlmd.tokens").joinpath("ranks", "NOTICE").read_text()

    assert "MIT License" in notice
    for encoding in (O200K_BASE, CL100K_BASE):
        assert f"{encoding.sha256}  {encoding.name}.tiktoken" in notice
