"""`rlmd exec`: run Python from stdin in the confined REPL, over a corpus."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any

from rlmd.cli import exits
from rlmd.cli.client import Client
from rlmd.cli.talk import talk


def execute(args: argparse.Namespace) -> int:
    """Run one cell; print what it printed, its answer, and on stderr what went wrong.

    Exit codes: 0, and 1 where the cell raised or was killed.
    """
    typed = [os.path.abspath(path) for path in args.paths]
    cell: dict[str, Any] = {"code": sys.stdin.read(), "timeout_s": args.timeout_s}
    if args.session:
        cell["session"] = args.session
    elif not args.keep:
        cell["close"] = True
    if typed:
        cell["paths"] = typed

    def body(client: Client) -> int:
        found = client.call("rlm_exec", cell).facts
        if args.json:
            print(json.dumps(found, ensure_ascii=False))
        else:
            show(found, name_session=args.keep)
        return exits.FOUND_NOTHING if found["error"] or found["killed"] else 0

    return talk(body, starting=True, typed=typed)


def show(found: dict[str, Any], *, name_session: bool) -> None:
    """Print the output and the answer of a cell; all else goes to stderr."""
    sys.stdout.write(found["stdout"])
    if found["answer"] is not None:
        answer = found["answer"]
        print(answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False))
    for what in ("error", "killed"):
        if found[what]:
            print(f"{what}: {found[what].rstrip()}", file=sys.stderr)
    if name_session:
        print(f"session: {found['session']}", file=sys.stderr)
