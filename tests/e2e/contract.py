"""The contract's result schemas, field by field as it writes them, and what compares a value with one.

A shape is a type, None, a set of allowed values, a tuple of alternatives, a list of one shape, a
dict of exactly these fields, or a dict from `str` to the shape of every value.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rlmd.values import SKIP_REASONS

NUMBER = (int, float)
PASSAGE = {
    "path": str,
    "start_line": int,
    "end_line": int,
    "quote": str,
    "sha256": str,
    "verified": bool,
    "score": NUMBER,
}
ANALYSIS = {
    "job_id": str,
    "state": {"done", "running", "failed", "cancelled"},
    "partial": bool,
    "limit": {None, "usd", "tokens", "calls", "seconds", "llm", "loop"},
    "fresh": bool,
    "mode": {"evidence", "direct", "rlm"},
    "note": str,  # ours: the one line that says why this mode
    "answer": (str, None),
    "citations": [PASSAGE],
    "evidence": [PASSAGE],
    "coverage": {
        "files": int,
        "files_read": int,
        "bytes": int,
        "bytes_read": int,
        "not_examined": [{"path": str, "bytes": int}],
    },
    "corpus": (
        None,  # while it is running
        {
            "snapshot": str,
            "root": str,
            "files": int,
            "bytes": int,
            "tokens": int,
            "encoding": str,
            "age_s": NUMBER,  # ours: for how long nobody has known whether the tree has changed
        },
    ),
    "skipped": {
        "files": int,
        "dirs": int,
        "by_reason": {str: int},
        "examples": [{"path": str, "reason": set(SKIP_REASONS)}],
    },
    "usage": {
        "calls": int,
        "tokens_in": int,
        "tokens_out": int,
        "cached_tokens": int,
        "usd": (*NUMBER, None),
        "wall_s": NUMBER,
        "model": (str, None),
    },
    "trajectory": (str, None),
}
ANCHOR = {"path": str, "start_line": int, "end_line": int, "status": str}
STORED = {
    "key": str,
    "project": str,
    "version": int,
    "created": bool,
    "redactions": int,
    "anchors": [ANCHOR],
}
RECALLED = {
    "items": [
        {
            "key": str,
            "value": str,
            "tags": [str],
            "project": str,
            "version": int,
            "stored_at": str,
            "score": NUMBER,
            "status": {"fresh", "moved", "ambiguous", "edited", "stale", "missing", "unanchored"},
            "anchors": [ANCHOR],
            "superseded_by": (str, None),
            "state": str,  # ours
        }
    ],
    "next_cursor": (str, None),
}
GREP = {
    "matches": [{"path": str, "line": int, "text": str}],
    "files": int,
    "total": int,
    "truncated": bool,
    "next_cursor": (str, None),
}
GLOB = {"paths": [str], "total": int, "truncated": bool}
READ = {"path": str, "text": str, "start_line": int, "end_line": int, "total_lines": int, "truncated": bool}
STATUS = {
    "version": str,
    "pid": int,
    "uptime_s": NUMBER,
    "state": {"starting", "ready", "degraded", "draining"},
    "actors": [
        {
            "name": str,
            "workers": int,
            "busy": int,
            "waiting": int,
            "restarts": int,
            "last_error": (str, None),
        }
    ],
    "llm": {
        "endpoint": (str, None),
        "model": (str, None),
        "state": {"ok", "open", "none"},
        "concurrency": int,
        "calls": int,
        "errors": int,
        "tokens_in": int,
        "tokens_out": int,
        "usd": (*NUMBER, None),
        "key_origin": (str, None),  # ours: its section 6 wants it named
        "key_mark": (str, None),  # ours
        "cache": {"hits": int, "misses": int, "joined": int},
    },
    "corpora": [
        {
            "root": str,
            "snapshot": str,
            "files": int,
            "bytes": int,
            "tokens": int,
            "fresh": bool,
            "age_s": NUMBER,  # ours, as above
            "unwatched": (str, None),  # ours: why nobody watches the tree
        }
    ],
    "memory": {
        "items": int,
        "bytes": int,
        "wal_bytes": int,
        "integrity": str,
        "checked_at": (str, None),  # ours: when the check ended
        "checkpointed_at": (str, None),  # ours: when the log was last copied into the file
    },
    "jobs": {"running": int, "queued": int, "done": int},
    "sandbox": {"available": bool, "layers": [str], "sessions": int},
    "doors": {  # ours
        "connections": int,
        "max_connections": int,
        "requests": int,
        "max_requests": int,
        "accepted": int,
        "refused": {str: int},
    },
    "process": {
        "rss_bytes": int,
        "limit_bytes": int,
        "limit_source": str,
        "open_fds": int,
        "threads": int,
        "used_bytes": int,  # ours
        "max_fds": int,  # ours
    },
    "problems": [{"what": str, "fix": str}],
}
ERROR = {"code": str, "message": str, "retryable": bool, "hint": str}
RESULTS = {
    "rlm_analyze": ANALYSIS,
    "rlm_query_text": ANALYSIS,
    "rlm_status": STATUS,
    "rlm_memory_store": STORED,
    "rlm_memory_recall": RECALLED,
    "rlm_read": READ,
    "rlm_grep": GREP,
    "rlm_glob": GLOB,
}
STRUCTURED = {"rlm_status", "rlm_memory_store", "rlm_memory_recall", "rlm_memory_forget", "rlm_job"}
READING = set(RESULTS) - {"rlm_memory_store"}
TOOLS = {*RESULTS, "rlm_memory_forget", "rlm_job", "rlm_exec"}
"""All that the contract names; those without a shape here are tested where they are made."""
CODES = {
    "bad_argument",
    "not_found",
    "outside_roots",
    "too_large",
    "busy",
    "no_llm",
    "llm_unavailable",
    "budget_exhausted",
    "version_conflict",
    "sandbox_unavailable",
    "cancelled",
    "internal",
}
BEYOND = {"rlm_grep": {"skipped"}, "rlm_glob": {"next_cursor"}, "rlm_read": {"next_offset", "line_cut"}}
"""Fields of ours beside the contract's, at the top of a result."""


def misfits(value: Any, shape: Any, place: str = "") -> Iterator[str]:
    """Yield every place where *value* is not of *shape*; a bool is no int."""
    match shape, value:
        case [[each], list()]:
            for index, item in enumerate(value):
                yield from misfits(item, each, f"{place}[{index}]")
        case [dict(), dict()] if set(shape) == {str}:
            for name, item in value.items():
                yield from misfits(item, shape[str], f"{place}.{name}")
        case [dict(), dict()]:
            yield from (f"{place}.{name} is missing" for name in shape.keys() - value.keys())
            yield from (f"{place}.{name} is extra" for name in value.keys() - shape.keys())
            for name in shape.keys() & value.keys():
                yield from misfits(value[name], shape[name], f"{place}.{name}")
        case _ if not _is_one(value, shape):
            yield f"{place} is {value!r:.60}"


def _is_one(value: Any, shape: Any) -> bool:
    match shape:
        case type():
            return type(value) is shape
        case set():
            return value in shape
        case tuple():
            return any(not list(misfits(value, each)) for each in shape)
        case _:
            return shape is None and value is None


def mistakes_of(tool: str, facts: dict[str, Any]) -> list[str]:
    """Return where the facts of *tool* are not what the contract says, ours beside them left out."""
    known = {name: value for name, value in facts.items() if name not in BEYOND.get(tool, ())}
    return list(misfits(known, RESULTS[tool]))
