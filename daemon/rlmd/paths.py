"""Where the program's socket, state, cache and settings lie.

Cheap to import on purpose: every command starts here.  The environment is an argument, nothing is
cached, and only `make_private_dir` writes.  Whatever makes a place unusable raises `ConfigError`.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
from collections.abc import Mapping

from rlmd.errors import ConfigError

SOCKET_PATH_LIMIT_BYTES = 107
"""`sun_path` of unix(7) holds 108 bytes, one of them the final NUL."""


def socket_path(env: Mapping[str, str] = os.environ) -> str:
    """Say where the daemon listens, refusing a path that cannot be bound or cannot be trusted.

    `$RLMD_SOCKET` is taken as it is.  A default path lies in a directory of its own; where that
    directory exists already, it has to be ours and closed to others, since whoever owns it could
    stand in for the daemon.
    """
    if chosen := env.get("RLMD_SOCKET"):
        path = os.path.abspath(chosen)
    else:
        runtime = _absolute(env.get("XDG_RUNTIME_DIR"))
        directory = os.path.join(runtime, "rlmd") if runtime else f"/tmp/rlmd-{os.getuid()}"  # noqa: S108  checked below
        _require_private(directory)
        path = os.path.join(directory, "mcp.sock")
    if (length := len(os.fsencode(path))) > SOCKET_PATH_LIMIT_BYTES:
        raise ConfigError(
            f"{path}: has {length} bytes, a socket path may have {SOCKET_PATH_LIMIT_BYTES}; "
            "set RLMD_SOCKET to a shorter one"
        )
    return path


def state_dir(env: Mapping[str, str] = os.environ) -> str:
    """Say where memory and jobs are kept: what must never be lost."""
    return _own_dir(env, "RLMD_STATE_DIR", "XDG_STATE_HOME", ".local/state")


def cache_dir(env: Mapping[str, str] = os.environ) -> str:
    """Say where that is kept which can be computed again."""
    return _own_dir(env, "RLMD_CACHE_DIR", "XDG_CACHE_HOME", ".cache")


def config_files(env: Mapping[str, str] = os.environ) -> tuple[str, str]:
    """Name the settings files that are read where they exist, the weaker one first."""
    base = _absolute(env.get("XDG_CONFIG_HOME")) or os.path.join(_home(env), ".config")
    return "/etc/rlmd/config.toml", os.path.join(base, "rlmd", "config.toml")


def key_file(env: Mapping[str, str] = os.environ) -> str:
    """Name the file in which `rlmd auth set` keeps the key of the model provider."""
    return os.path.join(os.path.dirname(config_files(env)[1]), "api-key")


def make_private_dir(path: str) -> None:
    """Make the directory *path*, and its missing parents, open to nobody else.

    One that exists keeps its mode, but has to belong to us or to root.
    """
    parent = os.path.dirname(path)
    try:
        if parent != path and not os.path.lexists(parent):
            make_private_dir(parent)
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o700)
        found = os.stat(path)
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be made a directory: {exc.strerror}") from exc
    if not stat.S_ISDIR(found.st_mode):
        raise ConfigError(f"{path}: is not a directory")
    if found.st_uid not in (0, os.getuid()):
        raise ConfigError(f"{path}: belongs to another user")


def _own_dir(env: Mapping[str, str], own: str, xdg: str, below_home: str) -> str:
    if chosen := env.get(own):
        return os.path.abspath(chosen)
    base = _absolute(env.get(xdg)) or os.path.join(_home(env), below_home)
    return os.path.join(base, "rlmd")


def _absolute(path: str | None) -> str | None:
    """Take an XDG variable for unset where it is empty or relative, as its specification asks."""
    return path if path and os.path.isabs(path) else None


def _home(env: Mapping[str, str]) -> str:
    return _absolute(env.get("HOME")) or pwd.getpwuid(os.getuid()).pw_dir


def _require_private(directory: str) -> None:
    try:
        found = os.lstat(directory)
    except FileNotFoundError:
        return
    except OSError as exc:
        raise ConfigError(f"{directory}: {exc.strerror}") from exc
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise ConfigError(f"{directory}: is not a directory of this user; set RLMD_SOCKET to a path that is")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise ConfigError(f"{directory}: is open to other users; run: chmod 700 {directory}")


def network_of(path: str) -> str | None:
    """Return the kind of network file system that *path* lies on; None for a local one."""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
            kind = filesystem_of(os.path.realpath(path), table.read())
    except OSError:  # no such table here: another system than Linux
        return None
    return kind if kind in NETWORKED else None


def filesystem_of(path: str, mounts: str) -> str:
    """Return the kind of file system that *path* lies on, by a table as in /proc/self/mountinfo."""
    lies_on, kind = "", ""
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        place = left.split(" ")[4].replace("\\040", " ")
        below = path == place or path.startswith(place.rstrip("/") + "/")
        if below and len(place) >= len(lies_on):
            lies_on, kind = place, right.split(" ")[0]
    return kind


NETWORKED = frozenset(
    {"9p", "afs", "ceph", "cifs", "coda", "davfs", "fuse.davfs", "fuse.glusterfs", "fuse.rclone"}
    | {"fuse.sshfs", "gfs2", "glusterfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "smb3", "smbfs"}
)
