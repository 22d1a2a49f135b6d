"""The agents that can use the daemon: where each keeps its settings, and what it wants to read there.

Facts by client, as their own documentation has them.  Each is given the bridge as a command, since
that is the one way that all of them know.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from rlmd.cli import bridge
from rlmd.cli.jsonc import Json

NAME = "rlmd"
"""The name that the server goes by in every client; agents show its tools under it."""
PATIENCE_S = 600
CARRIED = (
    "RLMD_SOCKET",
    "RLMD_STATE_DIR",
    "RLMD_CACHE_DIR",
    "XDG_RUNTIME_DIR",
    "XDG_STATE_HOME",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
)
"""What says where the daemon is.  Several clients start servers with hardly any environment, and a
bridge that lacks these would find, or start, another daemon than the shell does."""


@dataclass(frozen=True)
class Client:
    """One agent: its settings file, the table of servers in it, and what its entries hold.

    `fixed` is ours to set anew; `suggested` is written once and then the person's.
    """

    name: str
    title: str
    file: Callable[[Mapping[str, str]], str]
    table: str
    format: Literal["json", "toml"] = "json"
    fixed: Mapping[str, Json] = field(default_factory=dict)
    suggested: Mapping[str, Json] = field(default_factory=dict)
    note: str = ""


def command() -> tuple[str, list[str]]:
    """Return program and arguments of the bridge: without `site`, so that it is there at once."""
    return sys.executable, ["-I", "-S", os.path.abspath(bridge.__file__), "connect"]


def carried(env: Mapping[str, str]) -> dict[str, str]:
    """Return the part of *env* that says where the daemon is, paths made absolute."""
    return {name: os.path.abspath(env[name]) for name in CARRIED if env.get(name)}


def _home(env: Mapping[str, str], *below: str) -> str:
    return os.path.join(env.get("HOME") or os.path.expanduser("~"), *below)


def _config(env: Mapping[str, str], *below: str) -> str:
    return os.path.join(env.get("XDG_CONFIG_HOME") or _home(env, ".config"), *below)


CLIENTS: Mapping[str, Client] = {
    client.name: client
    for client in (
        Client(
            "claude-code",
            "Claude Code",
            lambda env: os.path.join(env.get("CLAUDE_CONFIG_DIR") or _home(env), ".claude.json"),
            "mcpServers",
            fixed={"type": "stdio"},
            suggested={"timeout": PATIENCE_S * 1000},
            note="`claude mcp list` shows it; sessions that run now see it when they start anew.",
        ),
        Client(
            "codex",
            "Codex",
            lambda env: os.path.join(env.get("CODEX_HOME") or _home(env, ".codex"), "config.toml"),
            "mcp_servers",
            format="toml",
            suggested={"startup_timeout_sec": 20, "tool_timeout_sec": PATIENCE_S},
            note="`codex mcp list` shows it.",
        ),
        Client(
            "vscode",
            "VS Code",
            lambda env: _config(env, "Code", "User", "mcp.json"),
            "servers",
            fixed={"type": "stdio"},
            note="`MCP: List Servers` in the command palette shows it.",
        ),
        Client("cursor", "Cursor", lambda env: _home(env, ".cursor", "mcp.json"), "mcpServers"),
        Client(
            "gemini",
            "Gemini CLI",
            lambda env: _home(env, ".gemini", "settings.json"),
            "mcpServers",
            suggested={"timeout": PATIENCE_S * 1000},
            note="`gemini mcp list` shows it.",
        ),
        Client(
            "zed",
            "Zed",
            lambda env: _config(env, "zed", "settings.json"),
            "context_servers",
            fixed={"source": "custom"},
        ),
        Client(
            "windsurf",
            "Windsurf",
            lambda env: _home(env, ".codeium", "windsurf", "mcp_config.json"),
            "mcpServers",
        ),
    )
}
