"""Claude Code and Codex, the real ones: what `rlmd install` writes makes every tool work in both."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, os.path.dirname(__file__))

from fake_model import Script, Step, fake_model

from daemon_world import Daemon, Places, running_daemon, until

TOOLS = [
    Step("rlm_status"),
    Step("rlm_grep", {"pattern": "reticulate"}),
    Step("rlm_glob", {"pattern": "*.py"}),
    Step("rlm_read", {"path": "spline.py", "limit": 3}),
    Step("rlm_analyze", {"query": "who reticulates a spline?", "paths": ["."]}),
    Step("rlm_query_text", {"query": "which error?", "text": "all is well\nerror: the spline is torn\n"}),
    Step("rlm_exec", {"code": "print(len(files))", "paths": ["."]}),
    Step("rlm_job", {"action": "list"}),
    Step("rlm_memory_store", {"key": "spline", "value": "reticulated in spline.py"}),
    Step("rlm_memory_recall", {"key": "spline"}),
    Step("rlm_memory_forget", {"key": "spline"}),
]
SAID = {
    "rlm_grep": "def reticulate",
    "rlm_glob": "spline.py",
    "rlm_read": "return spline",
    "rlm_analyze": "spline.py:1",
    "rlm_query_text": "the spline is torn",
    "rlm_exec": "1",
    "rlm_memory_recall": "reticulated in spline.py",
}
ENDLESS = Step("rlm_exec", {"code": "while True: pass", "timeout_s": 120})


def start(clients: Any, agent: str, cwd: Path, model: str, timeout_s: int = 600) -> subprocess.Popen[str]:
    """Run *agent* on a task without a person, its model at the address *model*."""
    if agent == "claude-code":
        words = ("-p", "go", "--allowedTools", "mcp__rlmd", "--output-format", "json")
        env = {"ANTHROPIC_BASE_URL": model, "ANTHROPIC_API_KEY": "sk-ant-fake"}
        if timeout_s != 600:
            settings = Path(clients.places.top, ".claude.json")
            text = settings.read_text()
            settings.write_text(text.replace('"timeout": 600000', f'"timeout": {timeout_s * 1000}'))
        return clients.start("claude", *words, cwd=cwd, **env)
    settings = Path(clients.places.top, ".codex/config.toml")
    text = settings.read_text().replace("tool_timeout_sec = 600", f"tool_timeout_sec = {timeout_s}")
    if "fake-model" not in text:
        text = (
            'model = "fake-model"\nmodel_provider = "fake"\ncheck_for_update_on_startup = false\n'
            f'[model_providers.fake]\nname = "fake"\nbase_url = "{model}/v1"\nwire_api = "responses"\n'
            f'env_key = "FAKE_KEY"\n[analytics]\nenabled = false\n{text}'
        )
    settings.write_text(text)
    words = ("exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", "go")
    return clients.start("codex", *words, cwd=cwd, FAKE_KEY="k")


def finish(process: subprocess.Popen[str], within_s: float = 120) -> str:
    with process:
        try:
            out, err = process.communicate(timeout=within_s)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert process.returncode == 0, out + err
    return out + err


@pytest.fixture(params=["claude-code", "codex"])
def agent(request: pytest.FixtureRequest, places: Places) -> str:
    """An agent in whose settings rlmd was entered by the command that people use."""
    done = places.run("install", request.param)
    assert done.code == 0, done.err
    return str(request.param)


def run(clients: Any, agent: str, cwd: Path, *steps: Step, timeout_s: int = 600) -> Script:
    with fake_model(*steps) as (model, script):
        finish(start(clients, agent, cwd, model, timeout_s))
    assert len(script.results) == len(steps)
    return script


def failed(result: dict[str, Any]) -> bool:
    return bool(result.get("is_error")) or "tool call error" in json.dumps(result)


def test_every_tool_is_listed_and_answers(clients: Any, daemon: Daemon, tree: Path, agent: str):
    script = run(clients, agent, tree, *TOOLS)

    for number, step in enumerate(TOOLS):
        assert not failed(script.results[number]), script.results[number]
        assert SAID.get(step.tool, "") in script.text(number), (step.tool, script.text(number))
    if agent == "codex":  # the other looks tools up by a search of its own
        assert {step.tool for step in TOOLS} <= script.offered


def test_an_error_tells_the_model_what_to_do_next(clients: Any, daemon: Daemon, tree: Path, agent: str):
    script = run(clients, agent, tree, Step("rlm_read", {"path": "splin.py"}))

    assert "not_found: no such path: splin.py" in script.text(0)
    assert "spline.py" in script.text(0)


def test_a_big_result_arrives_as_far_as_the_agent_lets_it(
    clients: Any, daemon: Daemon, tree: Path, agent: str
):
    script = run(clients, agent, tree, Step("rlm_read", {"path": "spline.py", "max_chars": 100_000}))

    assert not failed(script.results[0])
    assert "the rest: offset=" in script.text(0)


def test_a_call_beyond_the_agent_s_patience_is_told_and_stopped(
    clients: Any, daemon: Daemon, tree: Path, agent: str
):
    script = run(clients, agent, tree, ENDLESS, Step("rlm_grep", {"pattern": "reticulate"}), timeout_s=3)

    assert "timed out" in script.text(0)
    assert "def reticulate" in script.text(1)
    with daemon.connect() as watch:
        until(lambda: watch.ask("rlm_status")["doors"]["requests"] == 1, "the work has stopped", 2)


def test_an_agent_that_is_interrupted_leaves_nothing_running(
    clients: Any, daemon: Daemon, tree: Path, agent: str
):
    with fake_model(ENDLESS) as (model, _), daemon.connect() as watch:
        process = start(clients, agent, tree, model)
        with process:
            until(lambda: watch.ask("rlm_status")["doors"]["requests"] == 2, "the cell runs")
            os.killpg(process.pid, signal.SIGINT)
            gone_s = until(lambda: watch.ask("rlm_status")["doors"]["requests"] == 1, "the cell has ended")
            process.communicate(timeout=30)

    assert gone_s < 5


def test_a_session_goes_on_when_the_daemon_is_restarted_in_its_middle(
    clients: Any, places: Places, tree: Path, agent: str
):
    looking = {"pattern": "reticulate"}
    with ExitStack() as daemons:
        first = daemons.enter_context(running_daemon(places))

        def restart() -> None:
            assert first.end() == 0
            daemons.enter_context(running_daemon(places))

        steps = [
            Step("rlm_grep", looking),
            Step("rlm_grep", looking, before=restart),
            Step("rlm_grep", looking),
        ]
        script = run(clients, agent, tree, *steps)

    assert ["def reticulate" in script.text(number) for number in range(3)] == [True] * 3


def test_the_agent_s_own_check_finds_us_well(clients: Any, daemon: Daemon, tree: Path, places: Places):
    places.run("install", "claude-code")
    places.run("install", "codex")

    claude = clients.run("claude", "mcp", "list", cwd=tree)
    codex = clients.run("codex", "mcp", "list", cwd=tree)

    assert re.search(r"rlmd: .* connect - . Connected", claude[1]), claude
    assert "bridge.py connect" in codex[1]


def test_without_a_daemon_the_first_call_starts_one(clients: Any, places: Places, tree: Path, agent: str):
    began = time.monotonic()
    try:
        script = run(clients, agent, tree, Step("rlm_grep", {"pattern": "reticulate"}))
    finally:
        stopped = places.run("stop").code

    assert "def reticulate" in script.text(0)
    assert stopped == 0
    assert time.monotonic() - began < 100
