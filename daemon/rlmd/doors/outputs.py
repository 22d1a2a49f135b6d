"""Schemas of the tools whose results are structured; only what a program relies on is required."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_INTEGER: Mapping[str, Any] = {"type": "integer"}
_STRING: Mapping[str, Any] = {"type": "string"}
_OBJECTS: Mapping[str, Any] = {"type": "array", "items": {"type": "object"}}
_OBJECT: Mapping[str, Any] = {"type": "object"}


def _object(**properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


STORED: Mapping[str, Any] = _object(
    key=_STRING,
    project=_STRING,
    version=_INTEGER,
    created={"type": "boolean"},
    redactions=_INTEGER,
    anchors=_OBJECTS,
)
RECALLED: Mapping[str, Any] = _object(
    items={
        "type": "array",
        "items": _object(key=_STRING, value=_STRING, project=_STRING, version=_INTEGER, status=_STRING),
    },
    next_cursor={"type": ["string", "null"]},
)
CHANGED: Mapping[str, Any] = _object(
    key=_STRING,
    project=_STRING,
    version=_INTEGER,
    state={"enum": ["live", "superseded", "forgotten", "purged"]},
)
JOB: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "jobs": {
            "type": "array",
            "items": _object(job_id=_STRING, query=_STRING, state=_STRING, mode=_STRING, started_at=_STRING),
        },
        "job_id": _STRING,
        "state": {"enum": ["running", "done", "failed", "cancelled"]},
        "answer": {},
        "partial": {"type": "boolean"},
        "citations": _OBJECTS,
        "usage": _OBJECT,
        "next_cursor": {"type": ["string", "null"]},
    },
    "required": ["next_cursor"],
}
STATUS: Mapping[str, Any] = _object(
    version=_STRING,
    pid=_INTEGER,
    uptime_s={"type": "number"},
    state={"enum": ["starting", "ready", "degraded", "draining"]},
    actors=_OBJECTS,
    llm=_OBJECT,
    corpora=_OBJECTS,
    memory=_OBJECT,
    jobs=_OBJECT,
    sandbox=_OBJECT,
    process=_OBJECT,
    problems=_OBJECTS,
)
