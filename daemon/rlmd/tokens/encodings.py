"""The encodings whose tokens can be counted, and their rank files, which lie in the package.

Patterns and checksums are those of tiktoken's `tiktoken_ext/openai_public.py`; a test holds them
equal.  Special tokens are left out: text that spells one is plain text here.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from dataclasses import dataclass
from importlib.resources import files

from rlmd.values import TokenEncoding


class DamagedRanks(Exception):
    """A rank file of the package is not the published one; the installation is broken."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """How one encoding splits text, and how to know its rank file."""

    name: TokenEncoding
    sha256: str
    pattern: str
    gigatoken_scheme: str


O200K_BASE = Encoding(
    name="o200k_base",
    sha256="446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    pattern=(
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|\p{N}{1,3}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n/]*"
        r"|\s*[\r\n]+"
        r"|\s+(?!\S)"
        r"|\s+"
    ),
    gigatoken_scheme="o200k",
)
CL100K_BASE = Encoding(
    name="cl100k_base",
    sha256="223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    pattern=(
        r"'(?i:[sdmt]|ll|ve|re)"
        r"|[^\r\n\p{L}\p{N}]?+\p{L}++"
        r"|\p{N}{1,3}+"
        r"| ?[^\s\p{L}\p{N}]++[\r\n]*+"
        r"|\s++$"
        r"|\s*[\r\n]"
        r"|\s+(?!\S)"
        r"|\s"
    ),
    gigatoken_scheme="gpt4",
)


def encoding_named(name: TokenEncoding) -> Encoding:
    """Return the encoding called *name*."""
    match name:
        case "o200k_base":
            return O200K_BASE
        case "cl100k_base":
            return CL100K_BASE


def read_ranks(encoding: Encoding) -> bytes:
    """Return the rank file of *encoding*, unpacked and checked; raises DamagedRanks."""
    packed = files("rlmd.tokens").joinpath("ranks", f"{encoding.name}.tiktoken.gz").read_bytes()
    return unpack_ranks(packed, encoding)


def unpack_ranks(packed: bytes, encoding: Encoding) -> bytes:
    """Unpack a gzipped rank file; raises DamagedRanks unless every byte is the published one."""
    try:
        ranks = gzip.decompress(packed)
    except (OSError, EOFError, zlib.error) as error:
        raise DamagedRanks(f"the ranks of {encoding.name} do not unpack: {error}") from error
    if hashlib.sha256(ranks).hexdigest() != encoding.sha256:
        raise DamagedRanks(f"the ranks of {encoding.name} are not the published ones")
    return ranks
