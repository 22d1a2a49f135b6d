"""`rlmd doctor llm` and `rlmd auth set` as a person runs them, in processes of their own."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys

import pytest
import trio

from fake_provider import KEY, Asked, Talk, open_provider, reply_body


async def run(*words: str, said: str = "", **env: str) -> subprocess.CompletedProcess[bytes]:
    with trio.fail_after(30):
        return await trio.run_process(
            [sys.executable, "-m", "rlmd", *words],
            stdin=said.encode(),
            env={**os.environ, **env},
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )


async def model_server(asked: Asked, talk: Talk) -> None:
    if asked.path == "/v1/models":
        await talk.json({"data": [{"id": "tiny", "max_model_len": 8_192}, {"id": "other"}]})
    else:
        await talk.json(reply_body("ok"), headers={"x-ratelimit-limit-requests": "60"})


@pytest.mark.slow
async def test_doctor_says_endpoint_key_models_window_and_what_a_call_brought():
    async with open_provider(model_server) as fake:
        done = await run(
            "doctor", "llm", "--json", "-o", f"llm.base_url={fake.base_url}",
            OPENAI_BASE_URL=fake.base_url, OPENAI_API_KEY=KEY,
        )  # fmt: skip

    facts = json.loads(done.stdout)
    assert done.returncode == 0
    assert facts["endpoint"] == f"{fake.base_url} (other)"
    assert facts["key"].startswith("environment variable OPENAI_API_KEY of this shell; ")
    assert facts["models"] == "2: tiny, other"
    assert facts["model"] == "tiny; sub-calls: tiny"
    assert facts["window"] == "8,192 tokens"
    assert facts["call"].startswith('"ok" in ')
    assert facts["limits"] == "requests 60"
    assert KEY.encode() not in done.stdout + done.stderr


@pytest.mark.slow
async def test_doctor_repeats_the_provider_s_words_about_a_wrong_key_and_not_the_key():
    async def handler(_: Asked, talk: Talk) -> None:
        await talk.json({"error": {"message": f"Incorrect API key: {KEY}"}}, 401)

    async with open_provider(handler) as fake:
        done = await run("doctor", "llm", OPENAI_BASE_URL=fake.base_url, OPENAI_API_KEY=KEY, RLM_MODEL="m")

    assert done.returncode == os.EX_TEMPFAIL
    assert b"failed: 401: Incorrect API key: ***" in done.stdout
    assert b"rlmd auth set" in done.stdout
    assert KEY.encode() not in done.stdout + done.stderr


async def test_doctor_without_a_model_says_what_would_give_one():
    names = ("OPENAI_API_KEY", "OPENROUTER_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY")

    done = await run("doctor", "llm", **dict.fromkeys((*names, "OPENAI_BASE_URL"), ""))

    assert done.returncode == os.EX_CONFIG
    assert b"rlmd auth set" in done.stdout


async def test_doctor_tries_a_program_too():
    done = await run("doctor", "llm", "-o", 'llm.command=["echo", "fine"]')

    assert done.returncode == 0
    assert b'"fine" in ' in done.stdout
    assert b"cost unknown" in done.stdout


async def test_a_key_from_stdin_is_stored_privately_and_never_printed(home):
    done = await run("auth", "set", said="sk-or-very-secret-key\n")

    path = home.config.with_name("api-key")
    assert done.returncode == 0
    assert path.read_text() == "sk-or-very-secret-key\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [each.name for each in path.parent.iterdir()] == ["api-key"]
    assert b"openrouter" in done.stdout
    assert b"secret" not in done.stdout + done.stderr


async def test_a_stored_key_is_replaced_whole(home):
    await run("auth", "set", said="sk-ant-first-and-longer\n")
    await run("auth", "set", said="sk-ant-second\n")

    assert home.config.with_name("api-key").read_text() == "sk-ant-second\n"


@pytest.mark.parametrize("said", ["", "two words", "x" * 10_000])
async def test_what_is_no_key_is_refused_and_not_repeated(home, said):
    done = await run("auth", "set", said=said)

    assert done.returncode == os.EX_DATAERR
    assert not home.config.with_name("api-key").exists()
    assert not said or said.encode() not in done.stderr


async def test_an_asked_daemon_never_shows_the_key_in_the_list_of_processes(home):
    """The key comes by a file: no command takes it as an argument."""
    done = await run("auth", "set", "sk-or-argument")

    assert done.returncode == 2
    assert not home.config.with_name("api-key").exists()
