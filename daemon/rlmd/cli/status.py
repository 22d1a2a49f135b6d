"""`rlmd status`: how the daemon is, its troubles last, each with what mends it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rlmd.cli.client import Client
from rlmd.cli.talk import talk

MIB = 1 << 20


def status(*, as_json: bool) -> int:
    """Print the status; 69 where no daemon runs."""

    def body(client: Client) -> int:
        found = client.call("rlm_status", {}).facts
        print(json.dumps(found, ensure_ascii=False) if as_json else as_text(found))
        return 0

    return talk(body, starting=False)


def as_text(found: Mapping[str, Any]) -> str:
    """Write the status for a person: what it is at, then what is wrong and which command mends it."""
    process, memory, jobs, doors = found["process"], found["memory"], found["jobs"], found["doors"]
    used, limit = process["rss_bytes"] // MIB, process["limit_bytes"] // MIB
    locks = ", ".join(found["sandbox"]["layers"])
    lines = [
        f"rlmd {found['version']} is {found['state']}: pid {found['pid']}, up {duration(found['uptime_s'])}",
        f"process   {used:,} MiB of {limit:,} MiB ({process['limit_source']}), {process['threads']} threads",
        f"clients   {doors['connections']} of {doors['max_connections']}, {doors['requests']} calls in hand",
        f"model     {_model(found['llm'])}",
        f"sandbox   {locks or 'none: code is not run'}, {found['sandbox']['sessions']} sessions",
        f"memory    {memory['items']:,} items, {memory['bytes'] / MIB:.1f} MiB: {memory['integrity']}",
        f"jobs      {jobs['running']} running, {jobs['queued']} queued, {jobs['done']} done",
    ]
    lines += [
        f"corpus    {corpus['root']}: {corpus['files']:,} files, {corpus['tokens']:,} tokens"
        for corpus in found["corpora"]
    ]
    lines += [
        f"actor     {actor['name']}: {actor['busy']} busy, {actor['waiting']} waiting, "
        f"{actor['restarts']} restarts"
        for actor in found["actors"]
        if actor["busy"] or actor["restarts"]
    ]
    lines += [f"problem   {problem['what']}\n          {problem['fix']}" for problem in found["problems"]]
    return "\n".join(lines)


def _model(llm: Mapping[str, Any]) -> str:
    if llm["endpoint"] is None and llm["model"] is None:
        return "none: questions are answered by evidence"
    key = f", key: {llm['key_origin']}" if llm["key_origin"] else ""
    cost = "cost unknown" if llm["usd"] is None else f"${llm['usd']:.2f}"
    state = " (left alone after faults)" if llm["state"] == "open" else ""
    return (
        f"{llm['model']} at {llm['endpoint'] or 'the first call'}{state}{key}; {llm['calls']} calls, {cost}"
    )


def duration(seconds: float) -> str:
    """Write *seconds* as a person says them."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
