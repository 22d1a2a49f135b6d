"""`rlmd memory`: findings, from the command line."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from rlmd.cli import exits
from rlmd.cli.ask import bold
from rlmd.cli.client import Client
from rlmd.cli.talk import complain, talk

CHARS_PER_TOKEN = 3
"""So few letters make a token in the worst prose, so a brief of N tokens has no more than N."""
IMPORT_BYTES = 4 << 20
MOST_EVIDENCE = 16
BEST_EVIDENCE = 3
DOUBTFUL = frozenset({"edited", "stale", "missing"})


def memory(args: argparse.Namespace) -> int:
    """Run the verb; 1 where nothing is recalled."""
    verbs: Mapping[str, Callable[[Client, argparse.Namespace], int]] = {
        "store": store,
        "recall": recall,
        "history": history,
        "confirm": confirm,
        "brief": brief,
        "backup": back_up,
        "export": export,
        "import": take_over,
    }
    return talk(lambda client: verbs.get(args.verb, change)(client, args), starting=True)


def store(client: Client, args: argparse.Namespace) -> int:
    """Remember; printed means that it is on disk."""
    value = sys.stdin.read() if args.value == "-" else args.value
    cited: list[dict[str, object]] = [_cited(text) for text in args.evidence]
    if args.job is not None:
        found = client.call("rlm_job", {"action": "result", "job_id": args.job}).facts
        value = found["answer"] if value is None else value
        cited += _citations(found)[: MOST_EVIDENCE - len(cited)]
    if not isinstance(value, str):
        raise SystemExit(complain("a value is needed: what is to be remembered", exits.USAGE))
    wanted = {
        "key": args.key,
        "value": value,
        "tags": args.tags,
        "project": args.project,
        "kind": args.kind,
        "expect_version": args.expect_version,
        "ttl_s": args.ttl_s,
        "supersedes": args.supersedes,
        "evidence": cited,
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


def history(client: Client, args: argparse.Namespace) -> int:
    """Print every version of a key, newest first."""
    wanted = {"key": args.key, "project": args.project, "history": True, "limit": 200, "value_chars": 90_000}
    items = client.call("rlm_memory_recall", _given(wanted)).facts["items"]
    if args.json:
        print(json.dumps(items, ensure_ascii=False))
    else:
        print("\n\n".join(map(_as_text, items)) or "Nothing remembered.")
    return 0 if items else exits.FOUND_NOTHING


def change(client: Client, args: argparse.Namespace) -> int:
    """Forget a key, take back its last change, or purge it."""
    wanted = {
        "key": args.key,
        "project": args.project,
        "undo": args.verb == "undo",
        "purge": args.verb == "purge",
    }
    changed = client.call("rlm_memory_forget", _given(wanted)).facts
    version = f" (version {changed['version']})" if changed["version"] else ""
    said = f"{changed['key']} is {changed['state']}{version} in {changed['project']}"
    print(json.dumps(changed, ensure_ascii=False) if args.json else said)
    return 0


def confirm(client: Client, args: argparse.Namespace) -> int:
    """Say that a memory still holds: its evidence is taken anew."""
    stored = client.call(
        "rlm_memory_store", _given({"key": args.key, "project": args.project, "confirm": True})
    ).facts
    places = ", ".join(f"{at['path']}:{at['start_line']}-{at['end_line']}" for at in stored["anchors"])
    said = f"confirmed {stored['key']} version {stored['version']}: {places}"
    print(json.dumps(stored, ensure_ascii=False) if args.json else said)
    return 0


def brief(client: Client, args: argparse.Namespace) -> int:
    """Print what to know before starting here, the newest first, in at most so many tokens."""
    room = args.tokens * CHARS_PER_TOKEN
    told: list[str] = []
    for project in (args.project, "user"):
        wanted = {"project": project, "limit": 100, "value_chars": 2_000}
        for item in client.call("rlm_memory_recall", _given(wanted)).facts["items"]:
            doubt = f" ({item['status']}: check it)" if item["status"] in DOUBTFUL else ""
            line = f"- {item['key']}{doubt}: {item['value']}"
            if len(line.encode()) + 1 <= room:
                room -= len(line.encode()) + 1
                told.append(line)
    print("\n".join(told) or "Nothing remembered.")
    return 0 if told else exits.FOUND_NOTHING


def back_up(client: Client, args: argparse.Namespace) -> int:
    """Write a whole copy of the memory file and print where it is."""
    place = client.call("rlmd_memory_backup", {}).facts
    print(json.dumps(place) if args.json else place["path"])
    return 0


def export(client: Client, args: argparse.Namespace) -> int:
    """Print every version as a line of JSON, or the memories that stand as Markdown."""
    if args.markdown:
        return _as_markdown(client, args)
    after: int | None = 0
    while after is not None:
        page = client.call("rlmd_memory_export", _given({"project": args.project, "after": after})).facts
        for line in page["lines"]:
            print(line)
        after = page["next_cursor"]
    return 0


def take_over(client: Client, args: argparse.Namespace) -> int:
    """Import the lines of an export, some MiB at a time; 65 where some key stands otherwise here."""
    totals = {"imported": 0, "unchanged": 0, "redactions": 0}
    conflicts: dict[str, None] = {}
    with contextlib.nullcontext(sys.stdin) if args.file == "-" else open(args.file, encoding="utf-8") as file:
        for lines in _pages(file):
            done = client.call("rlmd_memory_import", {"lines": lines}).facts
            totals = {name: count + done[name] for name, count in totals.items()}
            conflicts |= dict.fromkeys(done["conflicts"])
    if args.json:
        print(json.dumps(totals | {"conflicts": list(conflicts)}, ensure_ascii=False))
    else:
        print(f"imported {totals['imported']} versions, {totals['unchanged']} were there")
    for key in conflicts:
        print(f"rlmd: {key} stands otherwise here and was left as it is", file=sys.stderr)
    return os.EX_DATAERR if conflicts else 0


def _pages(file: Iterable[str]) -> Iterator[list[str]]:
    lines: list[str] = []
    size = 0
    for line in filter(str.strip, file):
        if lines and size + len(line) > IMPORT_BYTES:
            yield lines
            lines, size = [], 0
        lines.append(line.rstrip("\n"))
        size += len(line)
    if lines:
        yield lines


def _as_markdown(client: Client, args: argparse.Namespace) -> int:
    wanted = {"project": args.project, "prefix": None, "limit": 200, "value_chars": 90_000}
    cursor, count = None, 0
    while count == 0 or cursor:
        page = client.call("rlm_memory_recall", _given(wanted | {"cursor": cursor})).facts
        for item in page["items"]:
            if count == 0:
                print(f"# What is remembered of {item['project']}")
            count += 1
            places = [
                f"`{at['path']}:{at['start_line']}-{at['end_line']}` {at['status']}" for at in item["anchors"]
            ]
            facts = [f"version {item['version']}", item["stored_at"], *item["tags"]]
            print(f"\n## {item['key']}\n\n{item['value']}\n\n_{' · '.join(facts)}_")
            print("".join(f"\n* {place}" for place in places), end="\n" if places else "")
        cursor = page["next_cursor"]
        if not page["items"]:
            break
    return 0 if count else exits.FOUND_NOTHING


def _citations(found: Mapping[str, Any]) -> list[dict[str, object]]:
    """Return the lines that the answer of a job cites, or its best evidence where that is the answer."""
    root = found["corpus"]["root"]
    cited = found["citations"] or found["evidence"][:BEST_EVIDENCE]
    lines = ("start_line", "end_line")
    return [{"path": os.path.join(root, at["path"]), **{name: at[name] for name in lines}} for at in cited]


def _cited(text: str) -> dict[str, object]:
    """Read `path:start-end` or `path:line`."""
    path, _, lines = text.rpartition(":")
    start, _, end = lines.partition("-")
    if not path or not start.isdigit() or (end and not end.isdigit()):
        raise SystemExit(complain(f"evidence {text!r} is not PATH:START-END", exits.USAGE))
    return {"path": path, "start_line": int(start), "end_line": int(end or start)}


def _as_text(item: Mapping[str, Any]) -> str:
    tags = f"  [{', '.join(item['tags'])}]" if item["tags"] else ""
    state = item["status"] if item["state"] == "live" else item["state"]
    facts = f"version {item['version']}, {item['stored_at']}, {state}{tags}"
    return f"{bold(item['key'])}  {facts}\n{item['value']}"


def _given(wanted: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in wanted.items() if value is not None}
