"""A program as a model: the prompt on its stdin, the reply on its stdout.

For those who are logged in to an agent and have no key.  The program sees none of the daemon's
keys, works in an empty directory, and is killed with everything it started.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import trio

from rlmd.llm.command_child import NO_PROGRAM
from rlmd.llm.dialects import Complaint, judge
from rlmd.llm.providers import Endpoint
from rlmd.llm.values import Chat, RateInfo, Reply, UpstreamError, Usage

CHILD = Path(__file__).with_name("command_child.py")
AT_ONCE = 4
MOST_REPLY_BYTES = 4 << 20
KEPT_WORDS_BYTES = 4_096
LAST_WORDS_S = 1.0
REAP_S = 2.0

_PASSED = frozenset(
    [
        "PATH",
        "HOME",
        "USER",
        "LOGNAME",
        "SHELL",
        "LANG",
        "LANGUAGE",
        "TZ",
        "TMPDIR",
        "DBUS_SESSION_BUS_ADDRESS",
        "LD_LIBRARY_PATH",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
        "ALL_PROXY",
        "http_proxy",
        "https_proxy",
        "no_proxy",
        "all_proxy",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "NODE_EXTRA_CA_CERTS",
        "CLAUDE_CONFIG_DIR",
        "CODEX_HOME",
    ]
)
_PASSED_STARTS = ("LC_", "XDG_")
_LOG_IN = "Log in to the program as the user that the daemon runs as."


@dataclass(slots=True)
class _Output:
    """What a program has said so far: all of its reply, and the end of its complaints."""

    reply: bytearray = field(default_factory=bytearray)
    words: bytearray = field(default_factory=bytearray)
    is_too_long: bool = False


class CommandUpstream:
    """Runs `endpoint.command` for each call, *at_once* of them at the same time."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        at_once: int = AT_ONCE,
        most_reply_bytes: int = MOST_REPLY_BYTES,
        env: Mapping[str, str] = os.environ,
    ) -> None:
        self.endpoint = endpoint
        self._most_bytes = most_reply_bytes
        self._env = passed_on(env)
        self._slots = trio.CapacityLimiter(at_once)
        self._place: str | None = None

    @property
    def name(self) -> str:
        """The command."""
        return self.endpoint.name

    async def settle(self) -> Endpoint:
        """Return the endpoint: nothing of it is open."""
        await trio.lowlevel.checkpoint()
        return self.endpoint

    async def complete(self, chat: Chat) -> tuple[Reply, RateInfo]:
        """Run the program once over *chat*; what it costs is unknown.

        Raises UpstreamError in the program's own words when it fails.  Cancelling kills it, and all
        that it started, within a few ms.
        """
        async with self._slots:
            process, output = await self._run(chat)
        if output.is_too_long:
            raise UpstreamError(
                "malformed", f"{self.endpoint.command[0]} said more than {self._most_bytes:,} bytes."
            )
        said = output.reply.decode("utf-8", "replace").strip()
        if process.returncode:
            raise self._failed(process.returncode, output.words.decode("utf-8", "replace").strip() or said)
        if not said:
            raise UpstreamError("empty", f"{self.endpoint.command[0]} said nothing.")
        return Reply(said, "stop", Usage(), chat.model), RateInfo()

    async def aclose(self) -> None:
        """Remove the directory that the program worked in."""
        if self._place is not None:
            with trio.move_on_after(REAP_S, shield=True):
                await trio.to_thread.run_sync(partial(shutil.rmtree, self._place, ignore_errors=True))
            self._place = None

    async def _run(self, chat: Chat) -> tuple[subprocess.Popen[bytes], _Output]:
        process = self._start(chat.model)
        output = _Output()
        assert process.stdin and process.stdout and process.stderr  # noqa: PT018  # all three are pipes
        ends = [
            trio.lowlevel.FdStream(os.dup(end.fileno()))
            for end in (process.stdin, process.stdout, process.stderr)
        ]
        for end in (process.stdin, process.stdout, process.stderr):
            end.close()
        pidfd = os.pidfd_open(process.pid)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_feed, ends[0], prompt_text(chat).encode())
                nursery.start_soon(self._listen, ends[1], output, nursery.cancel_scope)
                nursery.start_soon(_keep_words, ends[2], output)
                await trio.lowlevel.wait_readable(pidfd)
                os.killpg(process.pid, signal.SIGKILL)  # what it left behind would hold its stdout open
                nursery.cancel_scope.deadline = trio.current_time() + LAST_WORDS_S
        finally:
            await _bury(process, pidfd, ends)
        return process, output

    def _start(self, model: str) -> subprocess.Popen[bytes]:
        """Start the program from this very thread: the kernel's death signal follows the one that forked."""
        if self._place is None:
            self._place = tempfile.mkdtemp(prefix="rlmd-command-")
        words = [word.replace("{model}", model) for word in self.endpoint.command]
        return subprocess.Popen(  # noqa: S603  # the person's own choice, without a shell
            [sys.executable, "-I", "-S", str(CHILD), str(os.getpid()), *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self._env,
            cwd=self._place,
            start_new_session=True,
        )

    async def _listen(self, stdout: trio.lowlevel.FdStream, output: _Output, scope: trio.CancelScope) -> None:
        async for piece in stdout:
            output.reply += piece
            if len(output.reply) > self._most_bytes:
                output.is_too_long = True
                scope.cancel()

    def _failed(self, code: int, words: str) -> UpstreamError:
        program = self.endpoint.command[0]
        if code == NO_PROGRAM:
            return UpstreamError(
                "not_found",
                f"{program} cannot be run: {words}",
                hint="Name a program on the daemon's PATH, or its whole path, in llm.command.",
            )
        ending = f"exit code {code}" if code > 0 else signal.Signals(-code).name
        error = judge(Complaint(words or "it gave no reason"), status=None, headers={}, now=time.time())
        hint = _LOG_IN if error.kind == "auth" else ""
        return UpstreamError(error.kind, f"{program} failed ({ending}): {error.message}", hint=hint)


def prompt_text(chat: Chat) -> str:
    """Return *chat* as one text: a single user message verbatim, longer talks with their speakers."""
    system = [message.content for message in chat.messages if message.role == "system"]
    turns = [message for message in chat.messages if message.role != "system"]
    if len(turns) == 1:
        said = [turns[0].content]
    else:
        said = [f"{turn.role.capitalize()}:\n{turn.content}" for turn in turns]
    if chat.json_schema is not None:
        said.append(f"Reply with JSON alone, valid by this schema:\n{chat.json_schema}")
    return "\n\n".join([*system, *said])


def passed_on(env: Mapping[str, str]) -> dict[str, str]:
    """Return what a program needs of *env* to find itself, its user and its network: no keys."""
    return {name: value for name, value in env.items() if name in _PASSED or name.startswith(_PASSED_STARTS)}


async def _feed(stdin: trio.lowlevel.FdStream, prompt: bytes) -> None:
    """Write *prompt* and close; a program that does not want it all is free to leave."""
    async with stdin:
        with suppress(trio.BrokenResourceError):
            await stdin.send_all(prompt)


async def _keep_words(stderr: trio.lowlevel.FdStream, output: _Output) -> None:
    async for piece in stderr:
        output.words += piece
        del output.words[:-KEPT_WORDS_BYTES]


async def _bury(process: subprocess.Popen[bytes], pidfd: int, ends: list[trio.lowlevel.FdStream]) -> None:
    """Kill the whole group while its leader, dead or alive, still holds its number; then reap it."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with trio.move_on_after(REAP_S, shield=True):
        await trio.lowlevel.wait_readable(pidfd)
        process.poll()
        for end in ends:
            await end.aclose()
    os.close(pidfd)
