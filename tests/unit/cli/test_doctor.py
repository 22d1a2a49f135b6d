"""`rlmd doctor`: what it finds, what it admits not to have looked at, and in which order it says so."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from rlmd.cli import doctor
from rlmd.cli.checkup import machine, setup
from rlmd.cli.checkup.findings import Finding, broken, ok, unchecked, warning
from rlmd.cli.checkup.running import Running
from rlmd.cli.main import main
from rlmd.config.schema import Llm
from rlmd.llm.discover import discover
from rlmd.llm.keys import mark

SHELL = {"OPENAI_API_KEY": "sk-mine"}


def test_the_worst_comes_last_with_what_mends_it_below():
    found = [
        broken("b", "is gone", "Run x."),
        ok("o", "fine"),
        warning("w", "odd", "Do y."),
        unchecked("u", "?"),
    ]

    assert doctor.as_text(found).splitlines() == [
        "ok        o            fine",
        "-         u            ?",
        "warning   w            odd",
        "                       Do y.",
        "BROKEN    b            is gone",
        "                       Run x.",
    ]


def test_a_look_that_crashes_is_a_finding():
    def crash() -> Any:
        yield ok("disk", "a")
        raise ZeroDivisionError("by nought")

    one, other = doctor._safely("disk", crash)

    assert one.state == "ok"
    assert (other.state, "ZeroDivisionError: by nought" in other.what) == ("broken", True)


def test_mistakes_in_the_settings_are_told_one_by_one_and_the_rest_is_looked_at(
    home: Any, capsys: pytest.CaptureFixture[str]
):
    home.config.parent.mkdir(parents=True)
    home.config.write_text("[log]\nlevl = 1\n[llm]\nretries = 99\n")

    code = main(["doctor", "--json"])

    told = json.loads(capsys.readouterr().out)
    wrong = [each for each in told["findings"] if each["name"] == "settings"]
    assert code == 1
    assert told["worst"] == "broken"
    assert [each["state"] for each in wrong] == ["broken", "broken"]
    assert {"sandbox", "tokens", "disk state", "agents"} <= {each["name"] for each in told["findings"]}
    assert not home.state.exists()  # it looks, and leaves everything as it is


def model_findings(status: dict[str, Any] | None, env: dict[str, str], home: Any) -> list[Finding]:
    running = Running()
    running.status = status and {"llm": status}
    return list(running.model(discover(Llm(), env=env, stored_key=str(home.path / "none"))))


def test_a_key_that_the_daemon_lacks_is_offered_to_be_kept(home: Any):
    (key,) = [
        each
        for each in model_findings({"key_origin": None, "key_mark": None}, SHELL, home)
        if each.name == "key"
    ]

    assert key.state == "warning"
    assert "the daemon has none" in key.what
    assert "rlmd auth set" in key.fix


def test_another_key_than_the_shell_s_is_told_and_neither_is_shown(home: Any):
    theirs = {"key_origin": "environment variable OPENAI_API_KEY", "key_mark": mark("sk-theirs")}

    found = model_findings(theirs, SHELL, home)

    assert [each.state for each in found if each.name == "key"] == ["warning"]
    assert "sk-" not in str(found)


def test_the_same_key_is_fine_and_no_call_is_admitted(home: Any):
    theirs = {"key_origin": "environment variable OPENAI_API_KEY", "key_mark": mark("sk-mine")}

    found = model_findings(theirs, SHELL, home)

    assert [each.state for each in found if each.name == "key"] == ["ok"]
    assert [each.fix for each in found if each.state == "unchecked"] == ["rlmd doctor llm makes one."]


def test_no_model_at_all_is_no_trouble(home: Any):
    assert [each.state for each in model_findings(None, {}, home)] == ["ok"]


def agent_findings() -> dict[str, Finding]:
    return {each.name: each for each in setup.agents()}


def test_each_agent_is_looked_into(home: Any, monkeypatch: pytest.MonkeyPatch):
    for agent in ("cursor", "codex", "zed"):
        main(["install", agent])
    cursor = home.path / ".cursor/mcp.json"
    entry = json.loads(cursor.read_text())
    entry["mcpServers"]["rlmd"]["command"] = "/gone/python"
    cursor.write_text(json.dumps(entry))
    (home.path / ".gemini").mkdir()
    (home.path / ".gemini/settings.json").write_text("{")
    (home.path / ".claude.json").write_text('{"mcpServers": {}}')
    (home.path / ".codeium/windsurf").mkdir(parents=True)
    (home.path / ".codeium/windsurf/mcp_config.json").write_text(
        '{"mcpServers": {"rlmd": {"serverUrl": "http://127.0.0.1:1/mcp"}}}'
    )

    found = agent_findings()

    assert {name: each.state for name, each in found.items()} == {
        "cursor": "broken",
        "codex": "ok",
        "zed": "ok",
        "gemini": "warning",
        "claude-code": "unchecked",
        "windsurf": "unchecked",
        "agents": "unchecked",
    }
    assert found["cursor"].fix == "Run: rlmd install cursor."
    assert "VS Code" in found["agents"].what
    monkeypatch.setenv("RLMD_SOCKET", str(home.path / "other.sock"))
    assert agent_findings()["zed"].state == "warning"


def test_another_installation_is_told_from_this_one(home: Any):
    main(["install", "zed"])
    file = home.path / ".config/zed/settings.json"
    file.write_text(file.read_text().replace("bridge.py", "../cli/bridge.py"))

    assert "another installation" in agent_findings()["zed"].what


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda home: home.state.chmod(0o755), "chmod 700"),
        (lambda home: (home.config.parent / "api-key").chmod(0o644), "rlmd auth set"),
        (lambda home: (home.config.parent / "api-key").write_text("two words"), "rlmd auth set"),
    ],
)
def test_what_others_may_read_is_told(home: Any, spoil: Any, says: str):
    home.state.mkdir(mode=0o700)
    home.config.parent.mkdir(parents=True, mode=0o700)
    key = home.config.parent / "api-key"
    key.write_text("sk-1\n")
    key.chmod(0o600)
    assert [each.state for each in machine.permissions()] == ["ok"]

    spoil(home)

    (found,) = machine.permissions()
    assert found.state in {"warning", "broken"}
    assert says in found.fix


def test_little_room_and_a_remote_disk_are_told(home: Any, monkeypatch: pytest.MonkeyPatch):
    assert [each.state for each in machine.disk()] == ["ok", "ok"]
    monkeypatch.setattr(machine, "LITTLE_BYTES", 1 << 62)
    assert [each.fix for each in machine.disk()] == ["Make room on that disk."] * 2
    monkeypatch.setattr(machine, "_kind_of", lambda _: "nfs4")
    assert ["RLMD_STATE_DIR" in each.fix for each in machine.disk()] == [True, False]


def test_a_socket_that_cannot_be_is_told(home: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RLMD_SOCKET", f"/tmp/{'x' * 120}")

    (found,) = Running().daemon()

    assert found.state == "broken"
    assert "107" in found.what


def test_no_daemon_is_no_trouble(home: Any):
    (found,) = Running().daemon()

    assert found.state == "ok"
    assert os.environ["RLMD_SOCKET"] in found.what
