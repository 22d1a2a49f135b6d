"""Which entries of a directory belong to a corpus, by their names alone.  Pure."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rlmd.ingest.globs import byte_view
from rlmd.ingest.ignore import Rules, Scope
from rlmd.ingest.tables import Sieve, Table
from rlmd.values import SkipReason, WalkRules

GIT_DIR = ".git"


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory on the way, with the ignore rules that hold in it.

    `path` is relative to the root; it and `absolute` end in a slash, but for the root's `path`,
    which is empty.  `viewed` is the byte view of `path`.
    """

    path: str
    absolute: str
    viewed: str
    scope: Scope

    @property
    def location(self) -> str:
        """The absolute path without its final slash, which would have a symlink followed."""
        return self.absolute.rstrip("/") or "/"

    def below(self, name: str) -> Directory:
        """Return the subdirectory *name*, its own ignore files not yet read."""
        path = f"{self.path}{name}/"
        return Directory(path, f"{self.absolute}{name}/", byte_view(path), self.scope.child(name))

    def scoped(self, scope: Scope) -> Directory:
        """Return this directory with *scope* in force."""
        return Directory(self.path, self.absolute, self.viewed, scope)


class Belonging:
    """The rules of one walk, without the ignore files, which come with the directories."""

    def __init__(self, rules: WalkRules, asked: Iterable[str]) -> None:
        self._secret = Rules.from_globs(rules.secret)
        self._globs = Rules.from_globs([*rules.include, *(f"!{glob}" for glob in rules.exclude)])
        self._only_included = self._globs.ignores  # to ripgrep an include is a rule, an exclude its negation
        self._closed: dict[str, SkipReason] = {
            **dict.fromkeys(rules.own, "ignored"),
            **dict.fromkeys(rules.deny, "secret"),
        }
        self._always = {GIT_DIR, *(os.path.split(path)[1] for path in self._closed)}
        self._sieves: dict[tuple[int, ...], tuple[list[Table], Sieve]] = {}
        self._asked = frozenset(asked)
        self._always |= {path.rpartition("/")[2] for path in self._asked}

    def doubtful(self, here: Directory, names: Sequence[str]) -> set[str]:
        """Return those of *names* for which `left_out` has to be asked; the others belong."""
        if self._only_included or not "".join(names).isascii():
            return set(names)
        tables = [*self._secret.tables(here.viewed), *self._globs.tables(here.viewed), *here.scope.tables()]
        key = tuple(map(id, tables))
        if key not in self._sieves:
            self._sieves[key] = tables, Sieve(tables)
        found = self._sieves[key][1].sift(names)
        return found | self._always

    def is_asked(self, here: Directory, name: str) -> bool:
        """Say whether the entry was asked for by name."""
        return here.path + name in self._asked

    def left_out(self, here: Directory, name: str, *, is_dir: bool) -> SkipReason | None:
        """Return why an entry does not belong, or None."""
        if reason := self.barred(here, name, is_dir=is_dir):
            return reason
        viewed = byte_view(name)
        if self._globs:
            included = self._globs.verdict(here.viewed, viewed, is_dir=is_dir)
            if included is not None:
                return None if included else "ignored"
            if self._only_included and not is_dir:
                return "ignored"
        return "ignored" if here.scope.verdict(viewed, is_dir=is_dir) else None

    def barred(self, here: Directory, name: str, *, is_dir: bool) -> SkipReason | None:
        """Return why an entry may not be touched, whoever asks for it, or None."""
        if name == GIT_DIR:
            return "ignored"
        if not name.isascii() and not _is_utf8(name):
            return "unreadable"
        if self._closed and (reason := self._closed.get(here.absolute + name)):
            return reason
        if self._secret and self._secret.verdict(here.viewed, byte_view(name), is_dir=is_dir):
            return "secret"
        return None


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
