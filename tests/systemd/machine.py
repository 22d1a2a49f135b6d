"""A machine with a systemd of its own, for as long as a block lasts; needs root and namespaces."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
PERSON, UID = "guest", 4242
HOME = f"/home/{PERSON}"
PATIENCE_S = 60.0
SYSTEMD = Path("/lib/systemd/systemd")
TOOLS = ("unshare", "nsenter", "setpriv", "systemctl", "pgrep", "ip")
PREPARE = f"""
# Sourced before systemd starts: a person who may reach the interpreter and the tree under test.
echo '{PERSON}:x:{UID}:{UID}::{HOME}:/bin/bash' >> "$root/etc/passwd"
echo '{PERSON}:x:{UID}:' >> "$root/etc/group"
echo '{PERSON}:*:19000:0:99999:7:::' >> "$root/etc/shadow"
mkdir -p "$root{HOME}" "$root/etc/systemd/system/user@.service.d"
chown {UID}:{UID} "$root{HOME}"
chmod 700 "$root{HOME}"
printf '[Service]\\nEnvironment=XDG_RUNTIME_DIR=/run/user/%%i\\n' \\
  > "$root/etc/systemd/system/user@.service.d/runtime.conf"  # there is no logind to set it
for directory in @CLOSED@; do chmod o+x "$root$directory"; done
"""


def what_is_missing() -> str | None:
    """Say why no machine can be booted here, or None."""
    if os.geteuid() != 0:
        return "only root can boot a systemd of its own"
    if not SYSTEMD.exists():
        return "systemd is not installed"
    missing = next((tool for tool in TOOLS if shutil.which(tool) is None), None)
    if missing is not None:
        return f"{missing} is not installed"
    tried = subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "--cgroup", "--net", "true"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return f"no namespaces: {tried.stderr.strip()}" if tried.returncode else None


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Machine:
    """Runs commands inside; `init` is its process 1 as the outside sees it."""

    init: int

    def start(self, *command: str, **env: str) -> subprocess.Popen[str]:
        """Start *command* as root, and go on."""
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8", **env}
        words = [f"{name}={value}" for name, value in environment.items()]
        return subprocess.Popen(
            ["nsenter", "-t", str(self.init), "-a", "env", "-i", *words, *command],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, *command: str, stdin: str = "", check: bool = True, **env: str) -> Done:
        """Run *command* as root, to its end; fail where it fails, unless told otherwise."""
        with self.start(*command, **env) as running:
            try:
                out, err = running.communicate(stdin, timeout=PATIENCE_S)
            except subprocess.TimeoutExpired:
                running.kill()
                raise
        assert not (check and running.returncode), f"{command} ended with {running.returncode}: {out}{err}"
        return Done(running.returncode, out, err)

    def person(self, *command: str, stdin: str = "", check: bool = True, **env: str) -> Done:
        """Run *command* as the person, in their home."""
        return self.run(*_as_person(command), stdin=stdin, check=check, **_of_person(), **env)

    def rlmd(self, *arguments: str, stdin: str = "", check: bool = True, **env: str) -> Done:
        """Run `rlmd` as the person."""
        return self.person(sys.executable, "-m", "rlmd", *arguments, stdin=stdin, check=check, **env)

    def start_rlmd(self, *arguments: str, **env: str) -> subprocess.Popen[str]:
        """Start `rlmd` as the person, and go on."""
        return self.start(*_as_person((sys.executable, "-m", "rlmd", *arguments)), **_of_person(), **env)

    def write(self, path: str, text: str, mode: str = "600", owner: int = UID) -> None:
        """Write a file inside, and the directories to it."""
        given = ["-m", mode, "-o", str(owner), "-g", str(owner)]
        self.run("install", "-d", "-o", str(owner), "-g", str(owner), str(Path(path).parent))
        self.run("install", *given, "/dev/stdin", path, stdin=text)

    def modes(self, *paths: str) -> list[str]:
        """Return mode and owner of each path."""
        return self.run("stat", "-c", "%a %U", *paths).out.splitlines()


@dataclass(frozen=True)
class Unit:
    """One service and its socket, of the person's manager or of the machine's."""

    machine: Machine
    name: str
    socket: str
    is_users: bool

    def systemctl(self, *arguments: str, check: bool = True) -> Done:
        """Ask the manager of the unit."""
        if self.is_users:
            return self.machine.person("systemctl", "--user", *arguments, check=check)
        return self.machine.run("systemctl", *arguments, check=check)

    def __getitem__(self, fact: str) -> str:
        """Return what the manager knows of the service."""
        return self.systemctl("show", self.name, "--property", fact, "--value").out.strip()

    @property
    def door(self) -> Unit:
        """The socket's own unit."""
        return replace(self, name=self.name.replace(".service", ".socket"))

    @property
    def pid(self) -> int:
        return int(self["MainPID"])

    def rlmd(self, *arguments: str, stdin: str = "", check: bool = True) -> Done:
        """Run `rlmd` as the person, against this unit's socket."""
        return self.machine.rlmd(*arguments, stdin=stdin, check=check, RLMD_SOCKET=self.socket)

    def status(self) -> dict[str, Any]:
        """Return the daemon's own status, which starts it where it does not run."""
        told: dict[str, Any] = json.loads(self.rlmd("status", "--json").out)
        return told

    @contextmanager
    def having(self, name: str, *lines: str) -> Iterator[None]:
        """Add *lines* to the service by a drop-in, for starts within the block; stop it after."""
        directory = f"{HOME}/.config/systemd/user" if self.is_users else "/etc/systemd/system"
        file, owner = f"{directory}/{self.name}.d/{name}.conf", UID if self.is_users else 0
        self.machine.write(file, "\n".join(["[Service]", *lines, ""]), "644", owner)
        self.systemctl("daemon-reload")
        try:
            yield
        finally:
            self.machine.run("rm", file)
            self.systemctl("daemon-reload")
            self.systemctl("stop", self.name)

    def kill(self, name: str) -> int:
        """Send the main process a signal; return its pid."""
        pid = self.pid
        self.machine.run("kill", f"-{name}", str(pid))
        return pid


@contextmanager
def booted() -> Iterator[Machine]:
    """Boot, wait until it is up with the person's own manager, and take all of it down after."""
    place = Path(tempfile.mkdtemp(prefix="rlmd-systemd-"))
    needed = [Path(sys.executable), Path(os.path.realpath(sys.executable)), REPOSITORY / "daemon/rlmd"]
    closed = {str(each) for path in needed for each in path.parents if not each.stat().st_mode & 0o001}
    (place / "prepare.sh").write_text(PREPARE.replace("@CLOSED@", " ".join(sorted(closed))))
    boot = subprocess.Popen(["setsid", "bash", str(HERE / "boot.sh"), str(place)])
    try:
        until((place / "pid").exists, "there is an init")
        machine = Machine(int((place / "pid").read_text()))
        until(lambda: _state(machine) in {"running", "degraded"}, "the machine is up")
        machine.run("systemctl", "start", f"user@{UID}.service")
        yield machine
    finally:
        _take_down(place, boot)


def until(holds: Callable[[], object], what: str, within_s: float = PATIENCE_S) -> float:
    """Look until *holds*; return how many seconds it took, or fail where it does not come to that."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < within_s, f"not within {within_s:g} s: {what}"
        time.sleep(0.02)
    return time.monotonic() - began


def _as_person(command: tuple[str, ...]) -> list[str]:
    return ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "env", "-C", HOME, *command]


def _of_person() -> dict[str, str]:
    return {"HOME": HOME, "USER": PERSON, "XDG_RUNTIME_DIR": f"/run/user/{UID}", "PATH": "/usr/bin:/bin"}


def _state(machine: Machine) -> str:
    return machine.run("systemctl", "is-system-running", check=False).out.strip()


def _take_down(place: Path, boot: subprocess.Popen[bytes]) -> None:
    """Kill the init, and with it everything inside; leave no control group and no file."""
    pid = place / "pid"
    with contextlib.suppress(ProcessLookupError):
        os.kill(int(pid.read_text()) if pid.exists() else boot.pid, signal.SIGKILL)
    boot.wait(PATIENCE_S)
    if (place / "cgroup").exists():
        group = (place / "cgroup").read_text().strip()
        until(lambda: _removed(group), f"{group} is gone")
    shutil.rmtree(place, ignore_errors=True)


def _removed(group: str) -> bool:
    for directory, _, _ in os.walk(group, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(directory)
    return not os.path.exists(group)
