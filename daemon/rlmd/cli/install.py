"""`rlmd install`: enter the bridge in the settings of an agent, or take it out again."""

from __future__ import annotations

import os
import stat
import tempfile

from rlmd.cli import entries
from rlmd.cli.clients import CLIENTS
from rlmd.cli.talk import complain

BACKUP = ".rlmd-backup"
LARGEST_BYTES = 64 << 20


def install(name: str, *, to_stdout: bool, remove: bool) -> int:
    """Edit the settings of the client *name*, once: a second time changes nothing.

    What was there before is kept beside the file.  Exit codes: 0 it is so, 65 the settings cannot be
    edited, 77 they may not be read or written.
    """
    client = CLIENTS[name]
    file = client.file(os.environ)
    try:
        if to_stdout:
            print(f"# {file}\n{entries.put('', client, os.environ)}", end="")
            return 0
        before = read(file)
        after = entries.drop(before, client) if remove else entries.put(before, client, os.environ)
        if after == before:
            print(f"{file}: {'nothing to remove' if remove else 'is so already'}")
            return 0
        kept = _write(file, before, after)
    except entries.Unusable as exc:
        return complain(f"{file}: {exc}", os.EX_DATAERR)
    except UnicodeDecodeError:
        return complain(f"{file}: is not UTF-8", os.EX_DATAERR)
    except OSError as exc:
        return complain(f"{exc.filename or file}: {exc.strerror}", os.EX_NOPERM)
    print(f"{file}: {'rlmd is removed' if remove else f'{client.title} has rlmd now'}{kept}")
    if client.note and not remove:
        print(client.note)
    return 0


def read(file: str) -> str:
    """Return the text of a settings file, as it lies on the disk; empty where there is none."""
    try:
        with open(file, encoding="utf-8", newline="") as settings:
            if not stat.S_ISREG(os.fstat(settings.fileno()).st_mode):
                raise entries.Unusable("is no file")
            text = settings.read(LARGEST_BYTES + 1)
    except FileNotFoundError:
        return ""
    except IsADirectoryError as exc:
        raise entries.Unusable("is a directory") from exc
    if len(text) > LARGEST_BYTES:
        raise entries.Unusable("is too large for settings")
    return text


def _write(file: str, before: str, after: str) -> str:
    """Replace the file at once, keeping its mode and what it held; return words about the backup."""
    place = os.path.realpath(file)  # settings are often links into a directory under version control
    os.makedirs(os.path.dirname(place), exist_ok=True)
    if not os.path.exists(place):
        _replace(place, after, 0o600)
        return ""
    mode = stat.S_IMODE(os.stat(place).st_mode)
    _replace(place + BACKUP, before, mode)
    if read(place) != before:
        raise entries.Unusable("was changed by somebody else just now; try again")
    _replace(place, after, mode)
    return f"; what it was is in {place}{BACKUP}"


def _replace(place: str, text: str, mode: int) -> None:
    fd, draft = tempfile.mkstemp(dir=os.path.dirname(place), prefix=f"{os.path.basename(place)}.")
    try:
        with open(fd, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fchmod(fd, mode)
            os.fsync(fd)
        os.replace(draft, place)
    except BaseException:  # an interrupt too must leave no draft
        os.unlink(draft)
        raise
