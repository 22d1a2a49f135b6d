"""The daemon: whether it answers, what confines its code, and whether it has the key of this shell."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rlmd import __version__, paths
from rlmd.cli import start
from rlmd.cli.checkup.findings import Finding, broken, ok, unchecked, warning
from rlmd.cli.client import CallFailed, Disconnected, ProtocolError, conversation
from rlmd.errors import ConfigError
from rlmd.sandbox.machines import obstacle

if TYPE_CHECKING:
    from rlmd.config import Config
    from rlmd.llm.discover import Found
    from rlmd.sandbox.requests import Description

# ruff: noqa: PLC0415  # a command's imports wait until it runs

LAYERS = ("landlock", "rlimit", "seccomp")
ANSWER_S = 10.0


class Running:
    """A daemon that was asked how it is; `status` is None where none answered."""

    def __init__(self) -> None:
        self.status: Mapping[str, Any] | None = None

    def daemon(self) -> Iterator[Finding]:
        """Reach for the socket and ask."""
        try:
            path = paths.socket_path()
        except ConfigError as exc:
            yield broken("socket", str(exc), "Set RLMD_SOCKET to a path that can be.")
            return
        try:
            connection = start.connect(path)
            connection.settimeout(ANSWER_S)
            with conversation(connection) as client:
                self.status = client.call("rlm_status", {}).facts
        except start.NotRunning as exc:
            yield _not_running(path, exc)
        except PermissionError as exc:
            yield broken("socket", f"{path}: {exc.strerror}", "It is another user's; set RLMD_SOCKET.")
        except (TimeoutError, Disconnected, ProtocolError, CallFailed, OSError) as exc:
            yield broken("daemon", f"it does not answer: {exc}", "Look into rlmd logs, then rlmd stop.")
        else:
            yield from self._answered(path)

    def _answered(self, path: str) -> Iterator[Finding]:
        assert self.status is not None
        mode = stat.S_IMODE(os.stat(path).st_mode)
        if mode & 0o077:
            yield warning("socket", f"{path} is open to other users", f"Run: chmod 600 {path}.")
        else:
            yield ok("socket", path)
        told = f"version {self.status['version']}, pid {self.status['pid']}, {self.status['state']}"
        if self.status["version"] != __version__:
            yield warning(
                "daemon",
                f"{told}; this command is {__version__}",
                "Run: rlmd stop; the next client starts it.",
            )
        else:
            yield ok("daemon", told)
        for problem in self.status["problems"]:
            yield warning("daemon", problem["what"], problem["fix"])

    def sandbox(self, config: Config) -> Iterator[Finding]:
        """Say which locks hold around code: those of the daemon, else of a process locked in for this."""
        if self.status is not None:
            layers = self.status["sandbox"]["layers"]
            problem = obstacle() or "the daemon could not confine a process"
        else:
            described = _prove(config)
            layers, problem = described.facts.layers, described.problem or "a process could not be confined"
        missing = [name for name in LAYERS if not any(layer.startswith(name) for layer in layers)]
        if not layers:
            yield broken("sandbox", problem, "Mode rlm and rlm_exec are refused; rlmd logs says why.")
        elif missing:
            yield warning(
                "sandbox",
                f"{', '.join(layers)} hold; this kernel has no {', '.join(missing)}",
                "A kernel of 5.13 or newer with Landlock adds a lock on files.",
            )
        else:
            yield ok("sandbox", f"{', '.join(layers)} hold")

    def model(self, found: Found) -> Iterator[Finding]:
        """Compare the model endpoint that this shell finds with the daemon's."""
        from rlmd.llm.keys import mark

        for problem in found.problems:
            yield warning("model", problem.what, problem.fix)
        here = found.endpoint
        if here is not None:
            key = f", key: {here.key_origin}" if here.key_origin else ""
            yield ok("model", f"{here.name}, {here.model or 'model not named'}{key}")
            yield unchecked("model", "no call was made", "rlmd doctor llm makes one.")
        elif not found.problems:
            yield ok("model", "none is configured: questions are answered by evidence")
        if self.status is None:
            return
        theirs = self.status["llm"]
        if here is not None and here.key and mark(here.key) != theirs["key_mark"]:
            told = f"the key of {theirs['key_origin']}" if theirs["key_origin"] else "none"
            yield warning(
                "key",
                f"this shell has the key of {here.key_origin}; the daemon has {told}",
                "Keep it for every daemon: rlmd auth set; then rlmd stop.",
            )
        elif theirs["key_origin"]:
            yield ok("key", f"the daemon's comes from: {theirs['key_origin']}")


def _not_running(path: str, exc: Exception) -> Finding:
    if os.path.exists(path) and "another user" in str(exc):
        return broken("socket", str(exc), "Set RLMD_SOCKET to a path of your own.")
    return ok("daemon", f"none runs at {path}; the first client starts one")


def _prove(config: Config) -> Description:
    import trio

    from rlmd.sandbox.pool import sandbox_pool
    from rlmd.sandbox.requests import Describe, Description, Limits

    async def describe() -> Description:
        async with sandbox_pool(Limits(memory_bytes=config.sandbox.memory_bytes), warm=0)() as handle:
            answer = await handle(Describe())
            assert isinstance(answer, Description)
            return answer

    return trio.run(describe)
