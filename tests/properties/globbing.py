"""Small trees and the ignore files that people and adversaries might lay into them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from hypothesis import strategies as st

NAMES = ("a", "b", "ab", "a.c", "b.c", ".h", "x y", "\u00e9", "#a", "!b", "c-")
DIRECTORIES = ("a", "b", "a/b", "a/a", "b/ab", "a/b/a", "b/ab/a.c")
ATOMS = (
    "a",
    "b",
    "ab",
    "c",
    "*",
    "?",
    ".",
    ".c",
    "**",
    "/",
    "[ab]",
    "[b-c]",
    "\\*",
    " ",
    "\u00e9",
    "h",
    "-",
    "#",
    "!",
)


def globs(*more: str) -> st.SearchStrategy[str]:
    """Lines of an ignore file: globs of known atoms, negated, anchored, for directories only."""
    body = st.lists(st.sampled_from(ATOMS + more), min_size=1, max_size=5).map("".join)
    line = st.tuples(
        st.sampled_from(["", "", "!", "/", "!/", "**/"]), body, st.sampled_from(["", "", "/", " ", "/**"])
    )
    return line.map("".join).filter(tame)


def tame(line: str) -> bool:
    """Leave out what ripgrep and git themselves disagree on, or take for an error.

    Git lets `a**/**` match `ab`; an empty glob matches everything or nothing.
    """
    odd = ("***", "//", "/ ", "! ", "\\ ")
    stars = all(part == "**" or "**" not in part for part in line.removeprefix("!").rstrip().split("/"))
    return stars and bool(line.strip(" !/")) and not any(text in line for text in odd)


def ignore_texts(names: tuple[str, ...], *more: str) -> st.SearchStrategy[dict[str, str]]:
    """Contents of ignore files by path."""
    places = st.sampled_from([f"{directory}{name}" for directory in ("", "a/", "a/b/") for name in names])
    lines = st.lists(globs(*more), min_size=1, max_size=5).map("\n".join)
    return st.dictionaries(places, lines, min_size=1, max_size=4)


def plant(root: Path) -> Path:
    """Fill *root* with every name in every directory."""
    for directory in ("", *DIRECTORIES):
        (root / directory).mkdir(parents=True, exist_ok=True)
        for name in NAMES:
            if (
                not (root / directory / name).is_dir()
                and f"{directory}/{name}".lstrip("/") not in DIRECTORIES
            ):
                (root / directory / name).touch()
    return root


def lay(root: Path, texts: dict[str, str]) -> None:
    """Replace the ignore files of *root* by *texts*."""
    for directory, _, files in os.walk(root):
        for name in {".gitignore", ".ignore", ".rgignore"}.intersection(files):
            Path(directory, name).unlink()
    for path, text in texts.items():
        (root / path).write_text(text + "\n", encoding="utf-8")


def have(program: str) -> bool:
    return shutil.which(program) is not None
