"""The arguments of each tool, checked strictly: these models are what clients are shown, too."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from rlmd.answers import Mode, OutputMode
from rlmd.doors.schemas import HIDDEN
from rlmd.values import Kind

MOST_CHARS = 100_000
Text = Annotated[str, Field(min_length=1)]
Globs = Annotated[list[Text], Field(max_length=100)]
MaxChars = Annotated[
    int,
    Field(ge=100, le=MOST_CHARS, description="Length of the text to return, up to 100000; default 9000"),
]
Cursor = Annotated[str, Field(description="next_cursor of the call before")]
WaitSeconds = Annotated[
    float,
    Field(ge=0, le=50, description="Seconds to wait before the answer becomes a job; ask again to get it"),
]


class Arguments(BaseModel):
    """What every tool's arguments have in common."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Budget(BaseModel):
    """Limits of one question, sub-calls and child runs included."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    seconds: Annotated[float, Field(gt=0)] | None = None
    usd: Annotated[float, Field(ge=0)] | None = None
    tokens: Annotated[int, Field(ge=0)] | None = None
    calls: Annotated[int, Field(ge=0)] | None = None
    depth: Annotated[int, Field(ge=0)] | None = None


class Asking(Arguments):
    """What both kinds of question share."""

    query: Annotated[Text, Field(description="The question, in words or identifiers")]
    mode: Mode = "auto"
    kind: Annotated[Kind, Field(description="What the question is about")] = "code"
    budget: Budget | None = None
    wait_s: WaitSeconds | None = None
    detach: Annotated[bool, Field(description="Return at once; the work goes on")] = False
    form: Annotated[
        dict[str, Any] | None,
        Field(alias="schema", description="JSON schema of the answer; for mode rlm"),
    ] = None
    max_chars: MaxChars | None = None


class Analyze(Asking):
    """rlm_analyze."""

    paths: Annotated[
        list[Text], Field(min_length=1, max_length=100, description="Directories or files to ask")
    ]
    include: Annotated[Globs, Field(description="Only files that match one of these globs")] = []
    exclude: Globs = []


class QueryText(Asking):
    """rlm_query_text."""

    text: Annotated[Text, Field(description="The text itself; or give path")] | None = None
    path: Annotated[Text, Field(description="A file of any size; or give text")] | None = None

    @model_validator(mode="after")
    def _one_source(self) -> QueryText:
        if (self.text is None) == (self.path is None):
            raise PydanticCustomError("one_source", "give either text or path")
        return self


class Run(Arguments):
    """rlm_exec."""

    code: Annotated[str, Field(description="One cell of Python; state lasts from cell to cell")]
    session: Annotated[Text, Field(description="Of the cell before; without it a new one starts")] | None = (
        None
    )
    paths: Annotated[list[Text], Field(max_length=100, description="Seen as `files`")] = []
    text: Annotated[Text, Field(description="Seen as `context`; or give path")] | None = None
    path: Annotated[Text, Field(description="A file of any size, seen as `context`")] | None = None
    timeout_s: Annotated[float, Field(gt=0, le=600)] = 30
    close: Annotated[bool, Field(description="End the session after this cell")] = False

    @model_validator(mode="after")
    def _at_most_one_source(self) -> Run:
        if sum(map(bool, (self.paths, self.text, self.path))) > 1:
            raise PydanticCustomError("one_source", "give at most one of paths, text and path")
        return self


class Read(Arguments):
    """rlm_read."""

    path: Text
    offset: Annotated[int, Field(ge=0, description="Lines to pass over")] = 0
    limit: Annotated[int, Field(ge=1, description="Lines to return")] | None = None
    max_chars: MaxChars | None = None


class Grep(Arguments):
    """rlm_grep."""

    pattern: Annotated[
        Text, Field(description="Rust regex, line by line: no look-around, no back-references")
    ]
    path: Annotated[Text, Field(description="File or directory; default: the workspace")] | None = None
    case_insensitive: bool = False
    fixed_strings: bool = False
    context_lines: Annotated[int, Field(ge=0, le=20)] = 0
    file_type: Annotated[Text, Field(description="As rg --type: py, rust, md")] | None = None
    glob: Text | None = None
    output_mode: OutputMode = "content"
    limit: Annotated[int, Field(ge=1, le=10_000)] | None = None
    cursor: Cursor | None = None
    max_chars: MaxChars | None = None


class Glob(Arguments):
    """rlm_glob."""

    pattern: Annotated[Text, Field(description="As in **/*.py")]
    path: Annotated[Text, Field(description="Directory; default: the workspace")] | None = None
    include_hidden: bool = False
    limit: Annotated[int, Field(ge=1, le=10_000)] | None = None
    cursor: Cursor | None = None
    max_chars: MaxChars | None = None


class JobOf(Arguments):
    """rlm_job."""

    action: Literal["list", "wait", "result", "cancel"]
    job_id: Annotated[Text, Field(description="Of a question that became a job; not for list")] | None = None
    wait_s: Annotated[float, Field(ge=0, le=50)] | None = None
    cursor: Cursor | None = None
    max_chars: MaxChars | None = None


class StatusOf(Arguments):
    """rlm_status."""

    verbose: bool = False


class Lines(BaseModel):
    """Lines of a file, both ends included; a citation of an answer is one as it is, whatever else it says."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    path: Text
    start_line: Annotated[int, Field(ge=1)]
    end_line: Annotated[int, Field(ge=1)]


class Remember(Arguments):
    """rlm_memory_store."""

    key: Annotated[Text, Field(max_length=512)]
    value: Annotated[str, Field(description="May be left out with confirm")] | None = None
    tags: list[Text] = []
    project: Annotated[Text, Field(description='Default: this repository; "user" = the person')] | None = None
    kind: Text | None = None
    session: Text | None = None
    expect_version: Annotated[int, Field(ge=0, description="0 = must not exist yet")] | None = None
    ttl_s: Annotated[float, Field(gt=0)] | None = None
    request_id: Annotated[Text, Field(description="Makes a repeated call store once")] | None = None
    evidence: Annotated[
        list[Lines], Field(max_length=16, description="Code it speaks of; recall says when that changed")
    ] = []
    supersedes: Annotated[Text, Field(description="Key that is wrong now")] | None = None
    confirm: Annotated[bool, Field(description="Still true: take the stored evidence anew")] = False

    @model_validator(mode="after")
    def _says_something(self) -> Remember:
        if self.value is None and not self.confirm:
            raise PydanticCustomError("one_source", "value is required")
        return self


class Forget(Arguments):
    """rlm_memory_forget."""

    key: Text
    project: Text | None = None
    undo: Annotated[bool, Field(description="Take back the last change of the key")] = False
    purge: Annotated[bool, Field(description="For good: every version, in every file")] = False


class Export(Arguments):
    """rlmd_memory_export."""

    project: Text | None = None
    after: Annotated[int, Field(ge=0)] = 0


class Import(Arguments):
    """rlmd_memory_import."""

    lines: list[Text]


class BackUp(Arguments):
    """rlmd_memory_backup."""


class Recall(Arguments):
    """rlm_memory_recall."""

    key: Text | None = None
    prefix: Text | None = None
    query: Annotated[Text, Field(description="Full text")] | None = None
    tags: list[Text] = []
    search_tags: Annotated[list[Text], Field(json_schema_extra=HIDDEN)] = []
    match: Annotated[Literal["any", "all"], Field(description="How many of the tags")] = "any"
    not_tags: list[Text] = []
    since: Annotated[Text | float | None, Field(description="ISO 8601, or seconds since 1970")] = None
    until: Text | float | None = None
    kind: Text | None = None
    project: Annotated[Text, Field(description='"*" = all')] | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 10
    cursor: Cursor | None = None
    value_chars: (
        Annotated[int, Field(ge=1, le=MOST_CHARS, description="Of each value; default 2000")] | None
    ) = None
    max_tokens: Annotated[int, Field(ge=50, description="Of the whole answer: the best that fit")] | None = (
        None
    )
    history: Annotated[bool, Field(description="Every version of key")] = False
