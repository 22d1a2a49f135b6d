"""Which model endpoint this daemon has: configured, found in the environment, or found on this machine.

The environment is the daemon's own.  Nothing is asked of any server here but, where that is allowed,
whether one of the known local ones is there; prompts only go where somebody said.
"""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from rlmd.config.schema import Llm
from rlmd.errors import ConfigError
from rlmd.llm.bodies import read_models
from rlmd.llm.keys import Key, credential, key_in_env, key_in_file
from rlmd.llm.prices import load_prices
from rlmd.llm.providers import (
    COMMAND,
    HOSTED,
    LOCAL,
    Endpoint,
    Provider,
    is_local,
    provider_of,
    provider_of_key,
)
from rlmd.status import Problem

PROBE_S = 0.3
MOST_PROBE_BYTES = 1 << 20
AUTH_SET = "Set a key: rlmd auth set."


@dataclass(frozen=True, slots=True)
class Found:
    """The endpoint, None where there is none, and what kept us from one or from its key."""

    endpoint: Endpoint | None
    problems: tuple[Problem, ...] = ()


def discover(
    settings: Llm,
    *,
    env: Mapping[str, str],
    stored_key: str,
    detect: Callable[[], Provider | None] | None = None,
) -> Found:
    """Find the endpoint of *settings*, else one that *env* or the key in the file *stored_key* names.

    Blocks for some ms, and up to two seconds where `llm.autodetect` has it look at this machine (by
    *detect*).  Keys come from `llm.api_key_file`, a systemd credential, *stored_key*, *env*, in this
    order; a file that holds no usable key is a problem, and the next place is not tried in its stead.
    """
    try:
        endpoint = _endpoint(settings, env, stored_key, detect or detect_local)
    except ConfigError as exc:
        return Found(None, tuple(Problem(problem, AUTH_SET) for problem in exc.problems))
    if endpoint is None:
        return Found(None)
    endpoint = _with_choices(endpoint, settings, env)
    return Found(endpoint, tuple(_doubts(endpoint)))


def detect_local() -> Provider | None:
    """Return the first known model server that answers on this machine as its kind does."""
    return next((each for each in LOCAL if _answers(each)), None)


def _endpoint(
    settings: Llm, env: Mapping[str, str], stored_key: str, detect: Callable[[], Provider | None]
) -> Endpoint | None:
    if settings.command:
        return Endpoint(provider=COMMAND, command=settings.command, key_origin="the program's own")
    given = _given_key(settings, env)
    stored = None if given else key_in_file(stored_key)
    if settings.base_url:
        return _configured(settings.base_url, given, stored, env)
    if key := given or stored:
        return _of_key(key, env)
    return _in_environment(env) or (_local(detect()) if settings.autodetect else None)


def _given_key(settings: Llm, env: Mapping[str, str]) -> Key | None:
    if not settings.api_key_file:
        return credential(env)
    key = key_in_file(settings.api_key_file)
    if key is None:
        raise ConfigError(f"{settings.api_key_file}: there is no such file (llm.api_key_file)")
    return key


def _configured(base_url: str, given: Key | None, stored: Key | None, env: Mapping[str, str]) -> Endpoint:
    """Return the endpoint at *base_url*; a key that looks like another provider's is not sent to it."""
    provider = provider_of(base_url)
    if stored and provider in HOSTED and provider_of_key(stored.secret) not in {provider, None}:
        stored = None
    names = provider.key_names
    if _same_place(env.get("OPENAI_BASE_URL", ""), base_url):
        names = (*names, "OPENAI_API_KEY")
    return _made(provider, base_url, given or stored or key_in_env(names, env))


def _of_key(key: Key, env: Mapping[str, str]) -> Endpoint:
    provider = provider_of_key(key.secret)
    elsewhere = env.get("OPENAI_BASE_URL", "")
    if elsewhere and provider in {None, HOSTED[0]}:
        return _made(provider_of(elsewhere), elsewhere, key)
    if provider is None:
        raise ConfigError(f"{key.origin}: the key does not tell its provider; set llm.base_url")
    return _made(provider, provider.base_url, key)


def _in_environment(env: Mapping[str, str]) -> Endpoint | None:
    """Look for what other programs have been told, in the order of the contract."""
    if elsewhere := env.get("OPENAI_BASE_URL", "").strip():
        key = key_in_env(("OPENAI_API_KEY",), env)
        if key or is_local(elsewhere):
            return _made(provider_of(elsewhere), elsewhere, key)
    for provider in HOSTED:
        if key := key_in_env(provider.key_names, env):
            return _made(provider, provider.base_url, key)
    return None


def _local(provider: Provider | None) -> Endpoint | None:
    return _made(provider, provider.base_url, None) if provider else None


def _made(provider: Provider, base_url: str, key: Key | None) -> Endpoint:
    if key is None:
        return Endpoint(provider=provider, base_url=base_url)
    return Endpoint(provider=provider, base_url=base_url, key=key.secret, key_origin=key.origin)


def _with_choices(endpoint: Endpoint, settings: Llm, env: Mapping[str, str]) -> Endpoint:
    """Add the models, window and limits of *settings*, else of the old names in *env*, else our defaults.

    RLM_AGGREGATOR_MODEL wrote the answers, which root calls do now; RLM_MODEL read the pieces.
    """
    pieces = env.get("RLM_MODEL", "")
    model = settings.model or env.get("RLM_AGGREGATOR_MODEL", "") or pieces or endpoint.provider.model
    if endpoint.command:
        model = model or os.path.basename(endpoint.command[0])
    is_ours = model == endpoint.provider.model
    sub_model = settings.sub_model or pieces or (endpoint.provider.sub_model if is_ours else "") or model
    price = load_prices().find(endpoint.provider.name, model)
    longest = env.get("RLM_MAX_RESULT_TOKENS", "")
    return replace(
        endpoint,
        model=model,
        sub_model=sub_model,
        window_tokens=settings.window_tokens or (price.window_tokens if price else None),
        max_result_tokens=settings.max_result_tokens
        or (int(longest) if longest.isdecimal() else None)
        or None,
        stream=settings.stream,
    )


def _doubts(endpoint: Endpoint) -> Iterable[Problem]:
    if endpoint.provider in HOSTED and not endpoint.key:
        yield Problem(f"There is no key for {endpoint.name}.", AUTH_SET)
    if endpoint.key and endpoint.base_url.startswith("http:") and not is_local(endpoint.base_url):
        yield Problem(f"The key is sent to {endpoint.name} unencrypted.", "Use https in llm.base_url.")


def _same_place(one: str, other: str) -> bool:
    return bool(one) and urlsplit(one).netloc == urlsplit(other).netloc


def _answers(provider: Provider) -> bool:
    """Ask one local server who it is; a stranger on a popular port is not taken for it."""
    port = urlsplit(provider.base_url).port
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PROBE_S)
    with closing(connection), suppress(OSError, ValueError, http.client.HTTPException):
        connection.request("GET", provider.probe)
        response = connection.getresponse()
        body = response.read(MOST_PROBE_BYTES)
        payload: object = json.loads(body)
        known = isinstance(payload, Mapping) and any(name in payload for name in provider.probe_names)
        is_listing = provider.probe.endswith("/models")
        return response.status == http.client.OK and known and (not is_listing or bool(read_models(body)))
    return False
