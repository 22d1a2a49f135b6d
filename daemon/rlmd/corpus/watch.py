"""What has changed in a tree since it was looked at, without looking at it again.

Each directory of the tree is watched from before it is listed.  What the kernel says is then turned
into directories to be listed again and files to be looked at; a collection of these gives what one of
the whole tree would.  Where that cannot be sure the answer is `everything`.

Not told by the kernel: writes to memory-mapped files, until they are synced by a write or a touch.
"""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from rlmd.corpus.inotify import NAMES_CHANGED, Event, Inotify, Mask
from rlmd.corpus.mounts import Mounts
from rlmd.values import SkipTally

MOST_FILES = 20_000
"""Changed files beyond this cost as much as a look at all."""
MOST_READS = 64
"""So many reads take in more than the kernel's queue can hold."""
RULE_NAMES = frozenset({".git", ".gitignore", ".ignore", ".rgignore"})
GRAIN_NS = 2_000_000_000


@dataclass(slots=True)
class Changes:
    """What to look at again: whole, or `directories` and `files`, and all that lay below what is `gone`.

    Directories are relative to the root and end in a slash; the root's is empty.
    """

    everything: bool = False
    directories: set[str] = field(default_factory=set)
    files: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    names: bool = False
    """Whether any name came or went."""

    def __bool__(self) -> bool:
        return self.everything or bool(self.directories or self.files or self.gone)


class Budget:
    """How many directories may be watched, all trees together."""

    def __init__(self, limit: int) -> None:
        self._left = limit
        self._lock = threading.Lock()

    def take(self) -> bool:
        """Take one, if there is one left."""
        with self._lock:
            self._left -= (some := self._left > 0)
        return some

    def give_back(self, count: int) -> None:
        """Say that *count* directories are watched no more."""
        with self._lock:
            self._left += count


@dataclass(slots=True)
class _Directory:
    watch: int
    below: set[str] = field(default_factory=set)
    tally: SkipTally | None = None
    links: bool = False


class Watch:
    """The directories of one tree; a `Visitor` of its walks.

    Made by `begin`, and of use once a whole walk has gone through it.  Walks call in from their
    threads, everybody else from the event loop.
    """

    def __init__(self, root: str, budget: Budget) -> None:
        """Raise OSError where nothing can be watched; `failure` says why this tree cannot be."""
        self.root = root
        self.failure: str | None = None
        self.restless = set[str]()
        self.linked: dict[str, tuple[int, ...]] = {}
        self._budget = budget
        self._lock = threading.Lock()
        self._mounts = Mounts()
        self._inotify = Inotify()
        self._directories: dict[str, _Directory] = {}
        self._paths: dict[int, str] = {}
        self._outside: dict[str, object] = {}
        self._changes = Changes()
        self._untold = set[str]()
        self._closed = False
        self._home = _identity(root)
        self.failure = self._mounts.objection(root)

    @property
    def fd(self) -> int:
        """Readable when something has happened."""
        return self._inotify.fd

    # What a walk says, from its thread.

    def knows(self, path: str) -> bool:
        """Say whether the directory at *path* was listed, and nothing has happened to it since."""
        return path in self._directories

    def enter(self, path: str, descriptor: int) -> None:
        """Watch the directory, which is about to be listed."""
        with self._lock:
            parent, name = _split(path)
            if self._closed or self.failure is not None or (path and parent not in self._directories):
                return
            known = self._directories.get(path)
            if known is None and not self._budget.take():
                self.failure = "there are more directories than corpus.watches allows"
                return
            try:
                number = self._inotify.add(f"/proc/self/fd/{descriptor}")
            except OSError as failed:
                self.failure = f"the system allows no more watches: {failed.strerror}"
                return
            self._paths[number] = path
            self._directories[path] = _Directory(number, known.below if known else set())
            if path:
                self._directories[parent].below.add(name)

    def leave(self, path: str, tally: SkipTally, *, links: bool) -> None:
        """Note what was left out of the directory, and whether it has links in it."""
        with self._lock:
            if known := self._directories.get(path):
                known.tally, known.links = (tally if tally.by_reason else None), links

    def consult(self, path: str) -> None:
        """Note a file outside the watched directories whose content, or absence, decides what belongs."""
        self._outside.setdefault(path, _settled_identity(path))

    # What has changed.

    def drain(self) -> bool:
        """Take in the next events; say whether there may be more."""
        with self._lock:
            events = [] if self._closed else self._inotify.read()
            for event in events:
                self._untold.update(self._note(event))
        return bool(events)

    def untold(self) -> set[str]:
        """Return the paths that events were about since the last time; "" stands for anything."""
        with self._lock:
            untold, self._untold = self._untold, set()
        return untold

    def take(self) -> Changes:
        """Return what has changed since the last time.  Looks at files outside: a thread's work.

        All that was written before the call is in it.
        """
        for _ in range(MOST_READS):
            if not self.drain():
                break
        if self._mounts.changed() and (objection := self._mounts.objection(self.root)):
            self.failure = objection
        touched = [path for path, before in self.linked.items() if self._identity(path) != before]
        is_whole = _identity(self.root) == self._home and all(
            _identity(path) == before for path, before in self._outside.items()
        )
        with self._lock:
            changes, self._changes = self._changes, Changes()
            for path in touched:
                self._note_file(changes, *_split_file(path))
            if changes.names:
                changes.directories |= {path for path, each in self._directories.items() if each.links}
            changes.files |= self.restless
            changes.everything |= self.failure is not None or not is_whole
            return changes

    @property
    def is_quiet(self) -> bool:
        """Whether nothing has happened since `take`, as far as the events that were taken in tell."""
        return not self._changes and self.failure is None

    def tally(self) -> SkipTally:
        """Return what a walk of the whole would have left out, in its order."""
        whole = SkipTally()
        with self._lock:
            told = [(path.split("/"), each.tally) for path, each in self._directories.items() if each.tally]
        for _, tally in sorted(told, key=lambda each: each[0]):
            whole.merge(tally)
        return whole

    def close(self) -> None:
        """Watch no more; some milliseconds for thousands of directories."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._budget.give_back(len(self._directories))
                self._inotify.close()
                self._mounts.close()

    def _identity(self, path: str) -> tuple[int, ...] | None:
        return _identity(os.path.join(self.root, path))

    def _note(self, event: Event) -> Iterator[str]:
        """Sort *event* in, and yield the path it is about."""
        path = self._paths.get(event.watch)
        if event.mask & (Mask.OVERFLOW | Mask.UNMOUNT) or (path == "" and not event.name):
            self._changes.everything = True
            yield ""
        elif path is None:
            return
        elif event.mask & Mask.IGNORED:
            del self._paths[event.watch]
        elif event.name:
            self._changes.names |= bool(event.mask & NAMES_CHANGED)
            if event.name in RULE_NAMES:
                self._note_file(self._changes, path, event.name)
            elif event.mask & Mask.IS_DIR:
                self._forget(f"{path}{event.name}/")
                self._changes.directories.add(path)
            else:
                if event.mask & NAMES_CHANGED:
                    self._changes.directories.add(path)
                self._note_file(self._changes, path, event.name)
            yield path + event.name

    def _note_file(self, changes: Changes, directory: str, name: str) -> None:
        changes.files.add(directory + name)
        changes.everything |= len(changes.files) > MOST_FILES
        if name in RULE_NAMES:
            changes.directories.add(directory)
            for below in list(self._directories[directory].below if directory in self._directories else ()):
                self._forget(f"{directory}{below}/", changes)

    def _forget(self, path: str, changes: Changes | None = None) -> None:
        """Let the directory at *path*, and all below, be found anew."""
        (self._changes if changes is None else changes).gone.add(path)
        parent, name = _split(path)
        if parent in self._directories:
            self._directories[parent].below.discard(name)
        pending = [path]
        while pending:
            each = pending.pop()
            if known := self._directories.pop(each, None):
                self._budget.give_back(1)
                self._paths.pop(known.watch, None)
                self._inotify.remove(known.watch)
                pending += (f"{each}{below}/" for below in known.below)


def begin(root: str, budget: Budget) -> Watch | str:
    """Return a watch for *root*, or why there can be none."""
    try:
        watch = Watch(root, budget)
    except OSError as failed:
        return f"the system cannot watch: {failed.strerror}"
    if watch.failure is not None:
        watch.close()
        return watch.failure
    return watch


def _split(path: str) -> tuple[str, str]:
    """Return the directory above the one at *path*, and the name in it."""
    return _split_file(path[:-1])


def _split_file(path: str) -> tuple[str, str]:
    parent, slash, name = path.rpartition("/")
    return parent + slash, name


def _identity(path: str) -> tuple[int, ...] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    if stat.S_ISDIR(status.st_mode):
        return status.st_dev, status.st_ino
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _settled_identity(path: str) -> object:
    """Return what tells a later state of *path* from this one; nothing does while it was just changed."""
    identity = _identity(path)
    is_new = max(identity or (0,)) > time.time_ns() - GRAIN_NS  # no other number of it is that large
    return object() if is_new else identity
