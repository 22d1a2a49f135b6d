"""The machine: interpreter, packages, disk, who may read what, the service manager."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator

from rlmd import paths
from rlmd.cli.checkup.findings import Finding, broken, ok, unchecked, warning
from rlmd.errors import ConfigError

MIB = 1 << 20
LITTLE_BYTES = 512 * MIB
PATIENCE_S = 5.0
REMOTE = {"nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "9p", "afs", "ceph", "glusterfs"}
"""File systems on which SQLite's shared memory and locks cannot be relied on."""


def python() -> Iterator[Finding]:
    """Look for the interpreter and every package that it has to have."""
    from importlib.metadata import PackageNotFoundError, requires, version  # noqa: PLC0415

    told = f"{'.'.join(map(str, sys.version_info[:3]))} at {sys.executable}"
    missing = []
    for wanted in requires("rlmd") or []:
        if "extra ==" in wanted:
            continue
        name = re.split(r"[ <>=!~;\[(]", wanted, maxsplit=1)[0]
        try:
            version(name)
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        yield broken("python", f"{told} lacks {', '.join(missing)}", "Install rlmd anew: pip install rlmd.")
    else:
        yield ok("python", told)


def system() -> Iterator[Finding]:
    """Say whether this is a system on which everything can work."""
    name = os.uname()
    if sys.platform == "linux":
        yield ok("system", f"Linux {name.release}, {name.machine}")
    else:
        yield warning(
            "system",
            f"{name.sysname} is not supported: code that models write cannot be confined here",
            "Use Linux for mode rlm and rlm_exec; questions by evidence need no sandbox.",
        )


def disk() -> Iterator[Finding]:
    """Look at the room and the kind of file system below state and cache."""
    for name, place in (("state", paths.state_dir()), ("cache", paths.cache_dir())):
        existing = place
        while not os.path.exists(existing):
            existing = os.path.dirname(existing)
        free = shutil.disk_usage(existing).free
        kind = _kind_of(existing)
        if kind in REMOTE:
            yield warning(
                f"disk {name}",
                f"{place} is on {kind}, where databases can be damaged",
                f"Set RLMD_{name.upper()}_DIR to a directory on a disk of this machine.",
            )
        elif free < LITTLE_BYTES:
            yield warning(f"disk {name}", f"{place}: {free // MIB} MiB are free", "Make room on that disk.")
        else:
            yield ok(f"disk {name}", f"{place}: {free // MIB:,} MiB free")


def permissions() -> Iterator[Finding]:
    """Look at who owns, and who may read, what the daemon keeps."""
    directories = [paths.state_dir(), paths.cache_dir(), os.path.dirname(paths.config_files()[1])]
    found = [*map(_open_directory, directories), _open_key(paths.key_file())]
    wrong = [each for each in found if each is not None]
    yield from wrong or [ok("permissions", "state, cache, settings and key are this user's alone")]


def systemd() -> Iterator[Finding]:
    """Ask the user's service manager for our units."""
    if shutil.which("systemctl") is None:
        yield unchecked("systemd", "there is none here; the first client starts the daemon")
        return
    if "RLMD_SOCKET" in os.environ:
        yield unchecked("systemd", "RLMD_SOCKET is set: this is about a daemon apart from the service")
        return
    answer = _systemctl("is-active", "rlmd.socket")
    if answer is None:
        yield unchecked("systemd", "the user's service manager does not answer")
    elif answer == "active":
        yield ok("systemd", "rlmd.socket listens; the service starts with the first client")
    elif answer == "failed":
        yield broken("systemd", "rlmd.socket has failed", "Look: systemctl --user status rlmd.socket.")
    else:
        yield ok("systemd", "no unit is active; the first client starts the daemon (rlmd service install)")


def _systemctl(*words: str) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603  # words of our own
            ["systemctl", "--user", *words],  # noqa: S607  # it is where the person's PATH has it
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def _kind_of(place: str) -> str:
    """Return the type of the file system that *place* lies on, as the kernel names it."""
    place, best, kind = os.path.realpath(place), "", ""
    try:
        with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as mounts:
            for line in mounts:
                _, where, what, *_ = line.split(" ")
                where = where.replace("\\040", " ")
                if len(where) >= len(best) and os.path.commonpath([where, place]) == where:
                    best, kind = where, what
    except OSError:
        return ""
    return kind


def _open_directory(place: str) -> Finding | None:
    try:
        found = os.stat(place)
    except FileNotFoundError:
        return None
    except OSError as exc:
        return broken("permissions", f"{place}: {exc.strerror}", f"Make it yours: chown -R $USER {place}.")
    if found.st_uid != os.getuid():
        return broken("permissions", f"{place} belongs to another user", f"Run: chown -R $USER {place}.")
    if not os.access(place, os.W_OK | os.X_OK):
        return broken("permissions", f"{place} may not be written", f"Run: chmod 700 {place}.")
    if stat.S_IMODE(found.st_mode) & 0o077:
        return warning("permissions", f"{place} is open to other users", f"Run: chmod 700 {place}.")
    return None


def _open_key(place: str) -> Finding | None:
    from rlmd.llm.keys import key_in_file  # noqa: PLC0415  # as all commands import

    try:
        key_in_file(place)
    except ConfigError as exc:
        return broken("permissions", str(exc), "Keep the key anew: rlmd auth set.")
    return None
