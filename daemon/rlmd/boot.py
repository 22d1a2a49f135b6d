"""The composition root: reads top to bottom as the boot order, and backwards as the shutdown.

Whoever owns something is opened here and nowhere else; limits come from the settings and are
handed on as arguments.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import cast

import trio

from rlmd import __version__, paths
from rlmd.answers import Analysis
from rlmd.ceiling import Ceiling
from rlmd.config import Config
from rlmd.corpus.collect import Limits, Sources
from rlmd.corpus.exact import Exact, open_exact
from rlmd.corpus.keeper import Answer, Request, Shed, corpus_keeper
from rlmd.corpus.news import News
from rlmd.doors.mcp_server import McpDoor
from rlmd.doors.traffic import Traffic
from rlmd.engine.answering import Answering
from rlmd.engine.archive import Archive, open_archive
from rlmd.engine.cells import Cells
from rlmd.engine.commission import Bursar, Settings
from rlmd.engine.desk import Desk
from rlmd.engine.jobs import Jobs
from rlmd.engine.journal import RESTART as JOURNAL_RESTART
from rlmd.engine.journal import Note, job_journal
from rlmd.engine.model import Model, limits_of, scripted_endpoint, settle
from rlmd.engine.research import Research
from rlmd.health import Health
from rlmd.ingest.bundle import Bounds
from rlmd.ingest.readers import reader_pool
from rlmd.ingest.walker import walker
from rlmd.lifecycle import Lifecycle
from rlmd.llm.caller import llm_caller, mailbox_limit
from rlmd.llm.discover import discover
from rlmd.llm.keys import mark
from rlmd.llm.meter import Meter
from rlmd.llm.providers import Endpoint
from rlmd.llm.upstream import open_upstream
from rlmd.llm.values import Ask, Reply
from rlmd.look.bundles import Bundles
from rlmd.look.warm import Warm
from rlmd.memory.batch import Change, Done
from rlmd.memory.recall import Recaller, open_recaller
from rlmd.memory.writer import RESTART, memory_writer
from rlmd.observe import Timings
from rlmd.offload import Offload, open_offload
from rlmd.pipeline import Pipeline
from rlmd.process import give_back, memory_use
from rlmd.roots import Roots
from rlmd.sandbox.pool import sandbox_pool
from rlmd.sandbox.requests import Answer as SandboxAnswer
from rlmd.sandbox.requests import Describe, Description, Exec, ExecResult
from rlmd.sandbox.requests import Limits as SandboxLimits
from rlmd.sandbox.requests import Request as SandboxRequest
from rlmd.status import Problem
from rlmd.supervision import ActorError, Mailbox, Supervisor, open_supervisor
from rlmd.tokens.counter import token_counter
from rlmd.values import WalkRules

WALKERS = 2
WALKING_THREADS = 4
LOOKING_THREADS = 8
READING_IDLE_S = 10.0
COUNTING_AT_ONCE = 8
COLLECTING_AT_ONCE = 64
MOST_JOBS = 64
EXECUTING_AT_ONCE = 256
DURABLE = {"memory_writer", "job_journal"}
LONGEST_COMMIT_S = 15.0
COUNTING_S = 60.0
FAREWELL_S = 1.5
"""So much of the grace is left to tell callers that their analysis was cancelled."""


@dataclass(frozen=True, eq=False)
class Daemon:
    """Everything that was booted, ready to be asked."""

    config: Config
    own: tuple[Path, ...]
    life: Lifecycle
    supervisor: Supervisor
    writer: Mailbox[Change, Done]
    keeper: Mailbox[Request, Answer]
    news: News
    exact: Exact
    reading: Offload
    recaller: Recaller
    model: Model | None
    meter: Meter
    doubts: tuple[Problem, ...]
    journal: Mailbox[Note, None]
    archive: Archive
    sandbox: Mailbox[SandboxRequest, SandboxAnswer]
    offload: Offload
    stages: Timings
    started_at: float

    def open_pipeline(
        self, requests: trio.Nursery, traffic: Traffic, settings: Callable[[], tuple[Problem, ...]]
    ) -> Pipeline:
        """Return what the tools mean; jobs and checks run in *requests*.

        Status tells of *traffic*, and of the problems that *settings* have at that time.
        """
        jobs = Jobs[Analysis](requests, most=MOST_JOBS)
        own_bytes = self.config.daemon.memory_bytes
        ceiling = Ceiling(partial(memory_use, own_bytes=own_bytes), self._shed, jobs.end_largest)
        self.life.attend(ceiling.watch)
        health = Health(
            self.supervisor,
            self.keeper,
            self.recaller,
            jobs,
            self.life.draining,
            self.started_at,
            self.meter,
            self._describe_sandbox,
            traffic.facts,
            stages=self.stages,
            settings=lambda: (*settings(), *ceiling.problems()),
            doubts=self.doubts,
            memory_bytes=own_bytes,
        )
        requests.start_soon(health.check_memory)
        requests.start_soon(_wind_up, jobs, self.life.draining, self.config.daemon.grace_s)
        desk = Desk(jobs, self.archive, self.journal.ask, self.life.draining, resumed=trio.Event())
        pipeline = Pipeline(
            roots=Roots(self.config.roots.allow, self.config.roots.deny),
            rules=self._rules(self.config),
            writer=self.writer,
            recaller=self.recaller,
            answering=self._answering(self.config, jobs, desk),
            desk=desk,
            cells=Cells(self._execute, self.keeper),
            health=health,
            ceiling=ceiling,
            looking=trio.CapacityLimiter(LOOKING_THREADS),
            warm=Warm(self.keeper, self.exact),
            count=self._count_tokens,
            bundles=self._bundles(),
        )
        requests.start_soon(pipeline.resume)
        return pipeline

    def open_door(self, pipeline: Pipeline, traffic: Traffic) -> McpDoor:
        """Return what serves connections within *traffic*; news of files reach it to the very end."""
        door = McpDoor(
            pipeline,
            version=__version__,
            traffic=traffic,
            timings=pipeline.health.tools,
            draining=self.life.draining,
        )
        self.life.attend(partial(_pass_on, self.news, door.changed))
        return door

    def adapted(self, pipeline: Pipeline, config: Config) -> Pipeline:
        """Return *pipeline* under the roots, exclusions and run limits of *config*."""
        answering = self._answering(config, pipeline.answering.jobs, pipeline.desk)
        roots = Roots(config.roots.allow, config.roots.deny)
        return replace(pipeline, roots=roots, rules=self._rules(config), answering=answering)

    def _answering(self, config: Config, jobs: Jobs[Analysis], desk: Desk) -> Answering:
        """Return what answers questions: by evidence alone where there is no model."""
        if self.model is None:
            return Answering(self.keeper, jobs, desk=desk)
        engine = config.engine
        settings = Settings(
            turns=engine.turns,
            output_chars=engine.output_chars,
            cell_s=engine.cell_s,
            depth=engine.depth,
            calls=engine.calls,
        )
        bursar = Bursar(self.model, self.journal.ask, settings)
        research = Research(self._execute, self.keeper, bursar, self._confines)
        return Answering(self.keeper, jobs, bursar, research, desk)

    async def _shed(self) -> None:
        """Give up what can be had again: corpora nobody waits for, and the idle worker process."""
        self.offload.rest()
        self.exact.rest()
        with suppress(ActorError):
            await self.keeper.ask(Shed())
        await trio.to_thread.run_sync(give_back)

    async def _count_tokens(self, texts: Sequence[str]) -> list[int]:
        tokens = self.config.tokens
        counted = await self.offload.call(
            "rlmd.tokens.worker:count_texts",
            list(texts),
            tokens.encoding,
            tokens.engine,
            timeout_s=COUNTING_S,
        )
        return cast("list[int]", counted)

    def _bundles(self) -> Callable[[Roots, WalkRules], Bundles]:
        ingest = self.config.ingest
        bounds = Bounds(ingest.max_files, ingest.max_bytes, ingest.max_file_bytes)
        return partial(Bundles, bounds, self.reading)

    async def _execute(self, request: Exec) -> ExecResult:
        result = await self.sandbox.ask(request)
        assert isinstance(result, ExecResult)
        return result

    async def _describe_sandbox(self) -> Description:
        described = await self.sandbox.ask(Describe())
        assert isinstance(described, Description)
        return described

    async def _confines(self) -> bool:
        return (await self._describe_sandbox()).facts.available

    def _rules(self, config: Config) -> WalkRules:
        return WalkRules(
            secret=config.privacy.exclude,
            deny=tuple(os.path.realpath(directory) for directory in config.roots.deny),
            own=tuple(os.path.realpath(place) for place in self.own),
        )


@asynccontextmanager
async def open_daemon(config: Config, life: Lifecycle, *, state: Path, cache: Path) -> AsyncIterator[Daemon]:
    """Boot every actor in order; leaving the block drains them in reverse.

    A failing boot is raised as it is: nothing is served by half a daemon.
    """
    started_at = trio.current_time()
    stages = Timings()
    async with (
        open_offload(idle_s=config.tokens.idle_s) as offload,
        open_offload(idle_s=config.tokens.idle_s) as indexing,
        open_exact(cache) as exact,
        open_offload(idle_s=READING_IDLE_S) as reading,
        open_supervisor(grace=config.daemon.grace_s, note=stages.add) as supervisor,
    ):
        memory = str(state / "memory.db")
        writer: Mailbox[Change, Done] = await supervisor.start_batch(
            "memory_writer",
            partial(
                memory_writer,
                memory,
                max_value_bytes=config.memory.max_value_bytes,
                max_bytes=config.memory.max_bytes,
            ),
            restart=RESTART,
        )
        jobs = str(state / "jobs.db")
        journal: Mailbox[Note, None] = await supervisor.start_batch(
            "job_journal", partial(job_journal, jobs, keep=config.engine.keep_jobs), restart=JOURNAL_RESTART
        )
        meter = Meter()
        model, doubts = await _start_model(config, cache, supervisor, meter)
        news = News()
        keeper = await start_corpus(config, cache, supervisor, offload, indexing, news)
        sandbox = await _start_sandbox(config, supervisor)
        async with open_recaller(memory) as recaller, open_archive(jobs) as archive:
            life.watch(partial(_commits, supervisor))
            yield Daemon(
                config=config,
                own=(state, cache),
                life=life,
                supervisor=supervisor,
                writer=writer,
                keeper=keeper,
                news=news,
                exact=exact,
                reading=reading,
                recaller=recaller,
                model=model,
                meter=meter,
                doubts=doubts,
                journal=journal,
                archive=archive,
                sandbox=sandbox,
                offload=offload,
                stages=stages,
                started_at=started_at,
            )


async def _pass_on(news: News, changed: Callable[[], None]) -> None:
    """Let those who watch memories look as soon as files change in a tree that is watched."""
    with news.read() as reader:
        while True:
            await reader.next()
            changed()


async def _wind_up(jobs: Jobs[Analysis], draining: trio.Event, grace_s: float) -> None:
    await draining.wait()
    jobs.wind_up(max(grace_s - FAREWELL_S, grace_s / 2))


def _commits(supervisor: Supervisor) -> bool:
    """Say whether the writer is idle or at most LONGEST_COMMIT_S at work; a slow model is no illness."""
    return all(actor.oldest_s < LONGEST_COMMIT_S for actor in supervisor.stats() if actor.name in DURABLE)


async def _start_model(
    config: Config, cache: Path, supervisor: Supervisor, meter: Meter
) -> tuple[Model | None, tuple[Problem, ...]]:
    """Start the caller of the endpoint that settings and environment name; without one there is none."""
    llm = config.llm
    doubts: tuple[Problem, ...] = ()
    if llm.script:
        endpoint, make = scripted_endpoint(llm.script)
    else:
        look = partial(discover, llm, env=os.environ, stored_key=paths.key_file())
        found = await trio.to_thread.run_sync(look)
        if found.endpoint is None:
            return None, found.problems
        endpoint, doubts = found.endpoint, found.problems
        make = partial(open_upstream, endpoint)
    meter.model = endpoint.model
    if endpoint.key:
        meter.key_origin, meter.key_mark = endpoint.key_origin, mark(endpoint.key)
    limits = limits_of(llm)
    actor = partial(llm_caller, make, limits, meter, cache_path=str(cache / "cache.db"))
    caller: Mailbox[Ask, Reply] = await supervisor.start_concurrent(
        "llm_caller", actor, limit=mailbox_limit(limits)
    )
    settled = partial(settle, endpoint) if not llm.script else partial(_as_it_is, endpoint)
    return Model(caller, settled), doubts


async def _as_it_is(endpoint: Endpoint) -> Endpoint:
    return endpoint


async def _start_sandbox(config: Config, supervisor: Supervisor) -> Mailbox[SandboxRequest, SandboxAnswer]:
    sandbox = config.sandbox
    limits = SandboxLimits(
        memory_bytes=sandbox.memory_bytes, calls=sandbox.calls, calls_at_once=sandbox.calls_at_once
    )
    pool = sandbox_pool(limits, sessions=sandbox.sessions, idle_s=sandbox.idle_s, warm=sandbox.warm)
    return await supervisor.start_concurrent("sandbox_pool", pool, limit=EXECUTING_AT_ONCE)


async def start_corpus(
    config: Config, cache: Path, supervisor: Supervisor, offload: Offload, indexing: Offload, news: News
) -> Mailbox[Request, Answer]:
    """Start what collects trees, and the keeper of what it collected."""
    ingest = config.ingest
    sources = Sources(
        walker=await supervisor.start("walker", walker(threads=WALKING_THREADS), workers=WALKERS),
        readers=await supervisor.start(
            "reader_pool",
            reader_pool(
                max_file_bytes=ingest.max_file_bytes,
                read_timeout_s=ingest.read_timeout_s,
                open_files=ingest.open_files,
            ),
            workers=ingest.readers,
        ),
        counter=await supervisor.start_concurrent(
            "token_counter", token_counter(offload, engine=config.tokens.engine), limit=COUNTING_AT_ONCE
        ),
        encoding=config.tokens.encoding,
    )
    keeper = corpus_keeper(
        sources,
        offload,
        cache,
        limits=Limits(ingest.max_files, ingest.max_bytes),
        snapshots=config.corpus.snapshots,
        most_bytes=config.corpus.cache_bytes,
        helpers=[indexing],
        watches=config.corpus.watches,
        news=news,
    )
    return await supervisor.start_concurrent("corpus_keeper", keeper, limit=COLLECTING_AT_ONCE)
