"""`rlmd service install | uninstall | status`: have systemd start the daemon when somebody connects.

By default it is the person's own manager that does.  With `--system USER` it is the machine's, which
root alone may ask.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from rlmd import paths
from rlmd.cli import exits, units
from rlmd.cli.talk import complain

SHOWN = ("ActiveState", "SubState", "StatusText", "MainPID", "NRestarts", "UnitFileState", "DropInPaths")
CALL_S = 90.0
"""Longer than TimeoutStopSec= of the units."""
PLACES_OF_THIS_SHELL = ("RLMD_SOCKET", "RLMD_STATE_DIR", "RLMD_CACHE_DIR")


class Refused(Exception):
    """systemd did not do as it was told; the text is its own."""


@dataclass(frozen=True)
class Manager:
    """The manager of one person, or the machine's for the person *instance*."""

    instance: str | None = None

    @property
    def service(self) -> str:
        """The name of the service."""
        return f"rlmd@{self.instance}.service" if self.instance else "rlmd.service"

    @property
    def socket(self) -> str:
        """The name of the socket, which is what is enabled."""
        return self.service.replace(".service", ".socket")

    @property
    def files(self) -> tuple[str, str]:
        """The names of the unit files, as they are shipped."""
        return ("rlmd@.socket", "rlmd@.service") if self.instance else ("rlmd.socket", "rlmd.service")

    @property
    def directory(self) -> Path:
        """Where unit files of an administrator, or of the person, lie."""
        if self.instance:
            return Path("/etc/systemd/system")
        return Path(paths.config_files()[1]).parents[1] / "systemd" / "user"

    def drop_ins(self) -> Path:
        """Return where what depends on the machine is added to the service."""
        return self.directory / f"{self.service}.d"

    def call(self, *arguments: str) -> str:
        """Run systemctl and return what it prints; raise Refused where it fails."""
        scope = [] if self.instance else ["--user"]
        try:
            ran = subprocess.run(  # noqa: S603  # words of our own
                ["systemctl", *scope, "--no-pager", *arguments],  # noqa: S607  # it is where the PATH has it
                capture_output=True, text=True, timeout=CALL_S, check=False,
            )  # fmt: skip
        except FileNotFoundError as exc:
            raise Refused(
                "systemd is not on this machine; `rlmd connect` starts a daemon without it"
            ) from exc
        except subprocess.TimeoutExpired as exc:
            raise Refused(f"systemctl {' '.join(arguments)}: no answer within {CALL_S:.0f} s") from exc
        if ran.returncode:
            raise Refused(f"systemctl {' '.join([*scope, *arguments])}: {ran.stderr.strip() or ran.stdout}")
        return ran.stdout


def install(instance: str | None, *, namespaces: bool | None = None) -> int:
    """Write the units for this very installation, and open the socket now and at every start.

    A second time brings them up to date.  Without *namespaces* the service does without a user
    namespace; None means to try whether this person may have one.  Exit codes: 0, 69 systemd cannot be
    asked, 77 a file may not be written.
    """
    manager = Manager(instance)
    try:
        manager.call("show", "--property=Version")
        added = _write(manager, namespaces=_may_have_namespaces() if namespaces is None else namespaces)
        manager.call("daemon-reload")
        with contextlib.suppress(Refused):  # nothing has failed
            manager.call("reset-failed", manager.socket, manager.service)
        manager.call("enable", "--now", manager.socket)
        manager.call("try-restart", manager.service)
    except Refused as refused:
        return complain(str(refused), os.EX_UNAVAILABLE)
    except PermissionError as exc:
        return complain(f"{exc.filename}: {exc.strerror}", os.EX_NOPERM)
    print(f"{manager.directory}: {', '.join(manager.files)} written{added}")
    print(f"{manager.socket} is open; the daemon starts with the first client")
    for advice in _advice(manager):
        print(advice)
    return 0


def uninstall(instance: str | None) -> int:
    """Stop the daemon, close the socket and remove the units; memory, cache and settings stay."""
    manager = Manager(instance)
    try:
        manager.call("show", "--property=Version")
        with contextlib.suppress(Refused):  # it is not there, and that is what is wanted
            manager.call("disable", "--now", manager.socket)
        with contextlib.suppress(Refused):
            manager.call("stop", manager.service)
        shutil.rmtree(manager.drop_ins(), ignore_errors=True)
        for file in manager.files:
            (manager.directory / file).unlink(missing_ok=True)
        manager.call("daemon-reload")
    except Refused as refused:
        return complain(str(refused), os.EX_UNAVAILABLE)
    except PermissionError as exc:
        return complain(f"{exc.filename}: {exc.strerror}", os.EX_NOPERM)
    print(f"{manager.socket} and {manager.service} are removed; memory and settings stay")
    return 0


def status(instance: str | None, *, as_json: bool) -> int:
    """Say how socket and service are; 1 where the socket is not open, 69 where systemd cannot be asked."""
    manager = Manager(instance)
    try:
        found = {unit: _shown(manager.call("show", unit, f"--property={','.join(SHOWN)}"))
                 for unit in (manager.socket, manager.service)}  # fmt: skip
    except Refused as refused:
        return complain(str(refused), os.EX_UNAVAILABLE)
    is_open = found[manager.socket]["ActiveState"] == "active"
    if as_json:
        print(
            json.dumps({"open": is_open, "socket": found[manager.socket], "service": found[manager.service]})
        )
    else:
        for unit, facts in found.items():
            print(f"{unit}: {_told(facts)}")
        if not is_open:
            print("`rlmd service install` opens the socket")
    return 0 if is_open else exits.FOUND_NOTHING


def _write(manager: Manager, *, namespaces: bool) -> str:
    """Write units and drop-ins; return what was added to the units, for people."""
    os.makedirs(manager.directory, exist_ok=True)
    for file in manager.files:
        (manager.directory / file).write_text(units.written(file), encoding="utf-8")
    if not manager.instance:
        for place in (paths.state_dir(), os.path.dirname(paths.key_file())):
            paths.make_private_dir(place)
    key = f"/etc/rlmd/{manager.instance}/api-key" if manager.instance else paths.key_file()
    wanted = {
        "credentials.conf": (
            "credentials@.conf" if manager.instance else "credentials.conf",
            os.path.exists(key),
        ),
        "no-user-namespaces.conf": ("no-user-namespaces.conf", not namespaces),
    }
    for name, (source, is_wanted) in wanted.items():
        drop_in = manager.drop_ins() / name
        if is_wanted:
            os.makedirs(drop_in.parent, exist_ok=True)
            drop_in.write_text(units.shipped(f"drop-ins/{source}"), encoding="utf-8")
        else:
            drop_in.unlink(missing_ok=True)
    added = [name for name, (_, is_wanted) in wanted.items() if is_wanted]
    return f", with {' and '.join(added)}" if added else ""


def _may_have_namespaces() -> bool:
    """Try it: some systems forbid user namespaces to their users, and then such a service cannot start."""
    if os.geteuid() == 0:
        return True  # the machine's manager needs nobody's leave
    unshare = shutil.which("unshare")
    if unshare is None:
        return True
    tried = subprocess.run([unshare, "--user", "true"], capture_output=True, check=False)  # noqa: S603  # ours
    return tried.returncode == 0


def _advice(manager: Manager) -> list[str]:
    said = [f"{name} is set in this shell, and the service knows nothing of it"
            for name in PLACES_OF_THIS_SHELL if name in os.environ]  # fmt: skip
    if manager.instance:
        said.append(f"clients of {manager.instance} need RLMD_SOCKET=/run/rlmd/{manager.instance}/mcp.sock")
    else:
        said.append("to have it while you are not logged in, too: loginctl enable-linger")
    return said


def _shown(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def _told(facts: dict[str, str]) -> str:
    words = [f"{facts['ActiveState']} ({facts['SubState']})", facts.get("UnitFileState", "")]
    words += [facts.get("StatusText", "")]
    if facts.get("MainPID", "0") != "0":
        words.append(f"pid {facts['MainPID']}")
    if facts.get("NRestarts", "0") != "0":
        words.append(f"restarted {facts['NRestarts']} times")
    return ", ".join(filter(None, words))
