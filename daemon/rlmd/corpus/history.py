"""Past commits vote: what a message like the question once changed is where its answer lies.

Read with git, which is told to run nothing that a repository may ask for, and to fetch nothing.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from threading import Timer
from typing import NamedTuple

COMMITS = 5000
"""So many commits before a snapshot are looked at."""
MESSAGE_CHARS = 700
MOST_PATHS = 20
"""A commit that changed more files says nothing about any of them."""
LOG_BYTES = 32 << 20
LOG_S = 20.0

_SAFE = (
    *("-c", "core.quotePath=false", "-c", "core.fsmonitor=false", "-c", "log.showSignature=false"),
    *("-c", "protocol.allow=never", "-c", "core.hooksPath=/dev/null", "--no-optional-locks", "--no-pager"),
)
_ENVIRONMENT = {
    "PATH": os.defpath,
    "LC_ALL": "C",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_TERMINAL_PROMPT": "0",
}
_COMMIT = "%x1e%H%x1f%P%x1f%s%n%b%x1d"
_CHANGE = re.compile(r"([A-Z])\d*\t([^\t\n]+)(?:\t([^\t\n]+))?")


class Commit(NamedTuple):
    """A commit; `changed` are the paths below the top that it changed, as they were called then.

    `renamed` has the older name of each path that it gave a new one.
    """

    id: str
    parents: tuple[str, ...]
    message: str
    changed: tuple[str, ...]
    renamed: Mapping[str, str]


class Past(NamedTuple):
    """What a commit said, and what the files it changed are called now."""

    message: str
    paths: tuple[str, ...]


def read_log(place: str, revision: str, *, commits: int = COMMITS) -> list[Commit]:
    """Return the last *commits* before and at *revision* of the repository at *place*, newest first.

    Merges are left out.  What git cannot tell within LOG_S seconds and LOG_BYTES is missing, the
    oldest first, and so is everything where there is no git or no repository.  Blocks.
    """
    arguments = ["log", f"-{commits}", "--no-merges", "--no-ext-diff", "--no-textconv", "-M", "--name-status"]
    command = ["git", "-C", place, *_SAFE, *arguments, f"--format={_COMMIT}"]
    command += ["--end-of-options", revision, "--"]
    return list(parse_log(_output(command).decode("utf-8", "replace")))


def _output(command: Sequence[str]) -> bytes:
    try:
        process = subprocess.Popen(  # noqa: S603  # git, by fixed arguments and a hash
            command,
            env=_ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    except OSError:
        return b""
    with process:
        timer = Timer(LOG_S, process.kill)
        timer.start()
        try:
            assert process.stdout is not None  # it is a pipe
            return process.stdout.read(LOG_BYTES)
        finally:
            timer.cancel()
            process.kill()


def parse_log(text: str) -> Iterator[Commit]:
    """Yield the commits of git's answer, in its order; the last may have been cut short."""
    for entry in text.split("\x1e")[1:]:
        told, _, names = entry.partition("\x1d")
        identity, _, rest = told.partition("\x1f")
        parents, _, message = rest.partition("\x1f")
        changed, renamed = [], {}
        for kind, path, new in _CHANGE.findall(names):
            changed.append(new or path)
            if kind == "R":
                renamed[new] = path
        yield Commit(identity, tuple(parents.split()), message[:MESSAGE_CHARS], tuple(changed), renamed)


def follow(commits: Iterable[Commit]) -> Iterator[Past]:
    """Yield what may vote of *commits*, newest first, its paths by the names they came to have."""
    now: dict[str, str] = {}
    for commit in commits:
        paths = tuple(now.get(path, path) for path in commit.changed)
        if 0 < len(paths) <= MOST_PATHS:
            yield Past(commit.message, paths)
        for new, old in commit.renamed.items():
            now[old] = now.get(new, new)


def votes(past: Iterable[tuple[float, Sequence[str]]]) -> dict[str, float]:
    """Return what commits, by score, say for each path: the most voted for has 1."""
    said: dict[str, float] = defaultdict(float)
    for score, paths in past:
        for path in paths:
            said[path] += score / len(paths) ** 0.5
    most = max(said.values(), default=0.0) or 1.0
    return {path: value / most for path, value in said.items()}
