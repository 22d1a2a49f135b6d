"""The values that travel between the parts: frozen, plain, without behaviour of their own.

Paths inside a corpus are relative to its root, with forward slashes, and valid UTF-8; paths of
the machine are absolute and resolved.  Lines are counted from 1 and ranges include both ends.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, get_args

SkipReason = Literal[
    "ignored", "secret", "binary", "special", "unreadable", "too_large", "symlink_outside", "loop", "vanished"
]
SKIP_REASONS: tuple[SkipReason, ...] = get_args(SkipReason)
TextEncoding = Literal["utf-8", "utf-8-bom", "utf-16-le", "utf-16-be", "unknown-8bit"]
TokenEncoding = Literal["o200k_base", "cl100k_base"]
Kind = Literal["code", "docs", "any"]


@dataclass(frozen=True, slots=True)
class WalkRules:
    """What a walk leaves out, beside the ignore files it finds on its way.

    `include` and `exclude` are ripgrep globs over root-relative paths; `secret` are globs whose
    matches are skipped as `secret`; `deny` are absolute directories skipped as `secret`; `own`
    are the daemon's absolute directories, skipped as `ignored`.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    secret: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    own: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FileRef:
    """A regular file that a walk has found; nothing of it has been opened."""

    path: str
    absolute: str


@dataclass(frozen=True, slots=True)
class Skip:
    """One entry that does not belong to the corpus, and why; a directory counts once, unopened."""

    path: str
    reason: SkipReason
    is_dir: bool = False


@dataclass(slots=True)
class SkipTally:
    """Counts of what was skipped, with the first few of each reason as examples."""

    files: int = 0
    dirs: int = 0
    by_reason: Counter[str] = field(default_factory=Counter)
    examples: list[Skip] = field(default_factory=list)

    def add(self, skip: Skip, *, examples_per_reason: int = 3) -> None:
        """Count *skip*, keeping it as an example while its reason has few."""
        if skip.is_dir:
            self.dirs += 1
        else:
            self.files += 1
        self.by_reason[skip.reason] += 1
        if self.by_reason[skip.reason] <= examples_per_reason:
            self.examples.append(skip)

    def merge(self, other: SkipTally, *, examples_per_reason: int = 3) -> None:
        """Count what *other* counts, as if it were skipped one by one after what is here."""
        self.files += other.files
        self.dirs += other.dirs
        for skip in other.examples:
            kept = sum(each.reason == skip.reason for each in self.examples)
            if kept < examples_per_reason:
                self.examples.append(skip)
        self.by_reason.update(other.by_reason)


@dataclass(frozen=True, slots=True)
class FileStat:
    """What tells one state of a file from another without opening it."""

    device: int
    inode: int
    size_bytes: int
    mtime_ns: int
    ctime_ns: int


@dataclass(frozen=True, slots=True)
class Span:
    """Where a blob lies in the pack."""

    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class ReadFile:
    """A file that was read whole, hashed, and stored in the pack."""

    path: str
    stat: FileStat
    sha256: str
    span: Span
    encoding: TextEncoding


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a stage has come; `total` is None while nobody can know it, `note` says it in words."""

    stage: Literal["walk", "read", "count", "index", "search", "turn"]
    done: int
    total: int | None = None
    unit: Literal["files", "bytes", "turns"] = "files"
    note: str = ""


Report = Callable[[Progress], None]
"""Called on the event loop whenever a stage moves on; must not block."""


def ignore_progress(_: Progress) -> None:
    """Report to nobody."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A ranked run of lines of one file; scores compare within one search only."""

    path: str
    start_line: int
    end_line: int
    score: float
    within: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Citation:
    """A passage with its bytes: `quote` was read at `path:start_line-end_line` of the file whose
    content hashes to `sha256`; `verified` says that it was compared with the snapshot.
    """

    path: str
    start_line: int
    end_line: int
    quote: str
    sha256: str
    verified: bool
    score: float


@dataclass(frozen=True, slots=True)
class Match:
    """One matching line, its text without the line end."""

    path: str
    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Session:
    """One connection, as the rest of the program sees it.

    `workspace` is its absolute working directory, or None where nobody could tell; `allow` are
    further absolute paths that the person at the command line typed.
    """

    id: str
    workspace: str | None = None
    allow: tuple[str, ...] = ()
