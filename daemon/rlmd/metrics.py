"""The daemon's figures in the text that Prometheus reads.

The format is the text exposition format 0.0.4.  Names are those of its conventions: base units,
`_total` for what only grows, and `process_…` as its own client libraries have them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

from rlmd.observe import Timing
from rlmd.status import Status

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
STATES = ("starting", "ready", "degraded", "draining")

Kind = Literal["counter", "gauge", "summary"]
Sample = tuple[str, Mapping[str, str], float]


def exposition(
    status: Status,
    *,
    tools: Mapping[str, Timing],
    stages: Mapping[str, Timing],
    usd_by_project: Mapping[str, float | None],
) -> str:
    """Write all figures; percentiles are of the latest calls, sums and counts of all."""
    return "".join(
        (
            *_process(status),
            *_doors(status),
            *_actors(status),
            *_timings("rlmd_tool_duration_seconds", "Seconds of a tool call.", "tool", tools),
            *_timings("rlmd_stage_duration_seconds", "Seconds in the hands of an actor.", "actor", stages),
            *_model(status, usd_by_project),
            *_holdings(status),
        )
    )


def _process(status: Status) -> Iterator[str]:
    process = status.process
    yield _family("rlmd_info", "gauge", "The version that runs.", [("", {"version": status.version}, 1)])
    states: list[Sample] = [("", {"state": state}, state == status.state) for state in STATES]
    yield _family("rlmd_state", "gauge", "1 for the state that holds.", states)
    yield _figure("rlmd_uptime_seconds", "gauge", "Seconds since the start.", status.uptime_s)
    yield _figure("rlmd_problems", "gauge", "Problems that `rlmd status` names.", len(status.problems))
    yield _figure("process_resident_memory_bytes", "gauge", "Resident memory.", process.rss_bytes)
    yield _figure("process_open_fds", "gauge", "Open descriptors.", process.open_fds)
    yield _figure("process_threads", "gauge", "Threads.", process.threads)
    source: list[Sample] = [("", {"source": process.limit_source}, process.limit_bytes)]
    yield _family("rlmd_memory_limit_bytes", "gauge", "The memory limit that binds first.", source)


def _doors(status: Status) -> Iterator[str]:
    doors = status.doors
    yield _figure("rlmd_connections", "gauge", "Connections now.", doors.connections)
    yield _figure("rlmd_connections_total", "counter", "Connections let in.", doors.accepted)
    yield _figure("rlmd_requests", "gauge", "Tool calls in hand.", doors.requests)
    refused: list[Sample] = [("", {"reason": name}, count) for name, count in doors.refused.items()]
    yield _family("rlmd_refused_total", "counter", "Peers and calls turned away.", refused)


def _actors(status: Status) -> Iterator[str]:
    for name, kind, text in (
        ("busy", "gauge", "Requests in hand."),
        ("waiting", "gauge", "Requests still in their callers' hands."),
        ("restarts", "counter", "Restarts after a crash."),
    ):
        samples: list[Sample] = [("", {"actor": a.name}, getattr(a, name)) for a in status.actors]
        total = "_total" if kind == "counter" else ""
        yield _family(f"rlmd_actor_{name}{total}", "counter" if total else "gauge", text, samples)


def _timings(name: str, text: str, label: str, timings: Mapping[str, Timing]) -> Iterator[str]:
    samples: list[Sample] = []
    for of, timing in timings.items():
        quantiles = {"0.5": timing.p50_s, "0.95": timing.p95_s, "0.99": timing.p99_s}
        samples += [("", {label: of, "quantile": share}, value) for share, value in quantiles.items()]
        samples += [("_sum", {label: of}, timing.total_s), ("_count", {label: of}, timing.count)]
    yield _family(name, "summary", text, samples)


def _model(status: Status, usd_by_project: Mapping[str, float | None]) -> Iterator[str]:
    llm = status.llm
    yield _figure("rlmd_llm_calls_total", "counter", "Attempts at the model endpoint.", llm.calls)
    yield _figure("rlmd_llm_errors_total", "counter", "Attempts that brought nothing.", llm.errors)
    tokens: list[Sample] = [
        ("", {"direction": "in"}, llm.tokens_in),
        ("", {"direction": "out"}, llm.tokens_out),
    ]
    yield _family("rlmd_llm_tokens_total", "counter", "Tokens sent and received.", tokens)
    cache: list[Sample] = [
        ("", {"outcome": "hit"}, llm.cache.hits),
        ("", {"outcome": "miss"}, llm.cache.misses),
        ("", {"outcome": "joined"}, llm.cache.joined),
    ]
    yield _family("rlmd_llm_cache_total", "counter", "Calls by what the cache knew of them.", cache)
    known: list[Sample] = [] if llm.usd is None else [("", {}, llm.usd)]
    yield _family(
        "rlmd_llm_cost_usd_total", "counter", "Dollars spent; absent once a price is unknown.", known
    )
    spent: list[Sample] = [
        ("", {"project": project}, usd) for project, usd in usd_by_project.items() if usd is not None
    ]
    yield _family("rlmd_project_cost_usd_total", "counter", "Dollars by project; absent as above.", spent)


def _holdings(status: Status) -> Iterator[str]:
    jobs, memory = status.jobs, status.memory
    yield _figure("rlmd_jobs_running", "gauge", "Analyses that have not ended.", jobs.running)
    yield _figure("rlmd_jobs_done_total", "counter", "Analyses that have ended.", jobs.done)
    yield _figure("rlmd_memory_items", "gauge", "Memories that stand.", memory.items)
    yield _figure("rlmd_memory_bytes", "gauge", "Bytes of memory.db.", memory.bytes)
    yield _figure("rlmd_memory_wal_bytes", "gauge", "Bytes of its write-ahead log.", memory.wal_bytes)
    yield _figure("rlmd_sandbox_sessions", "gauge", "Sandbox sessions.", status.sandbox.sessions)
    yield _figure("rlmd_corpora", "gauge", "Corpora held.", len(status.corpora))
    for name in ("files", "bytes", "tokens"):
        total = sum(getattr(corpus, name) for corpus in status.corpora)
        yield _figure(f"rlmd_corpora_{name}", "gauge", f"{name.capitalize()} of all corpora held.", total)


def _figure(name: str, kind: Kind, text: str, value: float) -> str:
    return _family(name, kind, text, [("", {}, value)])


def _family(name: str, kind: Kind, text: str, samples: Iterable[Sample]) -> str:
    lines = [f"{name}{suffix}{_labels(labels)} {_number(value)}\n" for suffix, labels, value in samples]
    return f"# HELP {name} {text}\n# TYPE {name} {kind}\n{''.join(lines)}" if lines else ""


def _labels(labels: Mapping[str, str]) -> str:
    told = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return f"{{{told}}}" if told else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(round(float(value), 9))
