"""What can be read by address: what each job did, as a tree for people and as lines of JSON."""

from __future__ import annotations

import re

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

from rlmd.answers import JobList, JobRequest
from rlmd.doors.services import Services
from rlmd.errors import RequestError
from rlmd.values import ignore_progress

_JOB = re.compile(r"rlmd://jobs/(?P<job>[\w-]+)(?P<lines>\.jsonl)?")
TEMPLATES = ListResourceTemplatesResult(
    resource_templates=[
        ResourceTemplate(
            name="job",
            uri_template="rlmd://jobs/{id}",
            description="What a job did: its turns, cells, sub-calls, with tokens, money and seconds.",
            mime_type="text/plain",
        )
    ]
)


async def list_resources(services: Services, cursor: str | None) -> ListResourcesResult:
    """List a page of the jobs."""
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
    return ListResourcesResult(resources=resources, next_cursor=found.next_cursor)


async def read_resource(services: Services, uri: str) -> ReadResourceResult:
    """Read the trajectory at *uri*; raises MCPError for an address that leads nowhere."""
    match = _JOB.fullmatch(uri)
    if match is None:
        raise MCPError(INVALID_PARAMS, f"Unknown resource: {uri}", {"uri": uri})
    try:
        text = await services.trajectory(match["job"], as_lines=match["lines"] is not None)
    except RequestError as exc:
        raise MCPError(INVALID_PARAMS, exc.message, {"uri": uri}) from exc
    mime_type = "application/jsonl" if match["lines"] else "text/plain"
    return ReadResourceResult(contents=[TextResourceContents(uri=uri, mime_type=mime_type, text=text)])
