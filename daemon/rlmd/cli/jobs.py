"""`rlmd jobs`: the questions that became jobs, from their list to what each of them did."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from typing import Any

from rlmd.cli import exits
from rlmd.cli.ask import Bar, as_text
from rlmd.cli.client import Client
from rlmd.cli.talk import talk

WAIT_S = 25.0
QUERY_CHARS = 60


def jobs(args: argparse.Namespace) -> int:
    """Run one verb; 69 where no daemon runs, 1 for a job that failed or was cancelled."""
    verbs = {"list": _list, "show": _show, "wait": _wait, "cancel": _cancel}
    return talk(lambda client: verbs[args.verb or "list"](client, args), starting=False)


def _list(client: Client, args: argparse.Namespace) -> int:
    cursor: str | None = None
    while True:
        page = client.call("rlm_job", {"action": "list", "cursor": cursor, "max_chars": 100_000}).facts
        for job in page["jobs"]:
            print(json.dumps(job, ensure_ascii=False) if args.json else _line(job))
        cursor = page["next_cursor"]
        if cursor is None:
            return 0


def _show(client: Client, args: argparse.Namespace) -> int:
    suffix = ".jsonl" if args.json else ""
    print(client.read(f"rlmd://jobs/{args.job}{suffix}"), end="")
    return 0


def _wait(client: Client, args: argparse.Namespace) -> int:
    with Bar() as bar:
        while True:
            given = {"action": "wait", "job_id": args.job, "wait_s": WAIT_S}
            found = client.call("rlm_job", given, bar.show).facts
            if found["state"] != "running":
                return _print(client, found, args)


def _cancel(client: Client, args: argparse.Namespace) -> int:
    found = client.call("rlm_job", {"action": "cancel", "job_id": args.job}).facts
    print(f"{args.job} is {found['state']}")
    return 0


def _print(client: Client, found: dict[str, Any], args: argparse.Namespace) -> int:
    """Print what a job came to, its answer whole."""
    pages = [found["answer"]] if isinstance(found["answer"], str) else []
    while pages and found["next_cursor"] is not None:
        given = {"action": "result", "job_id": args.job, "cursor": found["next_cursor"], "max_chars": 100_000}
        page = client.call("rlm_job", given).facts
        pages.append(page["answer"])
        found["next_cursor"] = page["next_cursor"]
    if pages:
        found["answer"] = "".join(pages)
    print(json.dumps(found, ensure_ascii=False) if args.json else as_text(found))
    return os.EX_OK if found["state"] == "done" and found["answer"] is not None else exits.FOUND_NOTHING


def _line(job: Mapping[str, Any]) -> str:
    usd = "$?" if job["usd"] is None else f"${job['usd']:.4f}"
    query = " ".join(job["query"].split())
    query = query if len(query) <= QUERY_CHARS else f"{query[: QUERY_CHARS - 1]}…"
    spent = f"{job['calls']:>4} calls {usd:>9} {job['wall_s']:>7.1f} s"
    return f"{job['job_id']}  {job['started_at'][:19]}  {job['state']:<9} {job['mode']:<8} {spent}  {query}"
