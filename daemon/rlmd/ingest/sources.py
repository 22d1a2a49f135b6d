"""Find and read the files that ignore rules come from; `ignore` knows what they mean."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Container, Mapping
from pathlib import Path

from rlmd.ingest.belonging import GIT_DIR
from rlmd.ingest.ignore import Rules, Scope, Source

MAX_IGNORE_FILE_BYTES = 4 << 20

_OPEN = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_NAMES = ((Source.RGIGNORE, ".rgignore"), (Source.IGNORE, ".ignore"), (Source.GITIGNORE, ".gitignore"))
_NO_RULES = Rules(())


class _Everything:
    """Stands for a listing nobody made: every name may be there."""

    def __contains__(self, _: object) -> bool:
        return True


EVERYTHING: Container[str] = _Everything()


class IgnoreFiles:
    """Reads the rules of directories; the person's global git excludes are read once, at the start.

    *consult* hears of each file before it is looked for, where no listing told of it.
    """

    def __init__(self, environ: Mapping[str, str], consult: Callable[[str], None] | None = None) -> None:
        self._consult = consult or _tell_nobody
        for config in global_configs(environ):
            self._consult(config)
        path = global_excludes_path(environ)
        self._global = self._read(path) if path else _NO_RULES

    def extend(self, scope: Scope, directory: str, listing: Container[str] = EVERYTHING) -> Scope:
        """Return *scope* with the rules that lie in *directory*, looking only for names in *listing*."""
        work_tree = GIT_DIR in listing and os.path.exists(f"{directory}/{GIT_DIR}")
        inside = work_tree or scope.in_work_tree
        found = {
            source: self._read_listed(f"{directory}/{name}")
            for source, name in _NAMES
            if name in listing and (inside or source < Source.GITIGNORE)
        }
        if work_tree:
            found[Source.GIT_EXCLUDE] = self._read(self._exclude_path(directory))
            found[Source.GIT_GLOBAL] = self._global
        return scope.extended(found, work_tree=work_tree) if found else scope

    def above(self, root: str) -> Scope:
        """Return the scope that holds in *root* by the directories above it, as ripgrep reads them.

        `.ignore` and `.rgignore` count up to `/`; git's files up to the work tree's root.
        """
        scope, directory = Scope(), ""
        for name in filter(None, root.split("/")):
            for each in (GIT_DIR, *(each for _, each in _NAMES)):
                self._consult(f"{directory}/{each}")
            scope = self.extend(scope, directory).child(name)
            directory += f"/{name}"
        return scope

    def _read(self, path: str) -> Rules:
        self._consult(path)
        return read_rules(path)

    def _read_listed(self, path: str) -> Rules:
        """Read a file that lies in the tree itself, or a link that does."""
        return self._read(path) if os.path.islink(path) else read_rules(path)

    def _exclude_path(self, work_tree: str) -> str:
        """Return where `info/exclude` of a work tree lies; linked work trees share their repository's."""
        git_dir = Path(work_tree, GIT_DIR)
        try:
            if git_dir.is_file():
                pointer = git_dir.read_text("utf-8", "surrogateescape")
                git_dir = Path(work_tree, pointer.removeprefix("gitdir: ").rstrip("\r\n"))
                self._consult(str(git_dir / "commondir"))
                common = (git_dir / "commondir").read_text("utf-8", "surrogateescape").rstrip("\r\n")
                git_dir = git_dir / common
        except OSError:
            pass  # a repository of its own, or one that is gone: there is nothing shared to look up
        return str(git_dir / "info" / "exclude")


def _tell_nobody(_: str) -> None:
    """Hear of a file that decides, when nobody needs to know."""


def read_rules(path: str) -> Rules:
    """Compile the ignore file at *path*; what is absent, unreadable or no regular file has no rules.

    Reads at most `MAX_IGNORE_FILE_BYTES`.
    """
    try:
        descriptor = os.open(path, _OPEN)
    except OSError:
        return _NO_RULES
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return _NO_RULES
        return Rules.from_bytes(os.read(descriptor, MAX_IGNORE_FILE_BYTES))
    except OSError:
        return _NO_RULES
    finally:
        os.close(descriptor)


def global_excludes_path(environ: Mapping[str, str]) -> str | None:
    """Return the person's own excludes file, as `core.excludesFile` or git's default names it.

    As ripgrep does, `~/.gitconfig` is asked before `$XDG_CONFIG_HOME/git/config`, and includes are
    not followed.  None without a home.
    """
    home, config_home = _homes(environ)
    for config in global_configs(environ):
        named = _named_in(config)
        if named:
            return f"{home}{named[1:]}" if home and named.startswith("~/") else named
    return f"{config_home}/git/ignore" if config_home else None


def global_configs(environ: Mapping[str, str]) -> list[str]:
    """Return the files of git's settings that may name the excludes file, the first one first."""
    home, config_home = _homes(environ)
    configs = [f"{home}/.gitconfig"] if home else []
    return configs + ([f"{config_home}/git/config"] if config_home else [])


def _homes(environ: Mapping[str, str]) -> tuple[str | None, str | None]:
    home = environ.get("HOME")
    return home, environ.get("XDG_CONFIG_HOME") or (f"{home}/.config" if home else None)


def _named_in(config: str) -> str | None:
    try:
        text = Path(config).read_text("utf-8", "replace")
    except OSError:
        return None
    match = re.search(r"(?im)^\s*excludesfile\s*=\s*(.+?)\s*$", text)
    return match[1].strip('"') if match else None
