"""`rlmd logs`: what the daemon has logged, from the journal under systemd, else from its own file."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections import deque
from typing import TextIO

from rlmd import paths
from rlmd.cli.start import LOG_NAME
from rlmd.cli.talk import complain

UNIT = "rlmd.service"
PAUSE_S = 0.25


def logs(*, follow: bool, lines: int) -> int:
    """Print the last *lines* events, then, with *follow*, those that come until interrupted.

    Returns 1 where nothing was ever logged.
    """
    if runs_under_systemd():
        command = journal(lines, follow=follow)
        return subprocess.run(command, check=False).returncode  # noqa: S603  # words of our own
    path = os.path.join(paths.state_dir(), LOG_NAME)
    try:
        with open(path, encoding="utf-8", errors="replace") as log:
            sys.stdout.writelines(deque(log, maxlen=lines))
            sys.stdout.flush()
            if follow:
                _follow(path, log)
    except FileNotFoundError:
        return complain(
            f"{path} is not there: a daemon in the foreground logs to its own stderr, one that a client "
            f"starts logs there, one under systemd to the journal",
            1,
        )
    return 0


def runs_under_systemd() -> bool:
    """Say whether the user's service manager knows our unit; RLMD_STATE_DIR means a daemon apart from it."""
    if shutil.which("journalctl") is None or "RLMD_STATE_DIR" in os.environ:
        return False
    shown = subprocess.run(  # noqa: S603  # words of our own
        ["systemctl", "--user", "cat", UNIT],  # noqa: S607  # it is where the person's PATH has it
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return shown.returncode == 0


def journal(lines: int, *, follow: bool = False) -> list[str]:
    """Return the command that prints the last *lines* events from the journal."""
    command = ["journalctl", "--user", f"--unit={UNIT}", f"--lines={lines}", "--output=cat", "--no-pager"]
    return [*command, *(["--follow"] if follow else [])]


def _follow(path: str, log: TextIO) -> None:
    """Print what is appended, for ever; a file that took the place of the first is read from its start."""
    while True:
        if text := log.read():
            sys.stdout.write(text)
            sys.stdout.flush()
            continue
        time.sleep(PAUSE_S)
        try:
            found = os.stat(path)
        except FileNotFoundError:
            continue
        if found.st_ino != os.fstat(log.fileno()).st_ino or found.st_size < log.tell():
            with open(path, encoding="utf-8", errors="replace") as fresh:
                _follow(path, fresh)
