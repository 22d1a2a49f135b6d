"""`rlmd install`: what it writes for each client, and that nobody's settings suffer."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from rlmd.cli import bridge, entries, jsonc
from rlmd.cli.clients import CLIENTS
from rlmd.cli.main import main
from rlmd.cli.parsers import AGENTS

ARGS = ["-I", "-S", os.path.abspath(bridge.__file__), "connect"]
PLACES = {
    "claude-code": ".claude.json",
    "codex": ".codex/config.toml",
    "vscode": ".config/Code/User/mcp.json",
    "cursor": ".cursor/mcp.json",
    "gemini": ".gemini/settings.json",
    "zed": ".config/zed/settings.json",
    "windsurf": ".codeium/windsurf/mcp_config.json",
}


def test_the_command_line_knows_the_clients_that_there_are():
    assert list(CLIENTS) == list(AGENTS) == list(PLACES)


@pytest.mark.parametrize("agent", AGENTS)
def test_an_agent_without_settings_gets_some(home: Any, agent: str, capsys: pytest.CaptureFixture[str]):
    code = main(["install", agent])

    file = home.path / PLACES[agent]
    entry = entries.find(file.read_text(), CLIENTS[agent])
    assert code == 0
    assert entry is not None
    assert (entry["command"], entry["args"]) == (sys.executable, ARGS)
    assert entry["env"]["RLMD_SOCKET"] == str(home.socket)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert str(file) in capsys.readouterr().out


@pytest.mark.parametrize("agent", AGENTS)
def test_a_second_time_changes_nothing_and_removing_takes_it_out(home: Any, agent: str):
    file = home.path / PLACES[agent]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text('theme = "dark" # mine\n' if agent == "codex" else '{"theme": "dark"}\n')
    file.chmod(0o640)
    before = file.read_text()
    main(["install", agent])
    installed, kept = file.read_text(), Path(f"{file}.rlmd-backup")

    assert kept.read_text() == before
    kept.unlink()
    assert main(["install", agent]) == 0
    assert file.read_text() == installed
    assert not kept.exists()
    assert stat.S_IMODE(file.stat().st_mode) == 0o640

    assert main(["install", agent, "--remove"]) == 0
    assert entries.find(file.read_text(), CLIENTS[agent]) is None
    assert "dark" in file.read_text()
    assert kept.read_text() == installed
    assert main(["install", agent, "--remove"]) == 0


@pytest.mark.parametrize("agent", AGENTS)
def test_printing_changes_nothing(home: Any, agent: str, capsys: pytest.CaptureFixture[str]):
    assert main(["install", agent, "--print"]) == 0

    printed = capsys.readouterr().out
    assert printed.startswith(f"# {home.path / PLACES[agent]}\n")
    body = printed.partition("\n")[2]
    assert entries.find(body, CLIENTS[agent])
    assert not (home.path / PLACES[agent]).exists()


def test_what_people_wrote_into_the_entry_stays(home: Any):
    file = home.path / ".codex/config.toml"
    file.parent.mkdir()
    file.write_text(
        "# models\n"
        'model = "x"\n\n'
        "[mcp_servers.rlmd] # ours\n"
        'command = "/gone/python" # old\n'
        "args = []\n"
        "tool_timeout_sec = 5\n"
        'enabled_tools = ["rlm_grep"]\n\n'
        "[mcp_servers.rlmd.env]\n"
        'MINE = "1"\n\n'
        "[mcp_servers.other]\n"
        'command = "y"\n'
    )

    assert main(["install", "codex"]) == 0

    text = file.read_text()
    servers = tomllib.loads(text)["mcp_servers"]
    assert servers["rlmd"]["command"] == sys.executable
    assert servers["rlmd"]["tool_timeout_sec"] == 5
    assert servers["rlmd"]["enabled_tools"] == ["rlm_grep"]
    assert servers["rlmd"]["env"]["MINE"] == "1"
    assert servers["other"] == {"command": "y"}
    assert all(comment in text for comment in ("# models", "# ours", "# old"))


@pytest.mark.parametrize(
    "text",
    [
        '[mcp_servers]\nother = {command = "y"}\n',
        'mcp_servers = {other = {command = "y"}}\n',
        'mcp_servers.other.command = "y"\n[projects."/p"]\ntrust = true\n',
        '[mcp_servers.other]\ncommand = "y"\n\n[tui]\nx = 1\n\n[mcp_servers.third]\ncommand = "z"\n',
        "",
    ],
)
def test_whatever_form_the_table_of_servers_has_it_is_entered_or_refused(home: Any, text: str):
    file = home.path / ".codex/config.toml"
    file.parent.mkdir()
    file.write_text(text)

    code = main(["install", "codex"])

    now = tomllib.loads(file.read_text())
    assert code == 0
    assert now["mcp_servers"].pop("rlmd")["args"] == ARGS
    assert {key: value for key, value in now.items() if value} == tomllib.loads(text)
    assert main(["install", "codex", "--remove"]) == 0
    left = tomllib.loads(file.read_text())
    assert {key: value for key, value in left.items() if value} == tomllib.loads(text)


@pytest.mark.parametrize(
    ("agent", "text", "says"),
    [
        ("cursor", '{"mcpServers": }', "line 1"),
        ("cursor", '{"mcpServers": []}', "mcpServers"),
        ("cursor", "[]", "settings"),
        ("cursor", '{"mcpServers": {"rlmd": 1}}', "mcpServers.rlmd"),
        ("cursor", '{"mcpServers": {"rlmd": {"url": "http://x"}}}', "--remove"),
        ("codex", "mcp_servers = 1", "mcp_servers"),
        ("codex", "a = = 1", "TOML"),
    ],
)
def test_settings_that_cannot_be_edited_are_left_alone(
    home: Any, agent: str, text: str, says: str, capsys: pytest.CaptureFixture[str]
):
    file = home.path / PLACES[agent]
    file.parent.mkdir(parents=True)
    file.write_text(text)

    code = main(["install", agent])

    assert code == 65
    assert says in capsys.readouterr().err
    assert file.read_text() == text
    assert [each.name for each in file.parent.iterdir()] == [file.name]


def test_settings_that_are_no_text_or_no_file_are_65(home: Any, capsys: pytest.CaptureFixture[str]):
    (home.path / ".cursor").mkdir()
    file = home.path / ".cursor/mcp.json"
    file.write_bytes(b"\xff\xfe{}")
    assert main(["install", "cursor"]) == 65
    file.unlink()
    file.mkdir()
    assert main(["install", "cursor"]) == 65
    assert "Traceback" not in capsys.readouterr().err


def test_a_link_is_followed_to_what_it_leads_to(home: Any):
    kept = home.path / "dotfiles.json"
    kept.write_text("{}\n")
    (home.path / ".cursor").mkdir()
    link = home.path / ".cursor/mcp.json"
    link.symlink_to(kept)

    assert main(["install", "cursor"]) == 0

    assert link.is_symlink()
    assert entries.find(kept.read_text(), CLIENTS["cursor"])


def test_comments_of_an_editor_survive(home: Any):
    file = home.path / ".config/zed/settings.json"
    file.parent.mkdir(parents=True)
    before = '// Zed settings\n{\n  "vim_mode": true, // of course\n  /* themes */\n  "theme": "One",\n}\n'
    file.write_text(before)

    main(["install", "zed"])

    assert jsonc.comments(file.read_text()) == jsonc.comments(before)
    assert file.read_text().startswith(before[: before.index('"One",')])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_a_directory_that_may_not_be_written_is_77(home: Any):
    (home.path / ".cursor").mkdir(mode=0o500)

    assert main(["install", "cursor"]) == 77


def test_the_command_that_is_written_starts_the_bridge(home: Any):
    """It ends with 78 here, for the socket cannot be: that is the bridge speaking."""
    main(["install", "cursor"])
    entry = json.loads((home.path / ".cursor/mcp.json").read_text())["mcpServers"]["rlmd"]

    done = subprocess.run(
        [entry["command"], *entry["args"]],
        env={"RLMD_SOCKET": f"/tmp/{'x' * 120}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )

    assert (done.returncode, done.stdout) == (78, "")
    assert "RLMD_SOCKET" in done.stderr
