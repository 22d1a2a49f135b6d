"""What is asked of the sandbox_pool, and what a cell came to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, Protocol

from rlmd.answers import Json
from rlmd.sandbox.services import NO_SERVICES, Services
from rlmd.status import SandboxFacts
from rlmd.values import Span, TextEncoding


class Document(Protocol):
    """One file of a snapshot."""

    @property
    def path(self) -> str:
        """Its path relative to the corpus."""
        ...

    @property
    def span(self) -> Span:
        """Where its content lies in the pack."""
        ...

    @property
    def encoding(self) -> TextEncoding:
        """How its content is decoded."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Documents:
    """What a session sees: the *files*, whose contents lie in the file *pack*, and nothing else of it.

    Sessions of one *id* share what is read of it, when it is read, from the pack.  *context* names
    the file that is bound as `context` too.  *files* is iterated once, in a thread.  *owner* is what
    keeps their contents from being removed: it is held as long as a session sees them.
    """

    id: str
    pack: str
    files: Iterable[Document]
    context: str | None = None
    owner: object = None


@dataclass(frozen=True, slots=True, eq=False)
class Text:
    """A text that came with the request, seen as the one file *name* and as `context`."""

    text: str
    name: str = "text"


Content = Documents | Text


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Exec:
    """Run *code* as the next cell of *session*, of a new one without; answered with `ExecResult`.

    A new session sees *content*, and none is no files; an old one keeps what it has.  *timeout_s* is
    the cell's own time, sub-calls not counted.  A *held* session is never ended to make room, nor for
    being idle: whoever holds it closes it.  Cancelling ends the cell and loses the session's state,
    unless the cell was over: a holder who is cancelled closes its session too, for which it gives a
    new one the *name* that it is then known by.

    Raises NotFound for a session that is unknown or was ended, BadArgument for content given to an
    old one, Busy at once when every session is running, TooLarge, and SandboxUnavailable.
    """

    code: str
    session: str | None = None
    content: Content | None = None
    timeout_s: float = 30.0
    close: bool = False
    held: bool = False
    name: str | None = None
    services: Services = NO_SERVICES


@dataclass(frozen=True, slots=True)
class Describe:
    """Say how the sandbox is; answered with `Description`."""


@dataclass(frozen=True, slots=True)
class Description:
    """How the sandbox is, and a sentence on why it is not available where it is not."""

    facts: SandboxFacts
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Variable:
    """Something that the cells have defined; `size` is its length, 0 for what has none."""

    name: str
    type: str
    size: int


@dataclass(frozen=True, slots=True)
class Lines:
    """A citation by place, as the code gave it: not checked."""

    path: str
    start_line: int
    end_line: int


@dataclass(frozen=True, slots=True)
class Quote:
    """A citation by words, to be found in the files."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecResult:
    """What a cell came to; every text of it was written by code that a model wrote.

    `killed` says why the process had to be ended: then the variables are lost, and the next cell of
    the session begins anew.  `submitted` tells an answer of None from no answer.
    """

    session: str = ""
    stdout: str = ""
    error: str | None = None
    answer: Json = None
    submitted: bool = False
    citations: tuple[Lines | Quote, ...] = ()
    truncated: bool = False
    variables: tuple[Variable, ...] = ()
    killed: str | None = None
    sub_calls: int = 0
    wall_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one session may use.  All but memory and processor time are enforced by the daemon.

    Bytes and seconds; `memory_bytes` is beside the content; `cpu_s`, `calls` and `prompt_bytes` are
    for the whole life of a session, the processor time anew after a kill; `longest_s` is for one
    cell with its sub-calls; `grace_s` what an interrupted cell has left.
    """

    memory_bytes: int = 1 << 30
    cpu_s: int = 300
    output_chars: int = 100_000
    longest_s: float = 900.0
    grace_s: float = 1.0
    start_s: float = 20.0
    calls: int = 200
    calls_at_once: int = 20
    prompt_chars: int = 400_000
    prompt_bytes: int = 64 << 20
    frame_bytes: int = 8 << 20
    cell_frames: int = 10_000
    cell_bytes: int = 128 << 20


Request = Exec | Describe
Answer = ExecResult | Description
CallKind = Literal["budget", "not_available", "failed"]


@dataclass(slots=True)
class Allowance:
    """What a session has left for sub-calls; it outlives a killed process."""

    calls: int
    prompt_bytes: int
    made: int = field(default=0)
