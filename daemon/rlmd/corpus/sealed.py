"""Files of ours in the cache that are believed only when they are whole.

One is a line that says what it is, a line of JSON with facts about it, its parts, and the sha256 over
all of that.  It appears under its name in one step, so a reader sees the old one or the new one.
"""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Iterable
from contextlib import suppress
from hashlib import sha256
from typing import Any

_DIGEST_BYTES = 32
_LONGEST_LINE = 1 << 16


class Damaged(Exception):
    """The file is not one of ours, of another version, or not what was written."""


def write_sealed(path: str, kind: str, facts: dict[str, Any], parts: Iterable[bytes]) -> None:
    """Put a file of *kind* at *path* in place of what was there; raises OSError and leaves that then.

    Nothing waits for the disk: what a power cut leaves of it is told by its hash.
    """
    new = f"{path}.new"
    try:
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
            digest = sha256()
            for part in (f"{kind}\n{json.dumps(facts)}\n".encode(), *parts):
                digest.update(part)
                file.write(part)
            file.write(digest.digest())
        os.rename(new, path)
    except BaseException:  # an interrupt too must leave no draft
        with suppress(OSError):
            os.unlink(new)
        raise


def read_sealed(path: str, kind: str) -> tuple[dict[str, Any], memoryview]:
    """Return the facts and the body of the file of *kind* at *path*; its pages are the system's, not ours.

    Raises Damaged, or OSError where there is none.
    """
    with open(path, "rb") as file:
        try:
            held = memoryview(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))
        except ValueError as empty:
            raise Damaged(f"{path} is empty") from empty
    body, digest = held[:-_DIGEST_BYTES], held[-_DIGEST_BYTES:]
    name, facts, rest = (*bytes(body[:_LONGEST_LINE]).split(b"\n", 2), b"", b"")[:3]
    if name.decode("latin-1") != kind:
        raise Damaged(f"{path} is no {kind}")
    if sha256(body).digest() != digest:
        raise Damaged(f"{path} is not what was written")
    del rest
    found: dict[str, Any] = json.loads(facts)
    return found, body[len(name) + len(facts) + 2 :]
