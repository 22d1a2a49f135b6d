"""How the daemon is, part by part, as `rlm_status` tells it; the field names are the contract's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class ActorFacts:
    """One supervised actor."""

    name: str
    workers: int
    busy: int
    waiting: int
    restarts: int
    last_error: str | None


@dataclass(frozen=True, slots=True)
class CacheFacts:
    """How often a model's reply was already known."""

    hits: int = 0
    misses: int = 0
    joined: int = 0


@dataclass(frozen=True, slots=True)
class LlmFacts:
    """The model endpoint; `state` "none" is a daemon without one.

    `key_origin` says where its key came from, and `key_mark` tells that key from another.
    """

    endpoint: str | None = None
    model: str | None = None
    state: Literal["ok", "open", "none"] = "none"
    key_origin: str | None = None
    key_mark: str | None = None
    concurrency: int = 0
    calls: int = 0
    errors: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    usd: float | None = 0.0
    cache: CacheFacts = field(default_factory=CacheFacts)


@dataclass(frozen=True, slots=True)
class CorpusState:
    """One corpus that the daemon holds.

    `fresh` is known of a tree that is watched only; `unwatched` says why one is not.  `age_s` is for
    how many seconds nobody knows that the tree is as the snapshot says.
    """

    root: str
    snapshot: str
    files: int
    bytes: int
    tokens: int
    fresh: bool
    age_s: float = 0.0
    unwatched: str | None = None


@dataclass(frozen=True, slots=True)
class MemoryFacts:
    """The memory store; `integrity` is "ok" or what the last check found, which ended at `checked_at`.

    At `checkpointed_at` its log was last copied into the file.  Both are ISO 8601, in UTC.
    """

    items: int
    bytes: int
    wal_bytes: int
    integrity: str
    checked_at: str | None = None
    checkpointed_at: str | None = None


@dataclass(frozen=True, slots=True)
class JobCounts:
    """Analyses by state, since the daemon started."""

    running: int = 0
    queued: int = 0
    done: int = 0


@dataclass(frozen=True, slots=True)
class SandboxFacts:
    """What confines code that a model wrote."""

    available: bool = False
    layers: tuple[str, ...] = ()
    sessions: int = 0


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """The daemon's process; `limit_source` names who set the memory limit.

    `used_bytes` is what counts against it, which may be more than the process's own.
    """

    rss_bytes: int
    limit_bytes: int
    limit_source: str
    open_fds: int
    threads: int
    used_bytes: int = 0
    max_fds: int = 0


@dataclass(frozen=True, slots=True)
class DoorFacts:
    """Connections and calls in hand against their bounds, `max_requests` of one connection.

    `refused` counts, by reason, peers that were not let in or not kept.
    """

    connections: int = 0
    max_connections: int = 0
    requests: int = 0
    max_requests: int = 0
    accepted: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong, and the command or setting that mends it."""

    what: str
    fix: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How the daemon is."""

    version: str
    pid: int
    uptime_s: float
    state: Literal["starting", "ready", "degraded", "draining"]
    actors: tuple[ActorFacts, ...] = ()
    llm: LlmFacts = field(default_factory=LlmFacts)
    corpora: tuple[CorpusState, ...] = ()
    memory: MemoryFacts
    jobs: JobCounts = field(default_factory=JobCounts)
    sandbox: SandboxFacts = field(default_factory=SandboxFacts)
    doors: DoorFacts = field(default_factory=DoorFacts)
    process: ProcessFacts
    problems: tuple[Problem, ...] = ()
