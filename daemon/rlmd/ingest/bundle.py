"""Documents that do not lie in a tree as files: what a revision, an archive or a paper holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from rlmd.errors import TooLarge
from rlmd.ingest.belonging import Belonging, Directory
from rlmd.ingest.decode import classify
from rlmd.ingest.ignore import Scope
from rlmd.requests import Document
from rlmd.values import Skip, SkipReason, WalkRules


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much a bundle may hold: files, bytes of text, and bytes of one file."""

    max_files: int
    max_bytes: int
    max_file_bytes: int


@dataclass(frozen=True, slots=True)
class Bundle:
    """Documents that were found at `root`, in a state that `key` names: two with both equal are equal.

    `documents` reads them: it blocks, pauses by None, and raises RequestError for what cannot be read.
    """

    root: str
    key: str
    documents: Callable[[], Iterator[Document | Skip | None]] = field(compare=False)


class Sorting:
    """Decides which entries of a bundle belong, as a walk would by *rules*, and keeps the bounds."""

    def __init__(self, root: str, rules: WalkRules, bounds: Bounds) -> None:
        self._root, self._bounds = root, bounds
        self._belonging = Belonging(rules, ())
        self._directories: dict[str, tuple[Directory, SkipReason | None]] = {
            "": (Directory("", "/", "", Scope()), None)
        }
        self._seen: set[str] = set()
        self._bytes = 0

    def refusal(self, path: str, size_bytes: int = 0) -> Skip | None:
        """Return why the entry at *path* is left out; a path that leads out, or comes again, is.

        Raises TooLarge beyond the bounds of the whole.
        """
        try:
            path.encode()
        except UnicodeEncodeError:
            return Skip(path.encode("utf-8", "backslashreplace").decode(), "unreadable")
        parts = path.split("/")
        if not all(parts) or "\0" in path or {".", ".."}.intersection(parts) or path in self._seen:
            return Skip(path, "special")
        self._seen.add(path)
        if len(self._seen) > self._bounds.max_files:
            raise TooLarge(
                f"{self._root} holds more than {self._bounds.max_files} files.", "Ask about a part."
            )
        if size_bytes > self._bounds.max_file_bytes:
            return Skip(path, "too_large")
        directory, reason = self._directory(path.rpartition("/")[0])
        reason = reason or self._belonging.left_out(directory, parts[-1], is_dir=False)
        return None if reason is None else Skip(path, reason)

    def document(self, path: str, data: bytes) -> Document | Skip:
        """Return *data* as a document if it is text; raises TooLarge beyond the bounds of the whole."""
        encoding = classify(data)
        if encoding is None:
            return Skip(path, "binary")
        self._bytes += len(data)
        if self._bytes > self._bounds.max_bytes:
            raise TooLarge(
                f"{self._root} holds more than {self._bounds.max_bytes} bytes of text.",
                "Ask about a part, or raise ingest.max_bytes.",
            )
        return Document(path, data, encoding)

    def _directory(self, path: str) -> tuple[Directory, SkipReason | None]:
        if path not in self._directories:
            parent, _, name = path.rpartition("/")
            above, reason = self._directory(parent)
            reason = reason or self._belonging.left_out(above, name, is_dir=True)
            self._directories[path] = above.below(name), reason
        return self._directories[path]
