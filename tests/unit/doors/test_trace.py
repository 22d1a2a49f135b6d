"""The trace of a caller travels with its request, through actors and jobs, into every event."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import structlog
import trio

from door_world import CannedServices, open_door
from rlmd.doors.trace import log_context
from rlmd.engine.jobs import Jobs
from rlmd.supervision import open_supervisor

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def test_a_trace_and_its_span_are_told():
    told = log_context(7, {"traceparent": f"00-{TRACE}-{SPAN}-01"})

    assert told == {"request_id": "7", "trace_id": TRACE, "parent_span_id": SPAN}


@pytest.mark.parametrize(
    "given",
    [
        None,
        7,
        "",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-01\n",
    ],
)
def test_what_is_no_trace_is_passed_over(given: Any):
    assert log_context("a" * 100, {"traceparent": given}) == {"request_id": "a" * 64}


def test_later_versions_may_say_more():
    assert log_context(1, {"traceparent": f"01-{TRACE}-{SPAN}-01-more"})["trace_id"] == TRACE


@pytest.mark.real_io
async def test_events_of_actors_and_jobs_carry_the_trace_of_their_request(home: Any, events: Any):
    log = structlog.get_logger()

    @asynccontextmanager
    async def actor() -> Any:
        async def handle(_: str) -> None:
            log.info("actor.worked")

        yield handle

    with trio.fail_after(5):
        async with open_supervisor(grace=1) as supervisor, trio.open_nursery() as nursery:
            mailbox = await supervisor.start_concurrent("worker", actor)
            jobs = Jobs[None](nursery, most=1)

            async def work(_: Any) -> None:
                await mailbox.ask("work")

            async def fate(report: Any) -> None:
                await jobs.wait(jobs.start("key", partial(work)), 5, report)

            async with open_door(home.socket, CannedServices(fate)) as world:
                client = await world.connect()
                await client.call(
                    "rlm_read", {"path": "a"}, request_id=9, traceparent=f"00-{TRACE}-{SPAN}-01"
                )

    told = {event["event"]: event for event in events}
    for name in ("actor.worked", "job.ended", "request.ended"):
        assert (told[name]["trace_id"], told[name]["request_id"]) == (TRACE, "9")
