"""A second opinion: the wire against a mock of OpenAI that others wrote, where Node can run it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess

import pytest
import trio

from fake_provider import chat_of
from rlmd.llm.providers import OTHER, Endpoint
from rlmd.llm.values import UpstreamError
from rlmd.llm.wire import Wire

PACKAGE = "@copilotkit/aimock@1.43.0"
FIXTURES = {
    "fixtures": [
        {"match": {"userMessage": "hello"}, "response": {"content": "Good day."}},
        {
            "match": {"userMessage": "too fast"},
            "response": {"error": {"message": "Slow down", "type": "rate_limit_error"}, "status": 429},
        },
    ]
}


def reason_to_skip() -> str:
    if shutil.which("npx") is None:
        return "Node with npx is not on this machine"
    command = ["npx", "--yes", "--package", PACKAGE, "llmock", "--help"]
    try:
        tried = subprocess.run(command, capture_output=True, timeout=120, check=False)
    except subprocess.TimeoutExpired:
        return f"{PACKAGE} did not install within two minutes"
    return "" if tried.returncode == 0 else f"{PACKAGE} cannot be installed here"


@pytest.mark.slow
@pytest.mark.parametrize("stream", [False, True])
async def test_a_mock_that_others_wrote_is_understood(tmp_path, stream):
    if reason := await trio.to_thread.run_sync(reason_to_skip):
        pytest.skip(reason)
    fixtures = tmp_path / "fixtures.json"
    fixtures.write_text(json.dumps(FIXTURES))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        "npx",
        "--yes",
        "--package",
        PACKAGE,
        "llmock",
        "-p",
        str(port),
        "-f",
        str(fixtures),
        "--strict",
    ]

    with trio.fail_after(60):
        mock = await trio.lowlevel.open_process(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        try:
            wire = Wire(
                Endpoint(provider=OTHER, base_url=f"http://127.0.0.1:{port}/v1", key="mock", stream=stream)
            )
            await reached(port)
            reply, _ = await wire.complete(chat_of("hello", model="gpt-4o"))
            with pytest.raises(UpstreamError) as caught:
                await wire.complete(chat_of("too fast", model="gpt-4o"))
            await wire.aclose()
        finally:
            os.killpg(mock.pid, signal.SIGKILL)  # npx leaves what it started
            await mock.wait()

    assert (reply.text, reply.finish_reason) == ("Good day.", "stop")
    assert caught.value.kind == "rate_limited"
    assert "Slow down" in caught.value.message


async def reached(port: int) -> None:
    while True:
        try:
            stream = await trio.open_tcp_stream("127.0.0.1", port)
        except OSError:
            await trio.sleep(0.05)
        else:
            return await stream.aclose()
