"""`rlmd doctor llm`: find the model endpoint as a daemon would, make one tiny call, say what there is."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rlmd import paths
from rlmd.cli import exits

if TYPE_CHECKING:
    from rlmd.llm.discover import Found
    from rlmd.llm.providers import Endpoint
    from rlmd.llm.upstream import HttpUpstream
    from rlmd.llm.values import Allowance, RateInfo, Reply

# ruff: noqa: PLC0415  # a command's imports wait until it runs

CALL_S = 60.0
QUESTION = "Reply with the single word: ok"
NAMED_MODELS = 8
NOTHING = (
    "no model: set llm.base_url, or a key (rlmd auth set), or OPENAI_API_KEY, OPENROUTER_API_KEY, "
    "ANTHROPIC_API_KEY or GEMINI_API_KEY in the daemon's environment, or llm.autodetect = true"
)


def doctor_llm(*, as_json: bool, config: str | None = None, overrides: Sequence[str] = ()) -> int:
    """Print the endpoint, whose key it gets, its models and limits, and what a call brought.

    Exit codes: 0 it answers, 75 it does not, 78 there is none.
    """
    from rlmd.config import load
    from rlmd.llm.discover import discover

    loaded = load(paths.config_files(), file=config, env=os.environ, overrides=overrides)
    found = discover(loaded.config.llm, env=os.environ, stored_key=paths.key_file())
    facts, code = _examine(found)
    facts["problems"] = [{"what": each.what, "fix": each.fix} for each in found.problems]
    print(json.dumps(facts, ensure_ascii=False) if as_json else as_text(facts))
    return code


def as_text(facts: dict[str, object]) -> str:
    """Write the facts for a person, a line each; those that nobody knows are left out."""
    lines = [f"{name:<9} {value}" for name, value in facts.items() if name != "problems" and value]
    problems = facts.get("problems")
    for each in problems if isinstance(problems, list) else []:
        lines += [f"problem   {each['what']}", f"          {each['fix']}"]
    return "\n".join(lines)


def _examine(found: Found) -> tuple[dict[str, object], int]:
    import trio

    if found.endpoint is None:
        return {"endpoint": NOTHING}, os.EX_CONFIG
    facts: dict[str, object] = {
        "endpoint": f"{found.endpoint.name} ({found.endpoint.provider.name})",
        "key": _key(found.endpoint),
    }
    return trio.run(_call, found.endpoint, facts)


async def _call(endpoint: Endpoint, facts: dict[str, object]) -> tuple[dict[str, object], int]:
    """Ask for the models, then for one word; add to *facts* what came of it."""
    import trio

    from rlmd.llm.upstream import HttpUpstream, open_upstream
    from rlmd.llm.values import Chat, Message, UpstreamError

    upstream = open_upstream(endpoint)
    try:
        with trio.fail_after(CALL_S):
            if isinstance(upstream, HttpUpstream):
                await _add_models(upstream, facts)
            endpoint = await upstream.settle()
            facts["model"] = f"{endpoint.model}; sub-calls: {endpoint.sub_model}"
            facts["window"] = f"{endpoint.window_tokens:,} tokens" if endpoint.window_tokens else "unknown"
            began = trio.current_time()
            reply, rates = await upstream.complete(
                Chat(messages=(Message("user", QUESTION),), model=endpoint.model)
            )
            facts["call"] = _told(reply, trio.current_time() - began)
            facts["limits"] = _limits(rates)
    except UpstreamError as error:
        facts["call"] = f"failed: {error.message} {error.hint}".strip()
        return facts, exits.of_error(error.code)
    except trio.TooSlowError:
        facts["call"] = f"failed: no answer within {CALL_S:.0f} s"
        return facts, os.EX_TEMPFAIL
    finally:
        await upstream.aclose()
    return facts, 0


async def _add_models(upstream: HttpUpstream, facts: dict[str, object]) -> None:
    from rlmd.llm.values import UpstreamError

    try:
        names = [each.id for each in await upstream.models()]
    except UpstreamError as error:
        facts["models"] = f"no listing: {error.message}"
        return
    wanted = upstream.endpoint.model
    here = "" if not wanted or wanted in names else f"; {wanted} is not among them"
    more = ", …" if len(names) > NAMED_MODELS else ""
    facts["models"] = f"{len(names)}: {', '.join(names[:NAMED_MODELS])}{more}{here}"


def _key(endpoint: Endpoint) -> str:
    """Say where the key came from; a daemon of systemd does not see the environment of this shell."""
    if endpoint.key_origin.startswith("environment"):
        return f"{endpoint.key_origin} of this shell; for every daemon: rlmd auth set"
    return endpoint.key_origin


def _told(reply: Reply, took_s: float) -> str:
    usage = reply.usage
    cost = "cost unknown" if usage.usd is None else f"${usage.usd:.6f}"
    return (
        f'"{reply.text[:60]}" in {took_s:.2f} s, {usage.tokens_in} tokens in, {usage.tokens_out} out, {cost}'
    )


def _limits(rates: RateInfo) -> str:
    told = [_allowance(name, each) for name, each in (("requests", rates.requests), ("tokens", rates.tokens))]
    return ", ".join(filter(None, told)) or "the server tells none"


def _allowance(name: str, allowance: Allowance) -> str:
    if allowance.limit is None and allowance.remaining is None:
        return ""
    limit = "?" if allowance.limit is None else f"{allowance.limit:,}"
    left = "" if allowance.remaining is None else f" ({allowance.remaining:,} left)"
    return f"{name} {limit}{left}"
