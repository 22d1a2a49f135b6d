"""What can be read by address: what each job did, as a tree or as lines of JSON; each memory, as JSON."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

from mcp import MCPError
from mcp_types import (
    INVALID_PARAMS,
    ListResourcesResult,
    ListResourceTemplatesResult,
    ReadResourceResult,
    Resource,
    ResourceTemplate,
    TextResourceContents,
)

from rlmd.answers import JobList, JobRequest, RecallRequest, facts
from rlmd.doors import render
from rlmd.doors.services import Services
from rlmd.errors import NotFound, RequestError
from rlmd.memory.ask import MAX_VALUE_CHARS, Item
from rlmd.values import Session, ignore_progress

_JOB = re.compile(r"rlmd://jobs/(?P<job>[\w-]+)(?P<lines>\.jsonl)?")
TEMPLATES = ListResourceTemplatesResult(
    resource_templates=[
        ResourceTemplate(
            name="job",
            uri_template="rlmd://jobs/{id}",
            description="What a job did: its turns, cells, sub-calls, with tokens, money and seconds.",
            mime_type="text/plain",
        ),
        ResourceTemplate(
            name="memory",
            uri_template="rlmd://memory/{project}/{key}",
            description="A memory with the state of the code it speaks of. Subscribe to hear of changes.",
            mime_type="application/json",
        ),
    ]
)
_MEMORY = re.compile(r"rlmd://memory/(?P<project>[^/]+)/(?P<key>.+)", re.DOTALL)
_MEMORIES_LISTED = 50


async def list_resources(services: Services, session: Session, cursor: str | None) -> ListResourcesResult:
    """List the newest memories of the session's project, then page by page the jobs."""
    recalled = [] if cursor else await _memories(services, session)
    found = await services.jobs(JobRequest(action="list", cursor=cursor), ignore_progress)
    assert isinstance(found, JobList)
    resources = [
        Resource(
            name=job.job_id,
            uri=f"rlmd://jobs/{job.job_id}",
            description=job.query[:200],
            mime_type="text/plain",
        )
        for job in found.jobs
    ]
    return ListResourcesResult(resources=recalled + resources, next_cursor=found.next_cursor)


async def read_resource(services: Services, session: Session, uri: str) -> ReadResourceResult:
    """Read the memory or trajectory at *uri*; raises MCPError for an address that leads nowhere."""
    if place := memory_at(uri):
        try:
            text = render.dump(facts(await recall_one(services, session, *place)))
        except RequestError as exc:
            raise MCPError(INVALID_PARAMS, exc.message) from exc
        contents = TextResourceContents(uri=uri, mime_type="application/json", text=text)
        return ReadResourceResult(contents=[contents])
    match = _JOB.fullmatch(uri)
    if match is None:
        raise MCPError(INVALID_PARAMS, f"Unknown resource: {uri}", {"uri": uri})
    try:
        text = await services.trajectory(match["job"], as_lines=match["lines"] is not None)
    except RequestError as exc:
        raise MCPError(INVALID_PARAMS, exc.message, {"uri": uri}) from exc
    mime_type = "application/jsonl" if match["lines"] else "text/plain"
    return ReadResourceResult(contents=[TextResourceContents(uri=uri, mime_type=mime_type, text=text)])


def memory_at(uri: str) -> tuple[str, str] | None:
    """Return the project and key that *uri* names, None for an address of something else."""
    match = _MEMORY.fullmatch(uri)
    return None if match is None else (unquote(match["project"]), unquote(match["key"]))


async def recall_one(services: Services, session: Session, project: str, key: str) -> Item:
    """Return a memory as it stands; raise NotFound where there is none."""
    asked = RecallRequest(key=key, project=project, limit=1, value_chars=MAX_VALUE_CHARS)
    recalled = await services.memory_recall(session, asked)
    if not recalled.items:
        raise NotFound(f"No memory {key!r} stands in {project}.")
    return recalled.items[0]


async def _memories(services: Services, session: Session) -> list[Resource]:
    recalled = await services.memory_recall(session, RecallRequest(limit=_MEMORIES_LISTED, value_chars=200))
    return [
        Resource(
            name=item.key,
            uri=f"rlmd://memory/{quote(item.project, safe='')}/{quote(item.key)}",
            description=item.value,
            mime_type="application/json",
        )
        for item in recalled.items
    ]
