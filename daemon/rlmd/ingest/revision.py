"""Read a revision of a git repository, or what changed between two, without touching the work tree.

Repositories are hostile: git is told to run nothing they name and to fetch nothing, and only objects
are read, so no filter and no attribute of theirs takes part.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from threading import Timer

from rlmd.errors import BadArgument, NotFound, TooLarge
from rlmd.ingest.bundle import Bounds, Bundle, Sorting
from rlmd.requests import Document
from rlmd.values import Skip, WalkRules

LONGEST_S = 120.0
LOG_BYTES = 8 << 20
MOST_LISTED = 256 << 20
PIECE_BYTES = 1 << 20
_SAFE = (
    *("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "log.showSignature=false"),
    *("-c", "core.quotePath=false", "-c", "protocol.allow=never"),
    *("--no-optional-locks", "--no-pager", "--literal-pathspecs", "--no-replace-objects"),
)
_ENVIRONMENT = {
    "PATH": os.defpath,
    "LC_ALL": "C",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_TERMINAL_PROMPT": "0",
}
_PLAIN = ("--no-ext-diff", "--no-textconv", "--no-color")
_HINT = "Write PATH@REVISION, PATH a directory or file of a repository."
_REGULAR = frozenset({"100644", "100755"})


@dataclass(frozen=True, slots=True)
class Place:
    """Where to look: a directory of a repository, a file in it or all, and where its objects lie."""

    directory: str
    name: str | None
    prefix: str
    stores: tuple[str, ...]

    def below(self) -> list[str]:
        """Return the arguments that hold git to what was asked for."""
        wanted = self.prefix + (self.name or "")
        return ["--", wanted] if wanted else []

    def relative(self, path: bytes) -> str:
        """Return a path that git tells as the bundle names it."""
        return os.fsdecode(path)[len(self.prefix) :]


def place_of(path: str) -> Place:
    """Return the place of *path*, a directory or file in a work tree or a bare repository.

    Raises BadArgument where there is none.  Blocks, as all functions here.
    """
    directory, name = (path, None) if os.path.isdir(path) else os.path.split(path)
    asked = ("--absolute-git-dir", "--git-common-dir", "--show-prefix")
    own, common, prefix, *_ = os.fsdecode(_read(directory, "rev-parse", *asked)).split("\n")
    stores = (os.path.realpath(own), *_stores(os.path.realpath(os.path.join(directory, common))))
    return Place(directory, name, prefix, stores)


def _stores(common: str) -> Iterator[str]:
    """Yield where a repository keeps objects: with itself, and where it says that others do."""
    yield common
    try:
        with open(
            os.path.join(common, "objects/info/alternates"), encoding="utf-8", errors="replace"
        ) as file:
            for line in file:
                if line.strip():
                    yield os.path.realpath(os.path.join(common, "objects", line.strip()))
    except FileNotFoundError:
        return


def revision(place: Place, name: str, rules: WalkRules, bounds: Bounds) -> Bundle:
    """Return the files at the revision *name*; of a range, `a..b` or `a...b`, what changed in it.

    A range holds each changed file as it came to be, its changes as `@diff/PATH.diff`, and what the
    commits say as `@log`.  Raises NotFound for a revision that is not there.
    """
    root, file = f"{place.directory}@{name}", place.name or ""
    between = "..." if "..." in name else ".."
    first, dots, last = name.partition(between)
    if not dots:
        commit = _commit(place, name)
        return Bundle(root, f"{commit}:{file}", partial(_files, place, commit, root, rules, bounds))
    base, end = _commit(place, first or "HEAD"), _commit(place, last or "HEAD")
    if between == "...":
        base = _read(place.directory, "merge-base", base, end).decode().strip()
    return Bundle(root, f"{base}..{end}:{file}", partial(_changes, place, (base, end), root, rules, bounds))


def _commit(place: Place, name: str) -> str:
    asked = ("--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    try:
        return _read(place.directory, "rev-parse", *asked).decode().strip()
    except BadArgument:
        raise NotFound(
            f"no such revision: {name}", "Name a commit, branch or tag of the repository."
        ) from None


def _files(
    place: Place, commit: str, root: str, rules: WalkRules, bounds: Bounds
) -> Iterator[Document | Skip | None]:
    """Yield the files of a commit that lie at the place, paths relative to it."""
    sorting = Sorting(root, rules, bounds)
    listing = _read(place.directory, "ls-tree", "-r", "-z", "-l", "--full-tree", commit, *place.below())
    if not listing:
        raise NotFound(f"{root} holds no file", "The path is not in that revision.")
    with _open_objects(place.directory) as contents:
        for entry in listing.split(b"\0")[:-1]:
            told, _, name = entry.partition(b"\t")
            mode, _, blob, size = told.decode().split()
            path = place.relative(name)
            if refusal := sorting.refusal(path, int(size) if mode in _REGULAR else 0):
                yield refusal
            elif mode not in _REGULAR:
                yield Skip(path, "special")  # a link, or a repository within
            else:
                yield _document(sorting, path, contents.read(blob, bounds.max_file_bytes))
            yield None


def _document(sorting: Sorting, path: str, data: bytes | None) -> Document | Skip:
    return Skip(path, "too_large") if data is None else sorting.document(path, data)


def _changes(
    place: Place, ends: tuple[str, str], root: str, rules: WalkRules, bounds: Bounds
) -> Iterator[Document | Skip | None]:
    """Yield what changed between two commits at the place."""
    sorting, where = Sorting(root, rules, bounds), place.below()
    raw = _read(place.directory, "diff-tree", "-r", "-z", "--no-renames", *ends, *where).split(b"\0")
    if not raw[0]:
        raise NotFound(f"nothing changed in {root}", "Name two commits between which something did.")
    log = _read(place.directory, "log", *_PLAIN, "--format=medium", "..".join(ends), *where, most=LOG_BYTES)
    yield sorting.document("@log", log)
    # The plumbing again: `git diff` lets a repository reorder files, and then the changes are another's.
    shown = ("diff-tree", "-r", "-p", *_PLAIN, "--no-renames", *ends, *where)
    diffs = _read(place.directory, *shown, most=bounds.max_bytes + 1)
    if len(diffs) > bounds.max_bytes:
        raise TooLarge(f"{root} changes more than {bounds.max_bytes} bytes.", "Ask about a part.")
    starts = [found.start() for found in re.finditer(rb"^diff --git ", diffs, re.MULTILINE)]
    changes = pairwise([*starts, len(diffs)])
    with _open_objects(place.directory) as contents:
        for told, name, (start, end) in zip(raw[::2], raw[1::2], changes, strict=False):
            path = place.relative(name)
            _, mode, _, blob, _ = told.decode().split()
            if refusal := sorting.refusal(path):
                yield refusal
                continue
            yield sorting.document(f"@diff/{path}.diff", diffs[start:end])
            if mode in _REGULAR:
                yield _document(sorting, path, contents.read(blob, bounds.max_file_bytes))
            yield None


class _Objects:
    """A process of git that hands out objects by their ids."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._asks, self._answers = process.stdin, process.stdout

    def read(self, blob: str, most: int) -> bytes | None:
        """Return the content of *blob*, None for one of more than *most* bytes.

        Raises BadArgument where the repository has lost it, and when git was ended meanwhile.
        """
        self._asks.write(f"{blob}\n".encode())
        self._asks.flush()
        told = self._answers.readline().split()
        if len(told) != 3:  # noqa: PLR2004 - id, type, size
            raise BadArgument(f"the repository has no object {blob}", "It may be a partial clone: fetch it.")
        rest = int(told[2]) + 1  # git ends each with a newline
        kept: list[bytes] | None = [] if rest - 1 <= most else None
        while rest:
            if not (piece := self._answers.read(min(rest, PIECE_BYTES))):
                raise BadArgument(f"reading {blob} took more than {LONGEST_S:g} s", "Ask about a part.")
            rest -= len(piece)
            if kept is not None:
                kept.append(piece)
        return None if kept is None else b"".join(kept)[:-1]


@contextmanager
def _open_objects(directory: str) -> Iterator[_Objects]:
    with _running(directory, "cat-file", "--batch") as process:
        yield _Objects(process)


@contextmanager
def _running(directory: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run git for the length of the block, `LONGEST_S` seconds at most."""
    try:
        process = subprocess.Popen(  # noqa: S603  # git, by fixed arguments and what it has told us
            ["git", "-C", directory, *_SAFE, *arguments],  # noqa: S607  # by the system's own path
            env=_ENVIRONMENT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    except OSError as missing:
        raise BadArgument(
            "git cannot be run here", "Install git, or ask about the files themselves."
        ) from missing
    timer = Timer(LONGEST_S, process.kill)
    with process:
        timer.start()
        try:
            yield process
        finally:
            timer.cancel()
            process.kill()


def _read(directory: str, *arguments: str, most: int = MOST_LISTED) -> bytes:
    """Return what git says, up to *most* bytes; raises BadArgument when it refuses."""
    with _running(directory, *arguments) as process:
        assert process.stdout is not None
        said = process.stdout.read(most)
        if len(said) < most and process.wait():
            raise BadArgument(f"{directory} is in no git repository that can be read", _HINT)
    return said
