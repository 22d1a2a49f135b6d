"""`rlmd ask`: a question on the command line, its answer on stdout, its progress on stderr."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from rlmd.cli import exits
from rlmd.cli.client import Client
from rlmd.cli.talk import complain, talk

BUDGET_KEYS = ("usd", "tokens", "calls", "seconds", "depth")
BAR_CHARS = 24
WAIT_S = 50
MOST_QUOTED_LINES = 12
LINE_S = 2.0
BEFORE = "before anything is spent"
"""How the line begins that says what an answer will take; it is shown however short the work is."""


def ask(args: argparse.Namespace) -> int:
    """Print the answer with its citations; 1 where nothing was found."""
    try:
        budget = parse_budget(args.budget or "")
    except ValueError as exc:
        return complain(str(exc), exits.USAGE)
    piped = args.paths == ["-"]
    typed = [] if piped else [os.path.abspath(path) for path in args.paths]
    question: dict[str, Any] = {
        "query": args.question,
        "mode": args.mode,
        "kind": args.kind,
        "wait_s": WAIT_S,
    }
    if piped:
        question["text"] = sys.stdin.buffer.read().decode("utf-8", "replace")
    else:
        question |= {"paths": typed or ["."], "include": args.include, "exclude": args.exclude}
    if budget:
        question["budget"] = budget
    tool = "rlm_query_text" if piped else "rlm_analyze"
    # A revision stands behind a path that the person typed too.
    allowed = [*typed, *(path.partition("@")[0] for path in typed if "@" in path)]

    def body(client: Client) -> int:
        with Bar() as bar:
            while True:
                found = client.call(tool, question, bar.show).facts
                if found["state"] != "running":
                    break
        print(json.dumps(found, ensure_ascii=False) if args.json else as_text(found))
        return 0 if found["citations"] or found["answer"] is not None else exits.FOUND_NOTHING

    return talk(body, starting=True, typed=allowed)


def parse_budget(text: str) -> dict[str, float]:
    """Read `usd=1,seconds=30`; raise ValueError that names what is wrong."""
    budget: dict[str, float] = {}
    for part in filter(None, text.split(",")):
        key, _, value = part.partition("=")
        if key not in BUDGET_KEYS:
            raise ValueError(f"--budget knows {', '.join(BUDGET_KEYS)}, not {key!r}")
        try:
            budget[key] = float(value) if key in {"usd", "seconds"} else int(value)
        except ValueError:
            raise ValueError(f"--budget {key} takes a number, not {value!r}") from None
    return budget


def as_text(found: Mapping[str, Any]) -> str:
    """Write the answer, its passages under `path:start-end`, and what they were found in."""
    blocks = [found["note"]] if found["note"] else []
    if (answer := found["answer"]) is not None:
        blocks.append(answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False, indent=2))
    blocks += [_quote(passage) for passage in found["citations"]]
    if not found["citations"] and answer is None:
        blocks.append("Nothing found.")
    if (corpus := found["corpus"]) is not None:
        read, skipped = found["coverage"], found["skipped"]
        examined = f"{read['files_read']:,} of {read['files']:,} files, {corpus['tokens']:,} tokens"
        left_out = f"skipped {skipped['files']:,} files and {skipped['dirs']:,} directories"
        blocks.append(f"{corpus['root']}: {examined}; {left_out}\n{_cost(found)}")
    return "\n\n".join(blocks)


def _cost(found: Mapping[str, Any]) -> str:
    usage = found["usage"]
    spent = "no model call"
    if usage["calls"]:
        usd = "price unknown" if usage["usd"] is None else f"${usage['usd']:.4f}"
        tokens = usage["tokens_in"] + usage["tokens_out"]
        spent = f"{usage['calls']} calls of {usage['model']}, {tokens:,} tokens, {usd}"
    shown = f"; rlmd jobs show {found['job_id']}" if found["trajectory"] else ""
    return f"cost: {spent}, {usage['wall_s']:.1f} s{shown}"


def _quote(passage: Mapping[str, Any]) -> str:
    head = f"{passage['path']}:{passage['start_line']}-{passage['end_line']}"
    lines = passage["quote"].splitlines()
    shown = [f"    {line}" for line in lines[:MOST_QUOTED_LINES]]
    if len(lines) > MOST_QUOTED_LINES:
        shown.append(f"    … {len(lines) - MOST_QUOTED_LINES} more lines")
    return "\n".join([bold(head), *shown])


def bold(text: str) -> str:
    """Return *text*, bold where stdout is a terminal that takes it."""
    plain = "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb" or not sys.stdout.isatty()
    return text if plain else f"\033[1m{text}\033[0m"


class Bar:
    """Progress on stderr: on a terminal one line, gone when the work is done; else a line now and then."""

    def __init__(self) -> None:
        self._watched = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._said = ""
        self._next_at = time.monotonic() + LINE_S

    def __enter__(self) -> Self:
        return self

    def show(self, done: float, total: float | None, message: str) -> None:
        """Say how far the work is: at once on a terminal, elsewhere every few seconds where it moved."""
        if self._watched:
            filled = round(BAR_CHARS * min(done / total, 1.0)) if total else 0
            bar = "#" * filled + "-" * (BAR_CHARS - filled)
            print(f"\r\033[K[{bar}] {self._fitted(message)}", end="", file=sys.stderr, flush=True)
        elif message != self._said and (time.monotonic() >= self._next_at or message.startswith(BEFORE)):
            self._said, self._next_at = message, time.monotonic() + LINE_S
            print(f"rlmd: {message}", file=sys.stderr, flush=True)

    def _fitted(self, message: str) -> str:
        """Cut *message* to what is left of one line, which alone can be written over."""
        return message[: max(20, shutil.get_terminal_size().columns - BAR_CHARS - 4)]

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._watched:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
