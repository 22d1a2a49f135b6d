"""The tools: for each its name, what clients are told of it, and the few lines that translate it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from mcp_types import Tool, ToolAnnotations

from rlmd.answers import (
    Cited,
    ForgetRequest,
    GlobRequest,
    GrepRequest,
    JobList,
    JobRequest,
    Json,
    Question,
    ReadRequest,
    RecallRequest,
    StoreRequest,
    facts,
)
from rlmd.doors import arguments as args
from rlmd.doors import listing, outputs, packing, render
from rlmd.doors.schemas import parse, schema_of
from rlmd.doors.services import Services
from rlmd.engine.cells import ExecRequest
from rlmd.values import Report, Session

A = TypeVar("A", bound=args.Arguments)

ENVELOPE_CHARS = 2_000
"""What a memory takes beside its value, for one that is asked for at full length."""


@dataclass(frozen=True, slots=True)
class Call:
    """Whom a tool serves, and with what; `max_chars` and `wait_s` hold where the caller names none."""

    services: Services
    session: Session
    report: Report
    max_chars: int
    wait_s: float


@dataclass(frozen=True, slots=True)
class Reply:
    """What a tool answers: `text` to be read, `facts` for programs, `structured` where it has a schema."""

    text: str
    facts: dict[str, Json]
    structured: dict[str, Json] | None = None


@dataclass(frozen=True, slots=True)
class Verb(Generic[A]):
    """One tool."""

    name: str
    description: str
    arguments: type[A]
    run: Callable[[Call, A], Awaitable[Reply]]
    writes: bool = False
    destroys: bool = False
    stateful: bool = False
    output: Mapping[str, Any] | None = None

    def describe(self) -> Tool:
        """Return what tools/list says of it."""
        return Tool(
            name=self.name,
            description=self.description,
            input_schema=schema_of(self.arguments),
            output_schema=None if self.output is None else dict(self.output),
            annotations=ToolAnnotations(
                read_only_hint=not self.writes,
                destructive_hint=self.destroys,
                idempotent_hint=not (self.writes or self.stateful),
                open_world_hint=False,
            ),
        )

    async def answer(self, call: Call, given: Mapping[str, Any] | None) -> Reply:
        """Check the arguments and do the work."""
        return await self.run(call, parse(self.arguments, given))


async def analyze(call: Call, given: args.Analyze) -> Reply:
    """Ask over directories and files."""
    question = Question(
        query=given.query,
        paths=tuple(given.paths),
        include=tuple(given.include),
        exclude=tuple(given.exclude),
        **_asking(call, given),
    )
    return await _ask(call, question, given.max_chars)


async def query_text(call: Call, given: args.QueryText) -> Reply:
    """Ask over one text."""
    question = Question(query=given.query, text=given.text, path=given.path, **_asking(call, given))
    return await _ask(call, question, given.max_chars)


async def job(call: Call, given: args.JobOf) -> Reply:
    """List the analyses, or have the answer of one."""
    room = given.max_chars or call.max_chars
    request = JobRequest(
        action=given.action,
        job_id=given.job_id or "",
        wait_s=call.wait_s if given.wait_s is None else given.wait_s,
        cursor=given.cursor,
        page_chars=max(1, room // 2),
    )
    found = await call.services.jobs(request, call.report)
    told = facts(found) if isinstance(found, JobList) else found
    return _trimmed(told, room)


async def status(call: Call, given: args.StatusOf) -> Reply:
    """Say how the daemon is."""
    return _structured(facts(await call.services.status(verbose=given.verbose)), call.max_chars)


async def memory_store(call: Call, given: args.Remember) -> Reply:
    """Remember."""
    evidence = tuple(Cited(each.path, each.start_line, each.end_line) for each in given.evidence)
    wanted = given.model_dump() | {"tags": tuple(given.tags), "evidence": evidence}
    request = StoreRequest(**wanted)
    return _structured(facts(await call.services.memory_store(call.session, request)), call.max_chars)


async def memory_forget(call: Call, given: args.Forget) -> Reply:
    """Forget, bring back or purge."""
    request = ForgetRequest(**given.model_dump())
    return _structured(facts(await call.services.memory_forget(call.session, request)), call.max_chars)


async def memory_recall(call: Call, given: args.Recall) -> Reply:
    """Recall; where not even short values fit the text, recall fewer, so that the cursor stays right."""
    wanted = given.model_dump(exclude={"search_tags", "max_tokens"}, exclude_none=True)
    tags = tuple(dict.fromkeys(given.tags + given.search_tags))
    request = RecallRequest(**(wanted | {"tags": tags, "not_tags": tuple(given.not_tags)}))
    room = min(max(call.max_chars, (given.value_chars or 0) + ENVELOPE_CHARS), args.MOST_CHARS)
    while True:
        found = facts(await call.services.memory_recall(call.session, request))
        if render.fit(found, room) is None and request.limit > 1:
            request = replace(request, limit=max(1, request.limit // 2))
        elif smaller := await packing.smaller(call.services, request, found, given.max_tokens):
            request = smaller
        else:
            return _structured(found, room)


async def memory_export(call: Call, given: args.Export) -> Reply:
    """Export some lines."""
    found = await call.services.memory_export(call.session, given.project, given.after)
    return Reply(f"{len(found.lines)} versions", facts(found))


async def memory_import(call: Call, given: args.Import) -> Reply:
    """Import lines."""
    found = await call.services.memory_import(call.session, tuple(given.lines))
    return Reply(f"{found.imported} versions imported", facts(found))


async def memory_back_up(call: Call, _given: args.BackUp) -> Reply:
    """Back up."""
    place = await call.services.memory_back_up()
    return Reply(place, {"path": place})


async def execute(call: Call, given: args.Run) -> Reply:
    """Run a cell."""
    request = ExecRequest(**(given.model_dump() | {"paths": tuple(given.paths)}))
    found = await call.services.execute(call.session, request)
    told = {name: value for name, value in facts(found).items() if name not in {"submitted", "citations"}}
    return Reply(listing.cell(found, call.max_chars), told)


async def read(call: Call, given: args.Read) -> Reply:
    """Read lines."""
    room = given.max_chars or call.max_chars
    request = ReadRequest(
        path=given.path, offset=given.offset, limit=given.limit, max_chars=listing.room_for_lines(room)
    )
    found = await call.services.read(call.session, request)
    return Reply(listing.lines(found, room), facts(found))


async def grep(call: Call, given: args.Grep) -> Reply:
    """Search; where the text has no room for the page, ask for a shorter one, whose cursor fits the text."""
    room = given.max_chars or call.max_chars
    request = GrepRequest(**given.model_dump(exclude={"max_chars"}))
    found = page = await call.services.grep(call.session, request)
    fitting = listing.fitting_matches(found, given.output_mode, room)
    if fitting < len(found.matches):
        page = await call.services.grep(call.session, replace(request, limit=fitting))
    matches: list[Json] = [_without_empty(facts(match)) for match in found.matches]
    return Reply(listing.matches(page, given.output_mode, room), {**facts(found), "matches": matches})


async def glob(call: Call, given: args.Glob) -> Reply:
    """Find paths; a page that the text has no room for is cut as in grep."""
    room = given.max_chars or call.max_chars
    request = GlobRequest(**given.model_dump(exclude={"max_chars"}))
    found = page = await call.services.glob(call.session, request)
    fitting = listing.fitting_paths(found, room)
    if fitting < len(found.paths):
        page = await call.services.glob(call.session, replace(request, limit=fitting))
    return Reply(listing.paths(page, room), facts(found))


TOOLS: tuple[Verb[Any], ...] = (
    Verb(
        "rlm_analyze",
        "Answer a question about directories or files of any size, with cited passages whose path and "
        "lines were checked. Says what was read and what was skipped. Works without a model: ranked "
        "evidence, best first.",
        args.Analyze,
        analyze,
    ),
    Verb(
        "rlm_query_text",
        "The same over one text of any size: a log, a transcript, a document.",
        args.QueryText,
        query_text,
    ),
    Verb(
        "rlm_exec",
        "Run Python in a confined session over a corpus of any size: `files` maps paths to texts, `context` "
        "is the one text; grep, search, read, cite are there; no files, no network. Print what you want.",
        args.Run,
        execute,
        stateful=True,
    ),
    Verb(
        "rlm_job",
        "Questions that became jobs: list them, wait for one, read its answer page by page, cancel it.",
        args.JobOf,
        job,
        writes=True,
        output=outputs.JOB,
    ),
    Verb(
        "rlm_status",
        "How the daemon is, what it holds, and what is wrong with it.",
        args.StatusOf,
        status,
        output=outputs.STATUS,
    ),
    Verb(
        "rlm_memory_store",
        "Remember a finding for later sessions; it is on disk when this returns.",
        args.Remember,
        memory_store,
        writes=True,
        output=outputs.STORED,
    ),
    Verb(
        "rlm_memory_recall",
        "Recall findings by key, prefix, tags or words; all given conditions hold together.",
        args.Recall,
        memory_recall,
        output=outputs.RECALLED,
    ),
    Verb(
        "rlm_memory_forget",
        "Stop recalling a key; undo brings it back, purge removes it from every file.",
        args.Forget,
        memory_forget,
        writes=True,
        destroys=True,
        output=outputs.CHANGED,
    ),
    Verb("rlm_read", "Lines of a text file as it is now, numbered.", args.Read, read),
    Verb(
        "rlm_grep",
        "Lines that match a pattern, in the tree as it is now, with the ignore rules of rg.",
        args.Grep,
        grep,
    ),
    Verb("rlm_glob", "Files whose path matches a glob, in the tree as it is now.", args.Glob, glob),
)


HOUSE: tuple[Verb[Any], ...] = (
    Verb("rlmd_memory_export", "", args.Export, memory_export),
    Verb("rlmd_memory_import", "", args.Import, memory_import, writes=True),
    Verb("rlmd_memory_backup", "", args.BackUp, memory_back_up, writes=True),
)
"""What the command line asks for the person; no agent is told of it."""


def tool_named(name: str) -> Verb[Any] | None:
    """Return the tool of that name, if there is one."""
    return next((tool for tool in (*TOOLS, *HOUSE) if tool.name == name), None)


async def _ask(call: Call, question: Question, max_chars: int | None) -> Reply:
    found = await call.services.analyze(call.session, question, call.report)
    return Reply(render.analysis(found, max_chars or call.max_chars), facts(found))


def _asking(call: Call, given: args.Asking) -> dict[str, Any]:
    budget = given.budget or args.Budget()
    return {
        "mode": given.mode,
        "kind": given.kind,
        "budget_s": budget.seconds,
        "budget_usd": budget.usd,
        "budget_tokens": budget.tokens,
        "budget_calls": budget.calls,
        "budget_depth": budget.depth,
        "schema": None if given.form is None else render.dump(given.form),
        "wait_s": call.wait_s if given.wait_s is None else given.wait_s,
        "detach": given.detach,
    }


def _without_empty(found: dict[str, Json]) -> dict[str, Json]:
    return {name: value for name, value in found.items() if value not in (None, [])}


def _trimmed(found: dict[str, Json], room: int) -> Reply:
    """Structure an analysis or a list; where it does not fit, its longest lists are halved until it does."""
    shown = dict(found)
    lists = {name: held for name, held in found.items() if isinstance(held, list)}
    while len(render.dump(shown)) > room and any(lists.values()):
        name = max(lists, key=lambda each: len(render.dump({"": lists[each]})))
        shown[name] = lists[name] = lists[name][: len(lists[name]) // 2]
    structured, text = render.fit(shown, room) or (shown, render.dump(shown))
    return Reply(text, found, structured)


def _structured(found: dict[str, Json], max_chars: int) -> Reply:
    structured, text = render.fit(found, max_chars) or (found, render.dump(found))
    return Reply(text, found, structured)
