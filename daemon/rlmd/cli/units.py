"""The units of systemd as they are shipped, and as they are written for one installation."""

from __future__ import annotations

import re
import sys
from pathlib import Path

_HERE = Path(__file__).parents[1]
_PLACES = (_HERE / "systemd", _HERE.parents[1] / "systemd")
"""In a wheel beside the package; in the source tree at its top."""
_PROGRAM = re.compile(r"^ExecStart=\S+", re.MULTILINE)


def shipped(name: str) -> str:
    """Return the text of a unit or a drop-in."""
    place = next((place for place in _PLACES if (place / "rlmd.service").exists()), _PLACES[0])
    return (place / name).read_text(encoding="utf-8")


def written(name: str) -> str:
    """Return the text of a unit whose program is this very installation, wherever it lies."""
    program = " ".join(map(quoted, (sys.executable, "-m", "rlmd")))
    return _PROGRAM.sub(lambda _: f"ExecStart={program}", shipped(name), count=1)


def quoted(word: str) -> str:
    """Return *word* as systemd.service(5) reads one word of a command line."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if re.search(r"[\s'\"\\;]", word) else escaped
