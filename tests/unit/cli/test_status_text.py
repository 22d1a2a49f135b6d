"""`rlmd status` as a person reads it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rlmd.cli.status import as_text
from rlmd.status import (
    ActorFacts,
    DoorFacts,
    JobCounts,
    LlmFacts,
    MemoryFacts,
    Problem,
    ProcessFacts,
    SandboxFacts,
    Status,
)


def status(**parts: Any) -> dict[str, Any]:
    whole = Status(
        version="0.1.0",
        pid=7,
        uptime_s=3_700,
        state="ready",
        memory=MemoryFacts(2, 1 << 20, 0, "ok"),
        process=ProcessFacts(50 << 20, 1 << 30, "RAM", 9, 3),
        doors=DoorFacts(connections=1, max_connections=64),
        **parts,
    )
    return asdict(whole)


def test_a_quiet_daemon_reads_in_a_few_lines():
    assert as_text(
        status(sandbox=SandboxFacts(available=True, layers=("rlimit", "seccomp")))
    ).splitlines() == [
        "rlmd 0.1.0 is ready: pid 7, up 1 h 1 min",
        "process   50 MiB of 1,024 MiB (RAM), 3 threads",
        "clients   1 of 64, 0 calls in hand",
        "model     none: questions are answered by evidence",
        "sandbox   rlimit, seccomp, 0 sessions",
        "memory    2 items, 1.0 MiB: ok",
        "jobs      0 running, 0 queued, 0 done",
    ]


def test_troubles_come_last_with_the_command_that_mends_them():
    lines = as_text(
        status(
            actors=(ActorFacts("walker", 2, 0, 0, 3, "boom"), ActorFacts("reader_pool", 2, 0, 0, 0, None)),
            jobs=JobCounts(running=1),
            problems=(Problem("The key is missing.", "Set a key: rlmd auth set."),),
        )
    ).splitlines()

    assert lines[-3:] == [
        "actor     walker: 0 busy, 0 waiting, 3 restarts",
        "problem   The key is missing.",
        "          Set a key: rlmd auth set.",
    ]


def test_the_model_is_told_with_its_key_s_origin_state_and_cost():
    llm = LlmFacts("api.x", "m", "open", key_origin="environment variable X", calls=3, usd=None)

    (line,) = [each for each in as_text(status(llm=llm)).splitlines() if each.startswith("model")]

    assert line == (
        "model     m at api.x (left alone after faults), key: environment variable X; 3 calls, cost unknown"
    )
