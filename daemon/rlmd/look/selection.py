"""Which files below a path a question is about, by the rules of the walk and by its own glob."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

from rlmd.errors import BadArgument
from rlmd.ingest.globs import BadGlob, byte_view, expand_braces, tokenize
from rlmd.ingest.walk import walk
from rlmd.values import FileRef, SkipTally, WalkRules


def narrowed(rules: WalkRules, glob: str, root: str) -> WalkRules:
    """Return *rules* with ripgrep's `-g` of *glob*: `!` excludes, else it brings in what it matches.

    An absolute glob below *root* means the same as its relative rest.  Raises BadArgument for a
    glob that does not parse.
    """
    excluded = glob.startswith("!")
    plain = glob.removeprefix("!").removeprefix("./")
    base = root.rstrip("/") + "/"
    plain = "/" + plain.removeprefix(base) if plain.startswith(base) else plain
    plain = plain + "**" if plain.endswith("/") else plain
    try:
        for choice in expand_braces(byte_view(plain)):
            tokenize(choice)
    except BadGlob:
        raise BadArgument(
            f"not a glob: {glob}", "Brackets and braces must close; a backslash escapes."
        ) from None
    if not plain.strip() or "\n" in plain:
        raise BadArgument("a glob is one line of text, and not empty")
    plain = "\\" + plain if plain.startswith(("#", "!")) else plain
    if excluded:
        return replace(rules, exclude=(*rules.exclude, plain))
    return replace(rules, include=(*rules.include, plain))


def batches(path: str, rules: WalkRules, tally: SkipTally) -> Iterator[list[FileRef]]:
    """Walk a directory, or just the one file *path*; as `walk`, whatever lies there now."""
    if os.path.isdir(path):
        return walk(path, (), rules, tally)
    return walk(os.path.dirname(path), (os.path.basename(path),), rules, tally)
