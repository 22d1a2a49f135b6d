"""`rlmd completion`: what a shell needs to complete our commands, made from the parsers themselves."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from rlmd.cli.parsers import build_parser

FILES = {"PATH", "FILE", "PATH:START-END"}
"""Placeholders in whose stead a file is completed."""


def completion(shell: str) -> int:
    """Print the completions for *shell*; returns 0."""
    import shtab  # noqa: PLC0415  # as all commands import

    parser = build_parser()
    for action in arguments(parser):
        if action.metavar in FILES or action.dest == "file":
            action.complete = shtab.FILE  # type: ignore[attr-defined]  # where shtab looks for it
    print(shtab.complete(parser, shell))
    return 0


def arguments(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield the arguments of *parser* and of every command below it."""
    for action in parser._actions:  # noqa: SLF001  # argparse tells nobody in any other way
        yield action
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001  # as above
            for below in action.choices.values():
                yield from arguments(below)
