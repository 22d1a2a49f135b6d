"""Whose memory it is: which project a directory belongs to."""

from __future__ import annotations

import os
from typing import NamedTuple

USER = "user"
"""The scope of the person, beside all projects."""

_GIT_FILE_BYTES = 8_192


class Place(NamedTuple):
    """A project, and the work tree that a caller sees of it; None for a scope without files."""

    project: str
    top: str | None


def project_of(directory: str) -> str:
    """Return the project of an absolute *directory*: the repository that it lies in, else itself.

    A repository is named by its git common directory, so that all worktrees share one memory, and
    by the directory above where that is a plain `.git`.  No git process runs and nothing is raised:
    what cannot be read is no repository.
    """
    return _locate(directory).project


def place_for(name: str | None, workspace: str | None) -> Place:
    """Return the project that a request means.

    *name* is what the caller asked for: an absolute path means the project it lies in, anything
    else is taken as it is.  Without a name it is the workspace's, without a workspace USER.
    """
    if name is not None:
        return _locate(name) if os.path.isabs(name) else Place(name, None)
    return Place(USER, None) if workspace is None else _locate(workspace)


def _locate(directory: str) -> Place:
    directory = os.path.realpath(directory)
    here = directory
    while True:
        if common := _common_dir(os.path.join(here, ".git")):
            head, tail = os.path.split(common)
            return Place(head if tail == ".git" else common, here)
        if _is_git_dir(here):
            return Place(here, here)
        if here == (above := os.path.dirname(here)):
            return Place(directory, directory)
        here = above


def _common_dir(dot_git: str) -> str | None:
    """Follow a `.git` directory or file to what all worktrees of the repository share."""
    git_dir = dot_git
    if (line := _first_line(dot_git)) is not None:
        if not line.startswith("gitdir:"):
            return None
        git_dir = os.path.join(os.path.dirname(dot_git), line.removeprefix("gitdir:").strip())
    if (shared := _first_line(os.path.join(git_dir, "commondir"))) is not None:
        git_dir = os.path.join(git_dir, shared.strip())
    git_dir = os.path.realpath(git_dir)
    return git_dir if _is_git_dir(git_dir) else None


def _is_git_dir(path: str) -> bool:
    """Say whether *path* has what git itself looks for in a repository."""
    return os.path.isfile(os.path.join(path, "HEAD")) and os.path.isdir(os.path.join(path, "objects"))


def _first_line(path: str) -> str | None:
    """Return the first line of a small regular file, None where there is none."""
    if not os.path.isfile(path):
        return None
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            line = file.read(_GIT_FILE_BYTES).partition("\n")[0]
    except OSError:
        return None
    return None if "\0" in line else line
