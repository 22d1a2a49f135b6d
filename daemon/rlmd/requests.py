"""What one actor asks of another across a layer, where neither may import the other.

The ingest actors are siblings of the corpus that sends to them, so the words they share live here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import trio

from rlmd.values import FileRef, SkipTally, Span, TextEncoding, TokenEncoding, WalkRules


class Visitor(Protocol):
    """Goes along with a walk, in its thread.  Directories are relative to the root and end in a slash."""

    def knows(self, path: str) -> bool:
        """Say whether a walk of the directory above may pass this one by."""
        ...

    def enter(self, path: str, descriptor: int) -> None:
        """Hear that the directory is about to be listed; it is open as *descriptor*."""
        ...

    def leave(self, path: str, tally: SkipTally, *, links: bool) -> None:
        """Hear what was left out of the directory itself, and whether there are symbolic links in it."""
        ...

    def consult(self, path: str) -> None:
        """Hear of a file that no listing tells of, and whose content or absence decides what belongs."""
        ...


@dataclass(frozen=True, slots=True)
class Walk:
    """Find the files below *targets* and stream them into *out*; answered with a `SkipTally`.

    `root` is absolute and free of symlinks; targets are absolute or relative to it, files or
    directories; no target means the root itself.  The walker closes `out` before it answers and
    when it is cancelled.  Batches hold up to 512 files and are never empty.  With a *visitor* and
    *again*, only these directories are listed, and what it does not know below them.
    """

    root: str
    targets: tuple[str, ...]
    rules: WalkRules
    out: trio.MemorySendChannel[list[FileRef]]
    visitor: Visitor | None = None
    again: tuple[str, ...] | None = None


class Sink(Protocol):
    """Where read contents go.  Every method is called from reader threads, several at once.

    A thread whose read was given up, or whose asker was cancelled, may still call in once more
    later: a closed sink refuses by raising.
    """

    def add(self, sha256: str, data: bytes, encoding: TextEncoding) -> Span:
        """Store *data* unless a blob of this hash is there; return where it lies."""
        ...

    def reserve(self, length: int) -> int:
        """Set *length* bytes aside for a blob that comes in pieces; return their offset.

        They end as a blob, by `adopt`, or as nothing, by `release`.
        """
        ...

    def write(self, offset: int, piece: bytes) -> None:
        """Put *piece* at *offset*, inside reserved bytes."""
        ...

    def adopt(self, sha256: str, span: Span, encoding: TextEncoding) -> Span:
        """Name the reserved *span* by its hash; return the blob's place, an older one if it had one."""
        ...

    def release(self, offset: int) -> None:
        """Give back the bytes that were reserved at *offset*."""
        ...


@dataclass(frozen=True, slots=True)
class Read:
    """Read *files*, hash them and store them in *sink*; answered with `list[ReadFile | Skip]`.

    Answers come in the order of the files.  One batch is one thread hop: 64 files or 512 KiB of
    them is the size that pays.
    """

    files: list[FileRef]
    sink: Sink


@dataclass(frozen=True, slots=True)
class Document:
    """A text that comes from elsewhere than a file of a tree, and what it is called."""

    path: str
    data: bytes
    encoding: TextEncoding


@dataclass(frozen=True, slots=True)
class Count:
    """Count the tokens of each item, a span of the file *pack*; answered with `list[int]` in order.

    An item without bytes counts 0.  A request without items makes the tokenizer ready and no more.
    """

    pack: str
    items: list[tuple[Span, TextEncoding]]
    encoding: TokenEncoding
