"""`rlmd top`: the daemon at work, a screen every few seconds; one screen where nobody watches."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rlmd.cli.client import Client
from rlmd.cli.status import MIB, duration
from rlmd.cli.talk import talk

CLEAR = "\033[H\033[2J"
ALTERNATE, BACK = "\033[?1049h\033[?25l", "\033[?25h\033[?1049l"
MOST_ROWS = 12
"""Of jobs and corpora each; the rest is counted."""

Facts = Mapping[str, Any]


def top(*, interval_s: float) -> int:
    """Show actors, jobs, spend, corpora and memory every *interval_s* seconds until interrupted.

    Off a terminal it prints one screen and ends.  69 where no daemon runs, or once it ends.
    """

    def body(client: Client) -> int:
        if not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
            print("\n".join(screen(*_facts(client))))
            return 0
        sys.stdout.write(ALTERNATE)
        try:
            while True:
                size = shutil.get_terminal_size()
                lines = screen(*_facts(client))[: size.lines - 1]
                sys.stdout.write(CLEAR + "\n".join(line[: size.columns] for line in lines))
                sys.stdout.flush()
                time.sleep(interval_s)
        finally:
            sys.stdout.write(BACK)
            sys.stdout.flush()

    return talk(body, starting=False)


def _facts(client: Client) -> tuple[Facts, Sequence[Facts]]:
    status = client.call("rlm_status", {}).facts
    jobs = client.call("rlm_job", {"action": "list"}).facts["jobs"]
    return status, [job for job in jobs if job["state"] == "running"]


def screen(status: Facts, jobs: Sequence[Facts]) -> list[str]:
    """Write one screen, widest lines first cut by whoever shows it."""
    return [*_head(status), "", *_actors(status), "", *_jobs(status, jobs), "", *_corpora(status)]


def _head(status: Facts) -> Iterator[str]:
    process, memory, doors, llm = (status[name] for name in ("process", "memory", "doors", "llm"))
    up = duration(status["uptime_s"])
    yield f"rlmd {status['version']} {status['state']}  pid {status['pid']}  up {up}"
    yield (
        f"process   {process['rss_bytes'] // MIB:,} of {process['limit_bytes'] // MIB:,} MiB "
        f"({process['limit_source']})  {process['open_fds']} descriptors  {process['threads']} threads"
    )
    yield (
        f"doors     {doors['connections']} of {doors['max_connections']} connections  "
        f"{doors['requests']} calls in hand  {sum(doors['refused'].values())} refused"
    )
    spent = "unknown" if llm["usd"] is None else f"${llm['usd']:.4f}"
    yield (
        f"model     {llm['model'] or 'none'} {llm['state']}  {llm['calls']:,} calls  "
        f"{llm['errors']:,} errors  {llm['tokens_in']:,} in  {llm['tokens_out']:,} out  {spent}  "
        f"cache {llm['cache']['hits']:,} hits"
    )
    yield (
        f"memory    {memory['items']:,} items  {memory['bytes'] / MIB:.1f} MiB  "
        f"wal {memory['wal_bytes'] / MIB:.1f} MiB  {memory['integrity']}"
    )
    for problem in status["problems"]:
        yield f"problem   {problem['what']} {problem['fix']}"


def _actors(status: Facts) -> Iterator[str]:
    yield f"{'ACTOR':16} {'BUSY':>5} {'WAITING':>8} {'WORKERS':>8} {'RESTARTS':>9}  LAST ERROR"
    for actor in status["actors"]:
        yield (
            f"{actor['name']:16} {actor['busy']:5} {actor['waiting']:8} {actor['workers']:8} "
            f"{actor['restarts']:9}  {actor['last_error'] or ''}"
        )


def _jobs(status: Facts, jobs: Sequence[Facts]) -> Iterator[str]:
    counts = status["jobs"]
    yield f"{'JOB':16} {'MODE':9} {'WALL':>8} {'CALLS':>6} {'USD':>9}  QUERY"
    for job in jobs[:MOST_ROWS]:
        usd = "unknown" if job["usd"] is None else f"{job['usd']:.4f}"
        query = " ".join(job["query"].split())
        yield f"{job['job_id']:16} {job['mode']:9} {job['wall_s']:7.1f}s {job['calls']:6} {usd:>9}  {query}"
    yield f"{counts['running']} running, {counts['queued']} queued, {counts['done']} done"


def _corpora(status: Facts) -> Iterator[str]:
    corpora = status["corpora"]
    yield f"{'FILES':>9} {'MIB':>9} {'TOKENS':>13}  CORPUS"
    for corpus in corpora[-MOST_ROWS:]:
        mib = corpus["bytes"] / MIB
        yield f"{corpus['files']:9,} {mib:9,.1f} {corpus['tokens']:13,}  {corpus['root']}"
    if len(corpora) > MOST_ROWS:
        yield f"and {len(corpora) - MOST_ROWS} more"
