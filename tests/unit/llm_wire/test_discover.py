"""Where the endpoint and its key come from, in the order of the contract."""

import http.server
import json
import threading
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from rlmd.config import load
from rlmd.config.schema import Llm
from rlmd.errors import ConfigError
from rlmd.llm import discover as discovery
from rlmd.llm.discover import discover
from rlmd.llm.keys import key_in_file
from rlmd.llm.prices import load_prices
from rlmd.llm.providers import BY_NAME, LOCAL, Endpoint, provider_of, provider_of_key
from rlmd.llm.values import Usage

ROOT = Path(__file__).parents[3]
EVERY_KEY = {
    "OPENAI_BASE_URL": "https://proxy.example/v1",
    "OPENAI_API_KEY": "sk-openai",
    "OPENROUTER_API_KEY": "sk-or-router",
    "ANTHROPIC_API_KEY": "sk-ant-claude",
    "GEMINI_API_KEY": "AIzaGemini",
}


def find(settings=None, *, env=None, stored="/nonexistent/api-key", detect=None):
    return discover(Llm(**(settings or {})), env=env or {}, stored_key=str(stored), detect=detect)


def write_key(path, key="sk-or-stored", mode=0o600):
    path.write_text(f"{key}\n")
    path.chmod(mode)
    return path


def test_with_nothing_there_is_no_endpoint():
    assert find() == discovery.Found(None)


@pytest.mark.parametrize(
    ("gone", "address", "key", "origin"),
    [
        ((), "https://proxy.example/v1", "sk-openai", "OPENAI_API_KEY"),
        (("OPENAI_BASE_URL",), "https://api.openai.com/v1", "sk-openai", "OPENAI_API_KEY"),
        (("OPENAI_API_KEY",), "https://openrouter.ai/api/v1", "sk-or-router", "OPENROUTER_API_KEY"),
        (
            ("OPENAI_API_KEY", "OPENROUTER_API_KEY"),
            "https://api.anthropic.com/v1",
            "sk-ant-claude",
            "ANTHROPIC_API_KEY",
        ),
        (
            ("OPENAI_API_KEY", "OPENROUTER_API_KEY", "ANTHROPIC_API_KEY"),
            "https://generativelanguage.googleapis.com/v1beta/openai",
            "AIzaGemini",
            "GEMINI_API_KEY",
        ),
    ],
)
def test_the_environment_is_read_in_order(gone, address, key, origin):
    env = {name: value for name, value in EVERY_KEY.items() if name not in gone}

    endpoint = find(env=env).endpoint

    assert (endpoint.base_url, endpoint.key) == (address, key)
    assert endpoint.key_origin == f"environment variable {origin}"


def test_a_configured_address_gets_only_its_own_provider_s_key():
    env = {name: value for name, value in EVERY_KEY.items() if name != "OPENAI_BASE_URL"}

    assert find({"base_url": "https://openrouter.ai/api/v1"}, env=env).endpoint.key == "sk-or-router"
    assert find({"base_url": "https://stranger.example/v1"}, env=env).endpoint.key == ""
    assert find({"base_url": "http://localhost:11434/v1"}, env=env).endpoint.key == ""


def test_the_general_key_goes_to_the_address_it_was_set_with():
    endpoint = find({"base_url": "https://proxy.example/v1/"}, env=EVERY_KEY).endpoint

    assert endpoint.key == "sk-openai"


def test_a_key_file_goes_before_a_credential_before_a_stored_key_before_the_environment(tmp_path):
    own = write_key(tmp_path / "own", "sk-or-own")
    write_key(tmp_path / "api-key", "sk-or-credential", 0o440)
    stored = write_key(tmp_path / "stored")
    env = {**EVERY_KEY, "CREDENTIALS_DIRECTORY": str(tmp_path)}

    keys = [
        find({"api_key_file": str(own)}, env=env, stored=stored).endpoint,
        find(env=env, stored=stored).endpoint,
        find(env={"OPENROUTER_API_KEY": "sk-or-env"}, stored=stored).endpoint,
        find(env={"OPENROUTER_API_KEY": "sk-or-env"}).endpoint,
    ]

    assert [each.key for each in keys] == ["sk-or-own", "sk-or-credential", "sk-or-stored", "sk-or-env"]
    assert [each.key_origin for each in keys] == [
        str(own),
        "systemd credential api-key",
        str(stored),
        "environment variable OPENROUTER_API_KEY",
    ]


def test_a_stored_key_alone_tells_its_provider(tmp_path):
    for key, name in [
        ("sk-or-1", "openrouter"),
        ("sk-ant-1", "anthropic"),
        ("AIza1", "gemini"),
        ("sk-1", "openai"),
    ]:
        endpoint = find(stored=write_key(tmp_path / "api-key", key)).endpoint
        assert (endpoint.provider.name, endpoint.base_url) == (name, BY_NAME[name].base_url)


def test_a_stored_key_of_one_provider_is_not_sent_to_another(tmp_path):
    found = find({"base_url": "https://api.openai.com/v1"}, stored=write_key(tmp_path / "api-key", "sk-or-1"))

    assert found.endpoint.key == ""
    assert "no key" in found.problems[0].what


@pytest.mark.parametrize(
    ("key", "mode", "why"),
    [
        ("sk-or-1", 0o644, "chmod 600"),
        ("two words", 0o600, "holds no key"),
        ("", 0o600, "holds no key"),
        ("sk-\x00", 0o600, "holds no key"),
        ("x" * 9_000, 0o600, "holds no key"),
    ],
)
def test_a_file_that_holds_no_usable_key_is_a_problem_that_does_not_repeat_it(tmp_path, key, mode, why):
    found = find(stored=write_key(tmp_path / "api-key", key, mode), env=EVERY_KEY)

    assert found.endpoint is None
    assert why in found.problems[0].what
    assert key.strip() == "" or key not in found.problems[0].what


def test_a_key_file_that_is_not_there_is_a_problem(tmp_path):
    found = find({"api_key_file": str(tmp_path / "none")}, env=EVERY_KEY)

    assert found.endpoint is None
    assert "llm.api_key_file" in found.problems[0].what


def test_an_unreadable_key_is_a_configuration_error(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        key_in_file(str(tmp_path))


def test_a_key_over_plain_http_is_doubted_except_on_this_machine():
    far = find(
        {"base_url": "http://proxy.example/v1"},
        env={**EVERY_KEY, "OPENAI_BASE_URL": "http://proxy.example/v1"},
    )
    near = find({"base_url": "http://localhost:8000/v1"}, env={"VLLM_API_KEY": "sk-1"})

    assert "unencrypted" in far.problems[0].what
    assert (near.problems, near.endpoint.key) == ((), "sk-1")


def test_models_come_from_settings_then_old_names_then_the_provider():
    env = {"OPENAI_API_KEY": "sk-1"}
    old = {**env, "RLM_MODEL": "small", "RLM_AGGREGATOR_MODEL": "big", "RLM_MAX_RESULT_TOKENS": "777"}

    chosen = [
        find(env=env).endpoint,
        find(env={**env, "RLM_MODEL": "small"}).endpoint,
        find(env=old).endpoint,
        find({"model": "mine"}, env=env).endpoint,
        find({"model": "mine", "sub_model": "less", "max_result_tokens": 5}, env=old).endpoint,
    ]

    assert [(each.model, each.sub_model) for each in chosen] == [
        (BY_NAME["openai"].model, BY_NAME["openai"].sub_model),
        ("small", "small"),
        ("big", "small"),
        ("mine", "mine"),
        ("mine", "less"),
    ]
    assert [each.max_result_tokens for each in chosen] == [None, None, 777, None, 5]


def test_a_command_goes_before_everything():
    endpoint = find(
        {"command": ["/usr/bin/claude", "-p"], "base_url": "https://x/v1"}, env=EVERY_KEY
    ).endpoint

    assert (endpoint.command, endpoint.model, endpoint.key) == (("/usr/bin/claude", "-p"), "claude", "")


def test_this_machine_is_only_looked_at_when_asked():
    found = []

    def detect():
        found.append(1)
        return BY_NAME["ollama"]

    assert find(detect=detect).endpoint is None
    assert find({"autodetect": True}, env=EVERY_KEY, detect=detect).endpoint.key == "sk-openai"
    assert not found
    assert find({"autodetect": True}, detect=detect).endpoint.base_url == "http://localhost:11434/v1"


@contextmanager
def answering(body):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://localhost:{server.server_port}/v1"
        server.shutdown()


@pytest.mark.parametrize(
    ("name", "body", "known"),
    [
        ("ollama", {"version": "0.9"}, True),
        ("llamacpp", {"total_slots": 4}, True),
        ("vllm", {"data": [{"id": "m"}]}, True),
        ("vllm", {"data": []}, False),
        ("lmstudio", {"data": "people"}, False),
        ("ollama", {"hello": "world"}, False),
        ("ollama", ["version"], False),
    ],
)
def test_a_stranger_on_a_known_port_is_no_model_server(name, body, known):
    with answering(json.dumps(body).encode()) as address:
        assert discovery._answers(replace(BY_NAME[name], base_url=address)) is known


def test_nobody_on_a_port_is_no_model_server():
    assert not discovery._answers(replace(BY_NAME["ollama"], base_url="http://localhost:1/v1"))


def test_a_key_is_in_no_repr():
    endpoint = find(env=EVERY_KEY).endpoint

    assert "sk-openai" not in repr(endpoint)
    assert "sk-openai" not in repr(discovery.Found(endpoint))


def test_an_endpoint_s_name_holds_no_secret():
    endpoint = Endpoint(provider=BY_NAME["vllm"], base_url="https://me:secret@host:9/v1/?token=secret")

    assert endpoint.name == "https://host:9/v1"


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_each_profile_is_a_valid_configuration_for_its_provider(name):
    path = ROOT / "configs" / f"{name}.toml"

    settings = load([str(path)]).config.llm

    provider = provider_of(settings.base_url)
    assert path.exists()
    assert provider.name == name
    assert (settings.model, settings.sub_model or provider.sub_model) == (provider.model, provider.sub_model)


def test_every_default_model_of_a_hosted_provider_has_a_price_and_a_window():
    prices = load_prices()

    for name in ("openai", "anthropic", "gemini"):
        for model in (BY_NAME[name].model, BY_NAME[name].sub_model):
            price = prices.find(name, model)
            assert price is not None
            assert price.window_tokens


def test_prices_are_dated_and_unknown_models_have_none():
    prices = load_prices()

    assert prices.date >= "2026-11"
    assert prices.usd("openai", "gpt-4o-2024-11-20", Usage(1_000_000, 100_000, 400_000)) == pytest.approx(
        0.6 * 2.5 + 0.4 * 1.25 + 0.1 * 10
    )
    assert prices.usd("openai", "gpt-unheard-of", Usage(10, 10)) is None
    assert prices.usd("other", "gpt-4o", Usage(10, 10)) is None
    assert prices.usd("openai", "gpt-4o", Usage()) is None


def test_the_price_table_in_configs_is_the_one_in_the_package():
    assert (ROOT / "configs/prices.toml").samefile(ROOT / "daemon/rlmd/llm/prices.toml")


def test_local_servers_are_told_by_their_ports():
    assert [provider_of(each.base_url).name for each in LOCAL] == ["ollama", "lmstudio", "llamacpp", "vllm"]
    assert provider_of("http://127.0.0.1:8080/v1").name == "llamacpp"
    assert provider_of("https://api.openai.com/v1/").name == "openai"
    assert provider_of("http://localhost:9999/v1").name == "other"
    assert provider_of_key("hf_123") is None
