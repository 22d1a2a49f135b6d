"""Which repository a tree belongs to and at which commit it stands: read from git's files, without git."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

_COMMIT_ID = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_FEW_BYTES = 4096
_PACKED_BYTES = 16 << 20
_LINKS = 5
"""A symbolic ref that leads further than this leads nowhere."""


class Lineage(NamedTuple):
    """The work tree at `top`, of the repository at `common`, which all its work trees share.

    `head` is the commit that is checked out, None where there is none or it cannot be told.
    """

    top: str
    common: str
    head: str | None


def lineage_of(directory: str) -> Lineage | None:
    """Return the repository that *directory*, absolute, lies in; None if it lies in none.  Blocks.

    Nothing that the repository names is run.  Refs in a table of git's newer kind are not read.
    """
    for top in (Path(directory), *Path(directory).parents):
        git_dir = top / ".git"
        if (pointed := _first_line(git_dir)).startswith("gitdir: "):
            git_dir = top / pointed.removeprefix("gitdir: ")
        common = git_dir / _first_line(git_dir / "commondir")
        if (common / "objects").is_dir():
            return Lineage(str(top), os.path.realpath(common), _head(git_dir, common))
    return None


def _head(git_dir: Path, common: Path) -> str | None:
    told = _first_line(git_dir / "HEAD")
    for _ in range(_LINKS):
        if _COMMIT_ID.fullmatch(told):
            return told
        ref = told.removeprefix("ref: ")
        if ref == told or ".." in ref or not ref.startswith("refs/"):
            return None
        told = _first_line(git_dir / ref) or _first_line(common / ref) or _packed(common, ref)
    return None


def _packed(common: Path, ref: str) -> str:
    for line in _text(common / "packed-refs", _PACKED_BYTES).splitlines():
        identity, _, name = line.partition(" ")
        if name == ref:
            return identity
    return ""


def _first_line(path: Path) -> str:
    """Return the first line of a small file, nothing where there is none."""
    return _text(path, _FEW_BYTES).partition("\n")[0]


def _text(path: Path, most: int) -> str:
    try:
        if not path.is_file():
            return ""
        with path.open(encoding="utf-8", errors="surrogateescape") as file:
            return file.read(most)
    except (OSError, ValueError):  # gone meanwhile, or a name with a NUL in it
        return ""
