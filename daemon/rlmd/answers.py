"""What the tools ask of the program and what it tells them: the facts of the public contract.

Field names are the contract's own, so that `facts` of a value is the JSON object that programs see
under `_meta["rlmd/result"]`.  Paths in a question are as the caller wrote them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from rlmd.values import Citation, Kind

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
Mode = Literal["auto", "evidence", "direct", "rlm"]
OutputMode = Literal["content", "files_with_matches", "count"]
Limit = Literal["usd", "tokens", "calls", "seconds", "llm", "loop"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What `rlm_analyze` or `rlm_query_text` asks: over `paths`, over one `text`, or over the file `path`.

    Exactly one of the three is given.  `schema` is the JSON text of a schema for the answer.  How
    long the caller waits is no part of the question: two that differ only in `wait_s` and `detach` are
    equal.
    """

    query: str
    paths: tuple[str, ...] = ()
    text: str | None = None
    path: str | None = None
    mode: Mode = "auto"
    kind: Kind = "code"
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    budget_s: float | None = None
    budget_usd: float | None = None
    budget_tokens: int | None = None
    budget_calls: int | None = None
    budget_depth: int | None = None
    schema: str | None = None
    wait_s: float = field(default=25.0, compare=False)
    detach: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class Unexamined:
    """A file that belongs to the corpus and was not looked into."""

    path: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of the corpus the answer stands on."""

    files: int = 0
    files_read: int = 0
    bytes: int = 0
    bytes_read: int = 0
    not_examined: tuple[Unexamined, ...] = ()


@dataclass(frozen=True, slots=True)
class CorpusFacts:
    """The snapshot that was asked; citations are relative to `root`.

    `age_s` is for how many seconds nobody knows that the tree is as the snapshot says; 0 for one that is
    watched and has not changed.
    """

    snapshot: str
    root: str
    files: int
    bytes: int
    tokens: int
    encoding: str
    age_s: float = 0.0


@dataclass(frozen=True, slots=True)
class SkippedExample:
    """One entry that was left out."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class SkippedFacts:
    """What the walk and the readers left out, by reason."""

    files: int = 0
    dirs: int = 0
    by_reason: dict[str, int] = field(default_factory=dict)
    examples: tuple[SkippedExample, ...] = ()


@dataclass(frozen=True, slots=True)
class UsageFacts:
    """What the answer cost; `usd` is None where nobody knows the price."""

    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cached_tokens: int = 0
    usd: float | None = 0.0
    wall_s: float = 0.0
    model: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """The state of one analysis: an answer, or the job that is working on it.

    While `state` is "running" everything after `partial` may be empty.  `note` says in one line why
    this mode was chosen.  `trajectory` is None while there is none to read.
    """

    job_id: str
    state: Literal["done", "running", "failed", "cancelled"]
    partial: bool = False
    limit: Limit | None = None
    fresh: bool = True
    mode: Mode
    note: str = ""
    answer: Json = None
    citations: tuple[Citation, ...] = ()
    evidence: tuple[Citation, ...] = ()
    coverage: Coverage = field(default_factory=Coverage)
    corpus: CorpusFacts | None = None
    skipped: SkippedFacts = field(default_factory=SkippedFacts)
    usage: UsageFacts = field(default_factory=UsageFacts)
    trajectory: str | None = None


JobState = Literal["running", "done", "failed", "cancelled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest:
    """What `rlm_job` asks; `job_id` is empty for a list alone."""

    action: Literal["list", "wait", "result", "cancel"]
    job_id: str = ""
    wait_s: float = 25.0
    cursor: str | None = None
    page_chars: int = 4_000


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFacts:
    """One analysis in a list of them, `usd` None where nobody knows the price."""

    job_id: str
    query: str
    state: JobState
    mode: str
    started_at: str
    wall_s: float
    calls: int
    usd: float | None
    turn: int


@dataclass(frozen=True, slots=True)
class JobList:
    """A page of the analyses, latest first."""

    jobs: tuple[JobFacts, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRequest:
    """Lines of one file from the 0-based `offset` on, `limit` of them or as many as fit `max_chars`."""

    path: str
    offset: int = 0
    limit: int | None = None
    max_chars: int = 9_000


@dataclass(frozen=True, slots=True, kw_only=True)
class GrepRequest:
    """A search for lines; None leaves `limit` to the service."""

    pattern: str
    path: str | None = None
    case_insensitive: bool = False
    fixed_strings: bool = False
    context_lines: int = 0
    file_type: str | None = None
    glob: str | None = None
    output_mode: OutputMode = "content"
    limit: int | None = None
    cursor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobRequest:
    """A search for paths; None leaves `limit` to the service."""

    pattern: str
    path: str | None = None
    include_hidden: bool = False
    limit: int | None = None
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Cited:
    """Lines that a memory speaks of; `path` as the caller wrote it."""

    path: str
    start_line: int
    end_line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreRequest:
    """Something to remember; None leaves `project`, `kind` and `session` to the service.

    Without a value it says that the one which stands still holds: `confirm` takes its evidence anew.
    """

    key: str
    value: str | None = None
    tags: tuple[str, ...] = ()
    project: str | None = None
    kind: str | None = None
    session: str | None = None
    expect_version: int | None = None
    ttl_s: float | None = None
    request_id: str | None = None
    evidence: tuple[Cited, ...] = ()
    supersedes: str | None = None
    confirm: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetRequest:
    """A memory to forget, to bring back with `undo`, or to `purge` for good."""

    key: str
    project: str | None = None
    undo: bool = False
    purge: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RecallRequest:
    """What to recall; all conditions that are given hold together, None is one not given."""

    key: str | None = None
    prefix: str | None = None
    query: str | None = None
    tags: tuple[str, ...] = ()
    match: Literal["any", "all"] = "any"
    not_tags: tuple[str, ...] = ()
    since: str | float | None = None
    until: str | float | None = None
    kind: str | None = None
    project: str | None = None
    limit: int = 10
    cursor: str | None = None
    value_chars: int = 2_000
    history: bool = False


def facts(value: DataclassInstance) -> dict[str, Json]:
    """Return *value* as the JSON object of the contract, nested values included."""
    return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}


def _plain(value: Any) -> Json:
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Mapping():
            return {str(name): _plain(inner) for name, inner in value.items()}
        case list() | tuple():
            return [_plain(inner) for inner in value]
        case _:
            return facts(value)
