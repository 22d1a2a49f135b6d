"""Requests and replies of OpenAI-compatible servers as JSON.  Pure.

A reply counts only when it is whole: what is empty, cut off, filtered or an error under a 200 is
raised as the error that it is, with what it was counted for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from rlmd.llm.dialects import Complaint, complaint_of, judge
from rlmd.llm.headers import Headers, rate_info
from rlmd.llm.providers import Provider
from rlmd.llm.values import Chat, Message, Reply, UpstreamError, Usage

CHARS_PER_TOKEN = 4
LOST_TOKENS = 1_000
"""Prompts come back counted a little differently; half of one, and this many tokens, never do."""

_PIECES = re.compile(r"\w+|[^\w\s]+")
_FILTER_REASONS = {"content_filter", "safety", "recitation", "blocklist", "prohibited_content", "refusal"}
_CUT_REASONS = {"length", "max_tokens", "max_output_tokens"}
_WINDOW_NAMES = (
    "loaded_context_length",
    "max_model_len",
    "context_length",
    "context_window",
    "max_context_length",
    "max_input_tokens",
    "n_ctx",
)


class ServedModel(NamedTuple):
    """A model that a server offers; `window_tokens` is None where it does not say."""

    id: str
    window_tokens: int | None


def request_body(chat: Chat, provider: Provider, *, stream: bool = False) -> dict[str, object]:
    """Return the JSON object that asks *provider* for *chat*; equal chats make equal bodies."""
    body: dict[str, object] = {"model": chat.model, "messages": _messages(chat, provider)}
    if chat.max_tokens is not None:
        body[provider.max_tokens_name] = chat.max_tokens
    if chat.temperature is not None:
        body["temperature"] = chat.temperature
    if chat.seed is not None:
        body["seed"] = chat.seed
    if chat.stop:
        body["stop"] = list(chat.stop)
    if chat.json_schema is not None:
        named = {"name": "answer", "schema": json.loads(chat.json_schema)}
        body["response_format"] = {"type": "json_schema", "json_schema": named}
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return body


def _messages(chat: Chat, provider: Provider) -> list[dict[str, object]]:
    last = chat.cache_prefix - 1 if provider.takes_cache_control else -1
    return [_message(each, marked=place == last) for place, each in enumerate(chat.messages)]


def _message(message: Message, *, marked: bool) -> dict[str, object]:
    """Return one turn; *marked* ends the prefix that the provider is to keep."""
    if not marked:
        return {"role": message.role, "content": message.content}
    part = {"type": "text", "text": message.content, "cache_control": {"type": "ephemeral"}}
    return {"role": message.role, "content": [part]}


def read_reply(body: bytes, chat: Chat, headers: Headers, *, now: float) -> Reply:
    """Return the reply in *body*, JSON or events; `usage.usd` is what the provider itself charged.

    Raises UpstreamError for everything that is no whole answer to *chat*: a prompt that the server
    silently cut to its window, too.
    """
    payload = _parse(body, headers, now)
    if (complaint := complaint_of(payload)) is not None:
        raise judge(complaint, status=None, headers=headers, now=now)
    if not isinstance(payload, Mapping):
        raise _malformed("JSON that is no object")
    usage = _usage(payload)
    choices = payload.get("choices")
    if not isinstance(choices, list) or not all(isinstance(choice, Mapping) for choice in choices):
        raise _malformed("a reply without choices")
    try:
        text, reason = _chosen(choices, headers, now)
    except UpstreamError as exc:
        exc.usage, exc.rates = usage, rate_info(headers, now=now)
        raise
    lost = lost_tokens(chat, usage)
    if lost:
        raise UpstreamError(
            "overflow",
            f"The server read only {usage.tokens_in:,} tokens of the prompt and dropped some {lost:,}.",
            hint="Give the model a larger window on the server, or ask about less content at once.",
            window_tokens=usage.tokens_in,
            usage=usage,
        )
    return Reply(text, reason, usage, _text(payload.get("model")) or chat.model)


def lost_tokens(chat: Chat, usage: Usage) -> int:
    """Return how many prompt tokens the server cannot have read, 0 where it may have read them all.

    Sure of itself on purpose: the prompt is taken for the smaller of a quarter of its characters and
    of its words and signs, and servers that count nothing are believed.
    """
    read = usage.tokens_in
    chars = sum(len(message.content) for message in chat.messages)
    if not read or read * 2 >= chars // CHARS_PER_TOKEN or chars // CHARS_PER_TOKEN - read <= LOST_TOKENS:
        return 0
    pieces = sum(sum(1 for _ in _PIECES.finditer(message.content)) for message in chat.messages)
    ours = min(chars // CHARS_PER_TOKEN, pieces)
    return ours - read if read * 2 < ours and ours - read > LOST_TOKENS else 0


def read_models(body: bytes) -> tuple[ServedModel, ...]:
    """Return the models that a listing names, in its order; nothing where it is no listing."""
    try:
        payload: object = json.loads(body)
    except ValueError:
        return ()
    listed = payload.get("data", payload.get("models")) if isinstance(payload, Mapping) else payload
    return tuple(_models(listed)) if isinstance(listed, list) else ()


def read_window(body: bytes, model: str) -> int | None:
    """Return the window that a local server says *model* runs with, None where it does not."""
    try:
        payload: object = json.loads(body)
    except ValueError:
        return None
    if isinstance(payload, Mapping) and isinstance(
        slot := payload.get("default_generation_settings"), Mapping
    ):
        return _count(slot.get("n_ctx")) or None
    return next((each.window_tokens for each in read_models(body) if each.id == model), None)


def _models(listed: list[object]) -> Iterator[ServedModel]:
    for each in listed:
        if isinstance(each, Mapping) and (name := _text(each.get("id")) or _text(each.get("name"))):
            meta = each.get("meta")
            places = [each, *([meta] if isinstance(meta, Mapping) else [])]
            sizes = [_count(place.get(name)) for name in _WINDOW_NAMES for place in places]
            yield ServedModel(name.removeprefix("models/"), next(filter(None, sizes), None))


def _chosen(choices: list[Mapping[str, object]], headers: Headers, now: float) -> tuple[str, str]:
    """Return text and finish reason of the first choice, or raise what keeps it from being an answer."""
    if not choices:
        raise UpstreamError("empty", "The reply has no choices.")
    choice = choices[0]
    message = choice.get("message")
    said: Mapping[str, object] = message if isinstance(message, Mapping) else {}
    text, reason = _content(said.get("content")), _text(choice.get("finish_reason")).lower()
    if (complaint := complaint_of({"error": choice.get("error")})) or reason == "error":
        raise judge(complaint or Complaint("the generation failed"), status=None, headers=headers, now=now)
    if reason in _FILTER_REASONS or (not text and said.get("refusal")):
        raise UpstreamError("filtered", _text(said.get("refusal")) or f"The reply was stopped: {reason}.")
    if reason in _CUT_REASONS:
        raise UpstreamError(
            "truncated", f"The reply was cut off at its limit after {len(text):,} characters."
        )
    if not text.strip():
        raise UpstreamError("empty", f"The reply has no text (finish_reason {reason or 'none'}).")
    return text, reason or "stop"


def _content(content: object) -> str:
    if isinstance(content, list):
        return "".join(_text(part.get("text")) for part in content if isinstance(part, Mapping))
    return _text(content)


def _usage(payload: Mapping[str, object]) -> Usage:
    usage = payload.get("usage")
    if not isinstance(usage, Mapping):
        return Usage()
    details = usage.get("prompt_tokens_details")
    cached = (
        details.get("cached_tokens") if isinstance(details, Mapping) else usage.get("prompt_cache_hit_tokens")
    )
    cost = usage.get("cost")
    return Usage(
        _count(usage.get("prompt_tokens")),
        _count(usage.get("completion_tokens")),
        _count(cached),
        float(cost) if isinstance(cost, int | float) and cost >= 0 else None,
    )


def _parse(body: bytes, headers: Headers, now: float) -> object:
    """Return the JSON of *body*; an event stream as the one reply that its pieces make."""
    text = body.decode("utf-8", "replace").strip()
    if text.startswith(("data:", "event:", ":")):
        return _join(_events(text), headers, now)
    try:
        return json.loads(text)
    except ValueError:
        raise _malformed("no JSON" if text else "an empty body") from None


def _events(text: str) -> Iterator[object]:
    """Yield the data of each event; comments, which keep connections alive, say nothing."""
    for block in re.split(r"\r?\n\r?\n", text):
        lines = [line.strip("\r") for line in block.split("\n")]
        data = "\n".join(line[5:].lstrip() for line in lines if line.startswith("data:"))
        if not data:
            continue
        if data == "[DONE]":
            yield None
            return
        try:
            event: object = json.loads(data)
        except ValueError:
            raise _malformed("an event that is no JSON") from None
        # Some servers name the event an error and send its bare words as data.
        is_error = any(line.replace(" ", "") == "event:error" for line in lines)
        yield {"error": event} if is_error and complaint_of(event) is None else event


def _join(events: Iterator[object], headers: Headers, now: float) -> object:
    """Put the pieces of a stream together; raise for an error among them, or an end before the end."""
    text: list[str] = []
    choice: dict[str, object] = {}
    reply: dict[str, object] = {}
    whole = False
    for event in events:
        if event is None:
            whole = True
            break
        if (complaint := complaint_of(event)) is not None:
            raise judge(complaint, status=None, headers=headers, now=now)
        if not isinstance(event, Mapping):
            raise _malformed("an event that is no object")
        reply |= {name: event[name] for name in ("model", "usage") if event.get(name)}
        for piece in event.get("choices") or ():
            delta = piece.get("delta") or piece.get("message") or {}
            text.append(_content(delta.get("content")))
            choice |= {name: piece[name] for name in ("finish_reason", "error") if piece.get(name)}
            whole = whole or bool(piece.get("finish_reason"))
    if not whole:
        raise UpstreamError("connect", "The stream ended before the reply did.")
    return {**reply, "choices": [{**choice, "message": {"content": "".join(text)}}] if text or choice else []}


def _malformed(what: str) -> UpstreamError:
    return UpstreamError("malformed", f"The server answered with {what}.")


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
