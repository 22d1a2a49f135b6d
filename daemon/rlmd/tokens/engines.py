"""The two libraries that turn text into tokens, and the choice between them.

tiktoken defines what is right; gigatoken is many times faster.  Each holds tables of some 50 MB
and takes about half a second to load, so they live in the worker process only.
"""

from __future__ import annotations

import os
from binascii import a2b_base64
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import Literal

from rlmd.tokens.encodings import Encoding, read_ranks
from rlmd.tokens.gate import SAMPLES, Encode, first_difference, scrambled

EngineName = Literal["gigatoken", "tiktoken"]
EngineChoice = Literal["auto", "gigatoken", "tiktoken"]


class Panicked(Exception):
    """An engine's Rust code panicked on a text; it works on for others."""


class EngineRefused(Exception):
    """gigatoken was asked for by name and did not pass the gate."""


@dataclass(frozen=True, slots=True)
class Engine:
    """What counts the tokens of one encoding; `refusal` says why it is not the faster one.

    `encode` raises Panicked where the library's Rust code does, which as such is no Exception.
    """

    name: EngineName
    encode: Encode
    refusal: str | None = None


def choose_engine(encoding: Encoding, choice: EngineChoice) -> Engine:
    """Load the engine for *encoding*; raises DamagedRanks.

    `auto` is gigatoken if it gives tiktoken's ids for every sample of the gate, else tiktoken: a
    fast wrong count is of no use.  `gigatoken` raises EngineRefused instead of falling back.
    """
    ranks = read_ranks(encoding)
    if choice == "tiktoken":
        return Engine("tiktoken", load_tiktoken(encoding, ranks))
    with ThreadPoolExecutor(1) as beside:
        loading = beside.submit(load_gigatoken, encoding, ranks)
        engine = admit(loading.result, load_tiktoken(encoding, ranks))
    if choice == "gigatoken" and engine.refusal is not None:
        raise EngineRefused(engine.refusal)
    return engine


def admit(load: Callable[[], Encode], reference: Encode) -> Engine:
    """Return what *load* gives if it encodes as *reference* does, else the reference and the reason."""
    try:
        fast = load()
        difference = first_difference(fast, reference, chain(SAMPLES, scrambled()))
    except Exception as error:  # noqa: BLE001  # however an accelerator fails, counting goes on without it
        return Engine("tiktoken", reference, f"{type(error).__name__}: {error}")
    if difference is not None:
        return Engine("tiktoken", reference, f"other ids than tiktoken for {difference[:40]!r}")
    return Engine("gigatoken", fast)


def load_tiktoken(encoding: Encoding, ranks: bytes) -> Encode:
    """Build tiktoken's encoder from *ranks*, without its own loader, which would use the network."""
    import tiktoken  # noqa: PLC0415  # only what is chosen is loaded

    words = iter(ranks.split())
    built = tiktoken.Encoding(
        encoding.name,
        pat_str=encoding.pattern,
        mergeable_ranks={a2b_base64(token): int(rank) for token, rank in zip(words, words, strict=True)},
        special_tokens={},
    )
    return tamed(built.encode_ordinary)


def load_gigatoken(encoding: Encoding, ranks: bytes) -> Encode:
    """Build gigatoken's encoder; it reads a file by name, so *ranks* get one in memory, without a place."""
    import gigatoken  # noqa: PLC0415  # only what is chosen is loaded

    fd = os.memfd_create(encoding.name)
    try:
        with open(fd, "wb", closefd=False) as file:
            file.write(ranks)
        built = gigatoken.Tokenizer.from_tiktoken(
            f"/proc/self/fd/{fd}", pretokenizer=encoding.gigatoken_scheme, special_tokens={}
        )
    finally:
        os.close(fd)
    return tamed(built.encode)


def tamed(encode: Encode) -> Encode:
    """Wrap *encode* so that a panic, which is a BaseException, is raised as Panicked."""

    def encode_or_raise(text: str) -> Collection[int]:
        try:
            return encode(text)
        except BaseException as panic:
            if type(panic).__name__ != "PanicException":  # pyo3 exports it under no name to import
                raise
            raise Panicked(str(panic)) from None

    return encode_or_raise
