# ruff: noqa: INP001  # a program, no package
"""Make docs/terminal.svg, the picture in the README, from a real run: `python docs/picture.py`.

The commands run on the standard library, against a daemon in directories of their own, without a
model; what they print is set as it is, shortened where that is marked.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from html import escape
from pathlib import Path

COMMANDS = [
    (["ask", "which function wakes and joins the worker threads at python exit?"], 24),
    (
        [
            "memory",
            "store",
            "pool-exit",
            "_python_exit joins the workers",
            "--evidence",
            "futures/thread.py:23-32",
        ],
        3,
    ),
    (["memory", "recall", "workers joined"], 6),
]
COLUMNS, LINE_PX, CHAR_PX, MARGIN_PX = 100, 18, 7.8, 18
STYLE = "font-family:ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace;font-size:13px"


def main() -> None:
    """Run the commands and write the picture beside this file."""
    lines = list(run())
    height = MARGIN_PX * 2 + LINE_PX * len(lines)
    width = int(MARGIN_PX * 2 + CHAR_PX * COLUMNS)
    texts = [
        f'<text x="{MARGIN_PX}" y="{MARGIN_PX + LINE_PX * (number + 1) - 5}" fill="{colour(line)}" '
        f'xml:space="preserve">{escape(line)}</text>'
        for number, line in enumerate(lines)
    ]
    box = f'viewBox="0 0 {width} {height}" width="{width}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {box} style="{STYLE}">'
    ground = f'<rect width="{width}" height="{height}" rx="8" fill="#16181d"/>'
    picture = "\n".join([head, ground, *texts, "</svg>"])
    Path(__file__).with_name("terminal.svg").write_text(picture + "\n", encoding="utf-8")


def run() -> Iterator[str]:
    """Yield the lines of the terminal."""
    with tempfile.TemporaryDirectory(prefix="rlmd-") as place:
        env = {
            "PATH": os.environ["PATH"],
            "HOME": place,
            "PYTHONPATH": str(Path(__file__).parents[1] / "daemon"),
        }
        tree = f"{place}/concurrent"
        shutil.copytree(os.path.join(sysconfig.get_path("stdlib"), "concurrent"), tree)
        env |= {
            "RLMD_SOCKET": f"{place}/s",
            "RLMD_STATE_DIR": f"{place}/state",
            "RLMD_CACHE_DIR": f"{place}/cache",
        }
        try:
            for words, most in COMMANDS:
                shown = " ".join(f'"{word}"' if " " in word else word for word in words)
                yield f"$ rlmd {shown}"[:COLUMNS]
                printed = [line.replace(place, "~") for line in rlmd(words, env, tree)]
                yield from (line[:COLUMNS] for line in printed[:most])
                yield from ["    …"] if len(printed) > most else []
                yield ""
        finally:
            rlmd(["stop"], env, tree)


def rlmd(words: list[str], env: dict[str, str], cwd: str) -> list[str]:
    """Return the lines that a command prints in *cwd*."""
    command = [sys.executable, "-m", "rlmd", *words]
    done = subprocess.run(  # noqa: S603  # words of our own
        command, env=env, cwd=cwd, capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout.splitlines()


def colour(line: str) -> str:
    """Choose how a line is set: commands, places and the rest."""
    if line.startswith("$ "):
        return "#8ec07c"
    return "#e8e8e8" if line[:1].isalnum() and not line.startswith("    ") else "#a9b1bd"


if __name__ == "__main__":
    main()
