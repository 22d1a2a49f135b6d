"""Repositories with a history to ask about: where they lie, and their trees at any commit."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from benchmarks import trees
from rlmd.corpus.pack import Pack
from rlmd.corpus.snapshot import Entry, Files, Snapshot, Tree, take
from rlmd.values import SkipTally, Span, TextEncoding, WalkRules

MOST_BYTES = 1 << 20
"""Longer files are left out of the trees: none of them is an answer to a question here."""


def found(place: Path | None) -> dict[str, str]:
    """Return name and git directory of each repository below *place*, and this one's own."""
    base = place or Path(os.environ.get("RLMD_BENCH_REPOS") or trees.cache() / "repos")
    repositories = {"rlmd": str(Path(__file__).resolve().parents[2])}
    for path in sorted(base.iterdir()) if base.is_dir() else ():
        if (path / "HEAD").is_file() or (path / ".git").exists():
            repositories.setdefault(path.name.removesuffix(".git"), str(path))
    return dict(sorted(repositories.items()))


class Repository:
    """The trees of one repository, their contents in one pack."""

    def __init__(self, place: str, scratch: Path) -> None:
        self.place = place
        self.pack = Pack(str(scratch / "pack"))
        self._read: dict[str, tuple[str, Span, TextEncoding] | None] = {}

    def tree(self, revision: str) -> dict[str, str]:
        """Return path and blob id of every regular file at *revision*."""
        listed = self._git("ls-tree", "-r", "-z", revision).split("\0")[:-1]
        entries = (line.partition("\t") for line in listed)
        return {path: told.split(" ")[2] for told, _, path in entries if told.startswith("100")}

    def snapshot(self, tree: Mapping[str, str]) -> Snapshot:
        """Return the snapshot of *tree* that a collection of it would give, but for the longest files."""
        self._take({blob for blob in tree.values() if blob not in self._read})
        entries = []
        for path, blob in tree.items():
            if (held := self._read[blob]) is not None:
                sha256, span, encoding = held
                entries.append(Entry(path, sha256, span, 0, encoding))
        source = Tree(self.place, (), WalkRules())
        return take(source, Files(entries), SkipTally(), encoding="none", pack=self.pack)

    def of_texts(self, files: Mapping[str, str]) -> Snapshot:
        """Return the snapshot of *files*, by path."""
        for path, text in files.items():
            data = text.encode()
            sha256 = hashlib.sha256(data).hexdigest()
            self._read[path] = sha256, self.pack.add(sha256, data), "utf-8"
        return self.snapshot({path: path for path in files})

    def _take(self, blobs: Iterable[str]) -> None:
        for blob, data in self._contents(sorted(blobs)):
            self._read[blob] = None
            if len(data) <= MOST_BYTES and b"\0" not in data:
                sha256 = hashlib.sha256(data).hexdigest()
                self._read[blob] = sha256, self.pack.add(sha256, data), _encoding(data)

    def _contents(self, blobs: list[str]) -> Iterator[tuple[str, bytes]]:
        wanted = "".join(f"{blob}\n" for blob in blobs).encode()
        command = ["git", "-C", self.place, "cat-file", "--batch"]
        data = subprocess.run(command, input=wanted, capture_output=True, check=True).stdout
        at = 0
        for blob in blobs:
            end = data.index(b"\n", at)
            size = int(data[at:end].split()[2])
            yield blob, data[end + 1 : end + 1 + size]
            at = end + size + 2

    def _git(self, *arguments: str) -> str:
        command = ["git", "-C", self.place, *arguments]
        return subprocess.run(command, capture_output=True, check=True).stdout.decode("utf-8", "replace")


def _encoding(data: bytes) -> TextEncoding:
    try:
        data.decode()
    except UnicodeDecodeError:
        return "unknown-8bit"
    return "utf-8"


def texts(tree: Path) -> Iterator[tuple[str, str]]:
    """Yield path and text of the Python sources below *tree* that are no tests."""
    for path in sorted(tree.rglob("*.py")):
        name = path.relative_to(tree).as_posix()
        if not re.search(r"(^|/)(test|tests|idlelib|lib2to3|idle_test)/", name):
            with contextlib.suppress(UnicodeDecodeError):
                yield name, path.read_text("utf-8")
