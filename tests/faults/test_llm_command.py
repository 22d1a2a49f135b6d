"""Programs as models: what they say, how they fail, and that none of them outlives its call."""

from __future__ import annotations

import os
import signal
import sys
import textwrap
from pathlib import Path

import pytest
import trio

from fake_provider import bounded, chat_of
from rlmd.llm.command import CommandUpstream
from rlmd.llm.providers import COMMAND, Endpoint
from rlmd.llm.values import Chat, RateInfo, UpstreamError, Usage


def running(*words: str, **limits) -> CommandUpstream:
    return CommandUpstream(Endpoint(provider=COMMAND, command=words, model="m"), **limits)


def shell(script: str, **limits) -> CommandUpstream:
    return running("sh", "-c", script, **limits)


async def answer(upstream: CommandUpstream, chat: Chat | None = None):
    try:
        return await upstream.complete(chat or chat_of())
    finally:
        await upstream.aclose()


async def failure_of(upstream: CommandUpstream) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        await answer(upstream)
    return caught.value


async def pid_in(path: Path) -> int:
    while not (text := _text(path)).endswith("\n"):  # noqa: ASYNC110  # another process writes it
        await trio.sleep(0.005)
    return int(text)


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


async def gone(pid: int) -> None:
    """Wait until *pid* is no process any more, or only one that its parent has not asked after."""
    status = trio.Path(f"/proc/{pid}/stat")
    while await status.exists() and (await status.read_text()).rpartition(")")[2].split()[0] != "Z":  # noqa: ASYNC110  # a process that is not our child
        await trio.sleep(0.005)


@bounded
async def test_the_prompt_goes_in_and_the_reply_comes_out():
    reply, rates = await answer(running("cat"), chat_of("größe\n\nend"))

    assert (reply.text, reply.usage, rates) == ("größe\n\nend", Usage(usd=None), RateInfo())


@bounded
async def test_a_prompt_larger_than_any_pipe_arrives_whole():
    reply, _ = await answer(running("wc", "-c"), chat_of("x" * 3_000_000))

    assert reply.text == "3000000"


@bounded
async def test_a_program_that_does_not_read_its_prompt_may_answer():
    reply, _ = await answer(shell("exec <&-; echo done"), chat_of("x" * 3_000_000))

    assert reply.text == "done"


@bounded
async def test_the_model_fills_its_place_in_the_command():
    reply, _ = await answer(running("echo", "--model={model}"), chat_of(model="haiku"))

    assert reply.text == "--model=haiku"


@pytest.mark.parametrize(
    ("script", "kind", "words"),
    [
        ("echo 'Invalid API key: please run /login' >&2; exit 1", "auth", "run /login"),
        ("echo 'Not logged in'; exit 1", "auth", "Not logged in"),
        ("echo 'rate limit reached, too many requests' >&2; exit 1", "rate_limited", "exit code 1"),
        ("echo 'prompt is too long: 300000 tokens > 200000 maximum' >&2; exit 1", "overflow", "200000"),
        ("exit 3", "server", "exit code 3"),
        ("kill -9 $$", "server", "SIGKILL"),
        ("true", "empty", "said nothing"),
        ("head -c 100000 /dev/zero", "malformed", "more than"),
        ("yes", "malformed", "more than"),
    ],
)
@bounded
async def test_a_failing_program_says_why_in_its_own_words(script, kind, words):
    error = await failure_of(shell(script, most_reply_bytes=50_000))

    assert error.kind == kind
    assert words in error.message


@bounded
async def test_a_program_that_is_not_there_is_named():
    error = await failure_of(running("no-such-agent", "-p"))

    assert (error.kind, error.retryable) == ("not_found", False)
    assert "no-such-agent" in error.message
    assert "llm.command" in error.hint


@bounded
async def test_cancelling_kills_the_program_and_all_it_started_at_once(tmp_path):
    child = tmp_path / "child"
    upstream = shell(f"sleep 1000 & echo $! > {child}; trap '' TERM; wait")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(upstream.complete, chat_of())
        pid = await pid_in(child)
        cancelled_at = trio.current_time()
        nursery.cancel_scope.cancel()
    took_s = trio.current_time() - cancelled_at
    await gone(pid)
    await upstream.aclose()

    assert took_s < 0.1


@bounded
async def test_what_a_program_leaves_behind_does_not_keep_the_call_and_is_killed(tmp_path):
    child = tmp_path / "child"

    reply, _ = await answer(shell(f"sleep 1000 & echo $! > {child}; echo done"))
    await gone(await pid_in(child))

    assert reply.text == "done"


@bounded
async def test_a_program_dies_with_the_daemon(tmp_path):
    """Even by kill -9, which leaves no time to clean up."""
    mark = tmp_path / "pid"
    program = f"""
        import trio
        from rlmd.llm.command import CommandUpstream
        from rlmd.llm.providers import COMMAND, Endpoint
        from rlmd.llm.values import Chat, Message
        command = ("sh", "-c", "echo $$ > {mark}; exec sleep 1000")
        upstream = CommandUpstream(Endpoint(provider=COMMAND, command=command, model="m"))
        trio.run(upstream.complete, Chat(messages=(Message("user", "x"),), model="m"))
    """
    daemon = await trio.lowlevel.open_process([sys.executable, "-c", textwrap.dedent(program)])
    try:
        pid = await pid_in(mark)
        daemon.send_signal(signal.SIGKILL)
        await gone(pid)
    finally:
        daemon.kill()
        await daemon.wait()


@bounded
async def test_no_key_and_no_setting_of_the_daemon_reaches_the_program(monkeypatch):
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "RLMD_LLM__MODEL", "CREDENTIALS_DIRECTORY"):
        monkeypatch.setenv(name, "secret")
    for name in ("NOTIFY_SOCKET", "GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "secret")

    reply, _ = await answer(running("env"))

    assert "secret" not in reply.text
    assert f"HOME={os.environ['HOME']}" in reply.text


@bounded
async def test_a_program_works_in_an_empty_directory_that_goes_with_the_upstream():
    upstream = shell("pwd; ls -A")

    reply, _ = await upstream.complete(chat_of())
    was_there = await trio.Path(reply.text).is_dir()
    await upstream.aclose()

    assert was_there
    assert not await trio.Path(reply.text).exists()


@bounded
async def test_few_programs_run_at_the_same_time(tmp_path):
    upstream = shell(f"echo > {tmp_path}/$$; ls {tmp_path} | wc -l; sleep 0.05; rm {tmp_path}/$$", at_once=2)
    seen = []

    async def ask() -> None:
        seen.append(int((await upstream.complete(chat_of()))[0].text))

    async with trio.open_nursery() as nursery:
        for _ in range(6):
            nursery.start_soon(ask)
    await upstream.aclose()

    assert len(seen) == 6
    assert max(seen) <= 2


@bounded
async def test_a_thousandth_call_holds_no_more_descriptors_than_the_first():
    upstream = running("cat")
    await upstream.complete(chat_of())
    before = len(os.listdir("/proc/self/fd"))

    for _ in range(10):
        await upstream.complete(chat_of())
        with trio.move_on_after(0.002):
            await upstream.complete(chat_of())
    await upstream.aclose()

    assert len(os.listdir("/proc/self/fd")) == before
