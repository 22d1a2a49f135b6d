"""A reload takes over what it may, names what waits, and with a mistake changes nothing."""

from functools import partial

import pytest
import trio

from rlmd.config import load
from rlmd.config.changes import LIVE, between
from rlmd.config.schema import SECTIONS
from rlmd.reload import Settings


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text("")
    return path


@pytest.fixture
def applied():
    return []


@pytest.fixture
def settings(file, applied):
    read = partial(load, [str(file)])
    return Settings(read().config, read, applied.append)


def test_every_live_name_is_a_section_or_a_key():
    known = set(SECTIONS) | {
        f"{name}.{key}" for name, model in SECTIONS.items() for key in model.model_fields
    }

    assert LIVE - known == set()


def test_the_rest_stays_as_it_stands_and_is_named():
    standing = load(overrides=["doors.max_requests=3", "llm.retries=1"]).config
    wanted = load(overrides=["doors.max_requests=4", "llm.retries=2", "engine.keep_jobs=7"]).config

    change = between(standing, wanted)

    assert change.applied == ("doors.max_requests",)
    assert change.waiting == ("llm.retries", "engine.keep_jobs")
    assert (change.config.doors.max_requests, change.config.llm.retries) == (4, 1)


@pytest.mark.real_io
async def test_a_change_is_applied_and_said(file, settings, applied):
    file.write_text("[doors]\nmax_connections = 9\n[log]\nlevel = 'debug'\n")

    with trio.fail_after(5):
        told = await settings.reload()

    assert told == "reloaded log.level, doors.max_connections"
    assert [config.doors.max_connections for config in applied] == [9]
    assert settings.config.doors.max_connections == 9
    assert settings.problems == ()


@pytest.mark.real_io
async def test_what_waits_for_a_restart_is_a_problem_until_it_is_taken_back(file, settings):
    file.write_text("[memory]\nmax_bytes = 1000\n")
    with trio.fail_after(5):
        told = await settings.reload()
        (problem,) = settings.problems
        again = await settings.reload()
        file.write_text("")
        back = await settings.reload()

    assert told == again == "reloaded, nothing new; restart for memory.max_bytes"
    assert problem.what == "memory.max_bytes was changed and waits for a restart"
    assert (back, settings.problems) == ("reloaded, nothing new", ())


@pytest.mark.real_io
async def test_a_mistake_changes_nothing_and_says_why(file, settings, applied, events):
    file.write_text("[doors]\nmax_connections = 9\nmax_request = 1\n\n[logs]\n")

    with trio.fail_after(5):
        told = await settings.reload()

    first = f"{file}:3: doors.max_request: there is no such key (did you mean 'max_requests'?)"
    assert told == f"config error: {first}"
    assert applied == []
    assert settings.config.doors.max_connections == 64
    assert [problem.what for problem in settings.problems] == [
        f"{first}; the settings from before hold",
        f"{file}:5: logs: there is no such section (did you mean 'log'?); the settings from before hold",
    ]
    assert [event["event"] for event in events] == ["config.refused"]
