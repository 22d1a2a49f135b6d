"""The model providers we know by name, and what is particular about each."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

LOOPBACK = {"localhost", "127.0.0.1", "::1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One kind of endpoint.

    `key_names` are the variables that hold its key, the strongest first, and `key_start` is how its
    keys begin.  `probe` is a path that a server of this kind answers with JSON that has one of
    `probe_names`; only local ones have it.  Empty models are the first that the server lists.
    `window_path` tells the window that a model is loaded with, `window_tokens` is the usual one.
    """

    name: str
    base_url: str = ""
    key_names: tuple[str, ...] = ()
    key_start: str = ""
    model: str = ""
    sub_model: str = ""
    max_tokens_name: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    takes_cache_control: bool = False
    window_path: str = ""
    window_tokens: int | None = None
    probe: str = ""
    probe_names: tuple[str, ...] = ()


OTHER = Provider(name="other")
"""Any other OpenAI-compatible endpoint."""

COMMAND = Provider(name="command")
"""A program on this machine that answers on its stdout."""

HOSTED = (
    Provider(
        name="openai",
        base_url="https://api.openai.com/v1",
        key_names=("OPENAI_API_KEY",),
        key_start="sk-",
        model="gpt-6.1-terra",
        sub_model="gpt-6-luna",
        max_tokens_name="max_completion_tokens",
    ),
    Provider(
        name="openrouter",
        base_url="https://openrouter.ai/api/v1",
        key_names=("OPENROUTER_API_KEY",),
        key_start="sk-or-",
        model="~anthropic/claude-sonnet-latest",
        takes_cache_control=True,
    ),
    Provider(
        name="anthropic",
        base_url="https://api.anthropic.com/v1",
        key_names=("ANTHROPIC_API_KEY",),
        key_start="sk-ant-",
        model="claude-sonnet-5-5",
        sub_model="claude-haiku-5-5",
    ),
    Provider(
        name="gemini",
        base_url="https://generativelanguage.googleapis.com/v1beta/openai",
        key_names=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        key_start="AIza",
        model="gemini-3.8-flash",
        sub_model="gemini-3.5-flash-lite",
    ),
)
"""In the order in which their keys are looked for in the environment."""

LOCAL = (
    Provider(
        name="ollama",
        base_url="http://localhost:11434/v1",
        window_path="/api/ps",
        window_tokens=4_096,
        probe="/api/version",
        probe_names=("version",),
    ),
    Provider(
        name="lmstudio",
        base_url="http://localhost:1234/v1",
        window_path="/api/v0/models",
        probe="/v1/models",
        probe_names=("data",),
    ),
    Provider(
        name="llamacpp",
        base_url="http://localhost:8080/v1",
        window_path="/props",
        probe="/props",
        probe_names=("total_slots",),
    ),
    Provider(
        name="vllm",
        base_url="http://localhost:8000/v1",
        key_names=("VLLM_API_KEY",),
        probe="/v1/models",
        probe_names=("data",),
    ),
)
"""In the order in which they are looked for on this machine, where that is allowed."""

BY_NAME: Mapping[str, Provider] = {each.name: each for each in (*HOSTED, *LOCAL)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where models are asked, and as whom: `key_origin` may be shown, `key` never.

    An empty `model` is the first that the server lists.  `window_tokens` is None where nobody said.
    With a `command` there is no address: the program answers.
    """

    provider: Provider
    base_url: str = ""
    command: tuple[str, ...] = ()
    key: str = field(default="", repr=False)
    key_origin: str = "none"
    model: str = ""
    sub_model: str = ""
    window_tokens: int | None = None
    max_result_tokens: int | None = None
    stream: bool = False

    @property
    def name(self) -> str:
        """The endpoint as status shows it: its address without user and query, or its command."""
        if self.command:
            return f"command: {shlex.join(self.command)}"
        parts = urlsplit(self.base_url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"


def provider_of(base_url: str) -> Provider:
    """Return the provider whose address *base_url* is: by host, on this machine by port."""
    given = urlsplit(base_url)
    for each in (*HOSTED, *LOCAL):
        known = urlsplit(each.base_url)
        same_host = given.hostname == known.hostname or {given.hostname, known.hostname} <= LOOPBACK
        if same_host and given.port == known.port:
            return each
    return OTHER


def provider_of_key(key: str) -> Provider | None:
    """Return the provider whose keys look like *key*: the one with the longest beginning in common."""
    fitting = [each for each in HOSTED if each.key_start and key.startswith(each.key_start)]
    return max(fitting, key=lambda each: len(each.key_start), default=None)


def is_local(base_url: str) -> bool:
    """Say whether *base_url* leads to this machine."""
    return urlsplit(base_url).hostname in LOOPBACK
