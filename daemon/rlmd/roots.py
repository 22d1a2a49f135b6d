"""Which places of the machine a session may read.

Touches the file system and may block on a hung mount: call it from a thread.
"""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from itertools import islice

from rlmd.errors import BadArgument, NotFound, OutsideRoots
from rlmd.values import Session

MOST_SIBLINGS = 2000
SUGGESTIONS = 3
_CLOSE_ENOUGH = 0.5


@dataclass(frozen=True, slots=True)
class Roots:
    """The `roots.allow` and `roots.deny` of the settings: directories; `~` stands for the home.

    Symlinks on the way to them are resolved at each question, so that a directory which is made
    or moved later counts as it is then.
    """

    allow: tuple[str, ...]
    deny: tuple[str, ...]

    def resolve(self, path: str, session: Session) -> str:
        """Return where *path* leads, absolute and free of symlinks: it exists and may be read.

        Allowed is what lies under the session's workspace, under what its person typed and under
        `allow`, unless it lies under `deny`.  A workspace of `/` or the home allows nothing by
        itself.  Raises BadArgument for a path that is none, or is relative without a workspace;
        OutsideRoots before anything could tell whether such a path exists; NotFound with the
        nearest existing paths.
        """
        resolved = os.path.realpath(_absolute(path, session))
        self._check(path, resolved, session)
        try:
            os.stat(resolved)
        except PermissionError:
            return resolved
        except OSError:
            raise NotFound(f"no such path: {path}", self._nearest(resolved, session)) from None
        return resolved

    def _check(self, path: str, resolved: str, session: Session) -> None:
        if self._is_denied(resolved):
            raise OutsideRoots(
                f"{path} is closed by roots.deny",
                "Ask the person; no tool may read it while the setting stands.",
            )
        if not any(is_within(resolved, root) for root in self._allowed(session)):
            raise OutsideRoots(
                f"{path} is outside of what this session may read",
                "Stay inside the workspace, or have its directory added to roots.allow in the settings.",
            )

    def _is_denied(self, resolved: str) -> bool:
        return any(is_within(resolved, _place(closed)) for closed in self.deny)

    def _allowed(self, session: Session) -> list[str]:
        allowed = [_place(root) for root in (*self.allow, *session.allow)]
        if session.workspace is not None:
            workspace = os.path.realpath(session.workspace)
            allowed += [workspace] if workspace not in ("/", _place("~")) else []
        return allowed

    def _nearest(self, resolved: str, session: Session) -> str:
        """Name existing paths like *resolved*, out of the deepest directory on its way that exists."""
        parent, missing = os.path.split(resolved)
        while parent != "/" and not os.path.isdir(parent):
            parent, missing = os.path.split(parent)
        if not any(is_within(parent, root) for root in self._allowed(session)):
            return "Check the path."
        workspace = None if session.workspace is None else os.path.realpath(session.workspace)
        siblings = [os.path.join(parent, name) for name in _closest(missing, parent)]
        shown = [
            relative_to(each, workspace) for each in siblings if not self._is_denied(os.path.realpath(each))
        ]
        if shown:
            return f"The nearest that exist: {', '.join(shown)}."
        return f"The deepest directory on its way: {relative_to(parent, workspace)}."


def is_within(path: str, root: str) -> bool:
    """Whether *path* is *root* or lies below it; both are absolute and resolved."""
    return path == root or path.startswith(root.rstrip("/") + "/")


def relative_to(path: str, workspace: str | None) -> str:
    """Write *path* as results show it: relative to the workspace, absolute outside of it; both resolved."""
    if workspace is None or not is_within(path, workspace):
        return path
    return path[len(workspace.rstrip("/")) + 1 :] or "."


def _absolute(path: str, session: Session) -> str:
    if not path or "\0" in path or any("\ud800" <= char <= "\udfff" for char in path):
        raise BadArgument(
            "path is empty or holds what no path may hold", "Give a path without NUL, in valid UTF-8."
        )
    expanded = os.path.expanduser(path)
    if os.path.isabs(expanded):
        return expanded
    if session.workspace is None:
        raise BadArgument(
            f"{path} is relative, and this connection has no workspace", "Give an absolute path."
        )
    return os.path.join(session.workspace, expanded)


def _place(root: str) -> str:
    return os.path.realpath(os.path.expanduser(root))


def _closest(name: str, directory: str) -> list[str]:
    try:
        with os.scandir(directory) as entries:
            names = [entry.name for entry in islice(entries, MOST_SIBLINGS)]
    except OSError:
        return []
    by_folded = {each.casefold(): each for each in sorted(names) if each.isprintable()}
    close = difflib.get_close_matches(name.casefold(), by_folded, n=SUGGESTIONS, cutoff=_CLOSE_ENOUGH)
    return [by_folded[each] for each in close]
