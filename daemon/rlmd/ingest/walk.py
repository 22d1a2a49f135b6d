"""Find the files of a tree: one pass over its directories, no stat per file, no link followed.

Plain synchronous code, cut into short steps; `walker` runs it in threads.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from operator import attrgetter
from time import monotonic

from rlmd.ingest.belonging import Belonging, Directory
from rlmd.ingest.ignore import Scope
from rlmd.ingest.reasons import failure_reason, is_within, link_reason, printable
from rlmd.ingest.sources import IgnoreFiles
from rlmd.requests import Visitor
from rlmd.values import FileRef, Skip, SkipReason, SkipTally, WalkRules

STEP_S = 0.02
_SLICE = 256
_LISTING_SLICE = 4096
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def walk(
    root: str, targets: Sequence[str], rules: WalkRules, tally: SkipTally, visitor: Visitor | None = None
) -> Iterator[list[FileRef]]:
    """Yield the regular files below *targets* in batches, and count in *tally* what is left out.

    Targets are absolute or relative to *root*, files or directories; none means the root.  What
    is asked for by name is never left out by an ignore rule or a glob, only by `secret`, `deny`,
    `own` and `.git`; what is reached twice is yielded once.  Within a directory files come by
    name, then its subdirectories by name.

    A step takes at most 512 files or about 20 ms of work; a batch may be empty.  Raises
    ValueError for a target outside the root.
    """
    root = os.path.realpath(root)
    asked = sorted({_relative(target, root) for target in targets or [root]})
    walking = _Walk(root, Belonging(rules, filter(None, asked)), tally, visitor)
    for target in asked:
        walking.start(target)
        yield from walking.steps()
    yield walking.take()


def walk_again(
    root: str, directories: Iterable[str], rules: WalkRules, visitor: Visitor
) -> Iterator[list[FileRef]]:
    """Yield the files in *directories* themselves, and in what *visitor* does not know below them.

    Only directories that it knows when their turn comes are listed, each parent before its children.
    Steps are as in `walk`.
    """
    walking = _Walk(root, Belonging(rules, ()), SkipTally(), visitor)
    for path in sorted(directories):
        if visitor.knows(path) and path not in walking.listed:
            walking.pending.append(walking.at(path))
            yield from walking.steps()
    yield walking.take()


def _relative(target: str, root: str) -> str:
    """Return *target* relative to *root*, its parents resolved but not itself; "" is the root."""
    absolute = os.path.normpath(os.path.join(root, target))
    if absolute != root:
        parent, name = os.path.split(absolute)
        absolute = os.path.join(os.path.realpath(parent), name)
    if not is_within(absolute, root):
        raise ValueError(f"a target outside the root: {target}")
    return absolute[len(root) :].lstrip("/")


class _Walk:
    """One pass: what is to be opened, what was met, what goes out next."""

    def __init__(
        self, root: str, belonging: Belonging, tally: SkipTally, visitor: Visitor | None = None
    ) -> None:
        self.pending: list[Directory] = []
        self.listed = set[str]()
        self._batch: list[FileRef] = []
        self._root = root
        self._belonging = belonging
        self._tally = tally
        self._visitor = visitor
        self._links = False
        self._ignore_files = IgnoreFiles(os.environ, None if visitor is None else visitor.consult)
        self._above = self._ignore_files.above(root)
        self._entered: dict[tuple[int, int], str] = {}
        self.begin_step()

    def begin_step(self) -> None:
        """Start the clock of a step."""
        self._deadline = monotonic() + STEP_S

    def take(self) -> list[FileRef]:
        """Hand over what was found since the last time."""
        batch, self._batch = self._batch, []
        return batch

    def steps(self) -> Iterator[list[FileRef]]:
        """Go through all that is pending and what lies below; yields what was found, step by step."""
        while self.pending:
            for _ in self.descend(self.pending.pop()):
                yield self.take()
                self.begin_step()

    def at(self, path: str) -> Directory:
        """Return the directory at *path*, below which the way is known to belong."""
        here = self._top()
        for name in path.split("/")[:-1]:
            here = here.scoped(self._scope(here)).below(name)
        return here

    def _top(self) -> Directory:
        return Directory("", self._root.rstrip("/") + "/", "", self._above)

    def start(self, target: str) -> None:
        """Queue the directory, or take the file, *target*, unless something on the way is barred."""
        here = self._top()
        *parents, name = target.split("/")
        for parent in parents:
            if reason := self._belonging.barred(here, parent, is_dir=True):
                self._skip(here, parent, reason, is_dir=True)
                return
            here = here.scoped(self._scope(here)).below(parent)
        if not name:
            self.pending.append(here)
            return
        try:
            mode = os.lstat(here.absolute + name).st_mode
        except OSError as error:
            self._skip(here, name, failure_reason(error))
            return
        is_dir = stat.S_ISDIR(mode)
        if reason := self._belonging.barred(here, name, is_dir=is_dir):
            self._skip(here, name, reason, is_dir=is_dir)
        elif is_dir:
            self.pending.append(here.scoped(self._scope(here)).below(name))
        elif stat.S_ISREG(mode):
            self._batch.append(FileRef(target, here.absolute + name))
        else:
            self._skip_other(here, name, is_link=stat.S_ISLNK(mode))

    def descend(self, here: Directory) -> Iterator[None]:
        """Take the files of one directory and queue what lies below; yields where a step may end."""
        whole, self._tally, self._links = self._tally, SkipTally(), False
        self.listed.add(here.path)
        yield from self._descend(here)
        if self._visitor is not None:
            self._visitor.leave(here.path, self._tally, links=self._links)
        whole.merge(self._tally)
        self._tally = whole

    def _descend(self, here: Directory) -> Iterator[None]:
        try:
            descriptor = os.open(here.location, _OPEN)
        except OSError as error:
            self._skip_directory(here, failure_reason(error))
            return
        try:
            if self._is_new(here, descriptor):
                if self._visitor is not None:
                    self._visitor.enter(here.path, descriptor)
                yield from self._sift_all(here, descriptor)
        except OSError as error:
            self._skip_directory(here, failure_reason(error))
        finally:
            os.close(descriptor)

    def _is_new(self, here: Directory, descriptor: int) -> bool:
        """Say whether the opened directory is the one that was meant, and not entered before."""
        place = os.readlink(f"/proc/self/fd/{descriptor}")
        if place != here.location:
            self._skip_directory(here, "vanished" if is_within(place, self._root) else "symlink_outside")
            return False
        status = os.fstat(descriptor)
        identity = (status.st_dev, status.st_ino)
        earlier = self._entered.get(identity)
        if earlier is None:
            self._entered[identity] = here.path
            return True
        if earlier != here.path:
            self._skip_directory(here, "loop")
        return False

    def _sift_all(self, here: Directory, descriptor: int) -> Iterator[None]:
        entries: list[os.DirEntry[str]] = []
        with os.scandir(descriptor) as listing:
            while part := list(islice(listing, _LISTING_SLICE)):
                entries += part
                if monotonic() >= self._deadline:
                    yield
        entries.sort(key=attrgetter("name"))
        names = [entry.name for entry in entries]
        here = here.scoped(self._ignore_files.extend(here.scope, here.absolute, names))
        doubtful = self._belonging.doubtful(here, names)
        below: list[Directory] = []
        for start in range(0, len(entries), _SLICE):
            self._sift(here, entries[start : start + _SLICE], doubtful, below)
            if len(self._batch) >= _SLICE or monotonic() >= self._deadline:
                yield
        if self._visitor is not None:
            below = [each for each in below if not self._visitor.knows(each.path)]
        self.pending += reversed(below)

    def _sift(
        self, here: Directory, entries: list[os.DirEntry[str]], doubtful: set[str], below: list[Directory]
    ) -> None:
        """Decide on each of *entries*; directories that belong go to *below*."""
        path, absolute, take = here.path, here.absolute, self._batch.append
        for entry in entries:
            name = entry.name
            if name in doubtful and self._leave_out(here, entry):
                continue
            if entry.is_file(follow_symlinks=False):
                take(FileRef(path + name, absolute + name))
            elif entry.is_dir(follow_symlinks=False):
                below.append(here.below(name))
            else:
                self._skip_other(here, name, is_link=entry.is_symlink())

    def _leave_out(self, here: Directory, entry: os.DirEntry[str]) -> bool:
        """Count the entry as skipped, if it is, and say so; what was asked for is dealt with by `start`."""
        if self._belonging.is_asked(here, entry.name):
            return True
        is_dir = entry.is_dir(follow_symlinks=False)
        reason = self._belonging.left_out(here, entry.name, is_dir=is_dir)
        if reason:
            self._skip(here, entry.name, reason, is_dir=is_dir)
        return reason is not None

    def _scope(self, here: Directory) -> Scope:
        return self._ignore_files.extend(here.scope, here.absolute)

    def _skip(self, here: Directory, name: str, reason: SkipReason, *, is_dir: bool = False) -> None:
        self._tally.add(Skip(printable(here.path + name), reason, is_dir))

    def _skip_other(self, here: Directory, name: str, *, is_link: bool) -> None:
        self._links |= is_link
        self._skip(here, name, link_reason(here.absolute + name, self._root) if is_link else "special")

    def _skip_directory(self, here: Directory, reason: SkipReason) -> None:
        self._tally.add(Skip(here.path.rstrip("/") or ".", reason, is_dir=True))
