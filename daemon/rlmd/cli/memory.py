"""`rlmd memory store | recall`: findings, from the command line."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from typing import Any

from rlmd.cli import exits
from rlmd.cli.ask import bold
from rlmd.cli.client import Client
from rlmd.cli.talk import talk


def memory(args: argparse.Namespace) -> int:
    """Run the verb; 1 where nothing is recalled."""
    verb = store if args.verb == "store" else recall
    return talk(lambda client: verb(client, args), starting=True)


def store(client: Client, args: argparse.Namespace) -> int:
    """Remember; printed means that it is on disk."""
    value = sys.stdin.read() if args.value == "-" else args.value
    wanted = {
        "key": args.key,
        "value": value,
        "tags": args.tags,
        "project": args.project,
        "kind": args.kind,
        "expect_version": args.expect_version,
        "ttl_s": args.ttl_s,
    }
    stored = client.call("rlm_memory_store", _given(wanted)).facts
    if args.json:
        print(json.dumps(stored, ensure_ascii=False))
    else:
        print(f"stored {stored['key']} version {stored['version']} in {stored['project']}")
    return 0


def recall(client: Client, args: argparse.Namespace) -> int:
    """Print what is remembered, best or newest first."""
    wanted = {
        "query": args.query,
        "key": args.key,
        "prefix": args.prefix,
        "tags": args.tags,
        "match": args.match,
        "project": args.project,
        "limit": args.limit,
        "value_chars": 90_000,
    }
    found = client.call("rlm_memory_recall", _given(wanted)).facts
    if args.json:
        print(json.dumps(found, ensure_ascii=False))
    else:
        print("\n\n".join(map(_as_text, found["items"])) or "Nothing remembered.")
    return 0 if found["items"] else exits.FOUND_NOTHING


def _as_text(item: Mapping[str, Any]) -> str:
    tags = f"  [{', '.join(item['tags'])}]" if item["tags"] else ""
    facts = f"version {item['version']}, {item['stored_at']}, {item['status']}{tags}"
    return f"{bold(item['key'])}  {facts}\n{item['value']}"


def _given(wanted: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in wanted.items() if value is not None}
