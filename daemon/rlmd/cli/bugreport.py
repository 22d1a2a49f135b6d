"""`rlmd bugreport`: what a maintainer needs and nothing of the user's, in one file to look through first.

In it are versions, the state of the daemon, the settings that hold and the latest events.  Roots and
projects are numbered, home directories are `~`, and whatever looks like a secret is taken out.
Contents, prompts and answers are in none of its sources.
"""

from __future__ import annotations

import io
import json
import os
import platform
import subprocess
import sys
import tarfile
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from rlmd import __version__, paths
from rlmd.cli import start
from rlmd.cli.client import CallFailed, Disconnected, conversation
from rlmd.cli.logs import journal, runs_under_systemd
from rlmd.cli.start import LOG_NAME

EVENTS = 500
TELLING = {
    "timestamp", "level", "event", "actor", "tool", "outcome", "took_s", "state", "reason", "code",
    "error_id", "request_id", "connection_id", "job_id", "trace_id", "pause_s", "crashes", "in_a_row",
    "lag_s", "limit", "grace_s", "exception", "logger", "template", "error",
}  # fmt: skip
"""The keys of an event that are copied; each is a word, a number, or a traceback of ours."""


def bugreport(*, file: str | None) -> int:
    """Write the bundle to *file*, by default named after the second, never over one; print its name."""
    name = file or time.strftime("rlmd-bugreport-%Y%m%dT%H%M%S.tar.gz")
    parts: dict[str, Callable[[], str]] = {
        "system.json": _system,
        "status.json": _status,
        "settings.toml": _settings,
        "events.jsonl": _events,
    }
    with open(name, "xb", opener=_private) as out, tarfile.open(fileobj=out, mode="w:gz") as bundle:
        for part, make in parts.items():
            try:
                text = make()
            except Exception as exc:  # noqa: BLE001  # a part that cannot be had is a finding, too
                text = f"{type(exc).__name__}: {exc}\n"
            data = scrub(text).encode()
            entry = tarfile.TarInfo(f"rlmd-bugreport/{part}")
            entry.size, entry.mtime, entry.mode = len(data), int(time.time()), 0o600
            bundle.addfile(entry, io.BytesIO(data))
    print(name)
    print("rlmd: look through it before you pass it on", file=sys.stderr)
    return 0


def scrub(text: str) -> str:
    """Take secrets and home directories out of *text*."""
    from rlmd.redact import redact  # noqa: PLC0415  # compiles many patterns, for this command only

    for home in {os.path.expanduser("~"), os.path.realpath(os.path.expanduser("~"))} - {"/"}:
        text = text.replace(home, "~")
    return redact(text).text


def _system() -> str:
    facts = {
        "rlmd": __version__,
        "python": sys.version.split()[0],
        "kernel": platform.release(),
        "machine": platform.machine(),
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", ""),
        "cpus": os.cpu_count(),
        "systemd": runs_under_systemd(),
    }
    return json.dumps(facts, indent=2) + "\n"


def _status() -> str:
    try:
        with conversation(start.connect(paths.socket_path())) as client:
            found = client.call("rlm_status", {}).facts
    except (start.NotRunning, Disconnected, CallFailed) as exc:
        return f"{exc}\n"
    for number, corpus in enumerate(found["corpora"], 1):
        corpus["root"] = f"corpus {number}"
    return json.dumps(found, indent=2) + "\n"


def _settings() -> str:
    from rlmd.config import load  # noqa: PLC0415  # pydantic: only for who asks
    from rlmd.config.document import show_toml  # noqa: PLC0415  # as above

    loaded = load(paths.config_files(), env=os.environ)
    written = [f"# {name}: {place}\n" for name, place in loaded.origins.items()]
    return "".join(written) + show_toml(loaded)


def _events() -> str:
    return "".join(f"{json.dumps(event)}\n" for event in map(_telling, _latest()) if event)


def _latest() -> list[str]:
    if runs_under_systemd():
        command = [*journal(EVENTS), "--output=json"]
        told = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # our words
        return told.stdout.splitlines()
    try:
        with open(os.path.join(paths.state_dir(), LOG_NAME), encoding="utf-8", errors="replace") as log:
            return list(deque(log, maxlen=EVENTS))
    except FileNotFoundError:
        return []


def _telling(line: str) -> Mapping[str, Any]:
    """Return what an event tells without its user's names: the known keys, or none for what is no event."""
    try:
        event = json.loads(line)
    except ValueError:
        return {}
    if not isinstance(event, dict):
        return {}
    plain = {name.removeprefix("RLMD_").lower(): value for name, value in event.items()}
    return {name: value for name, value in plain.items() if name in TELLING}


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
