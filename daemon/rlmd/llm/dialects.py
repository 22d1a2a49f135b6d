"""How servers say that something went wrong, each in a dialect of its own.  Pure.

A failure is judged by what its body says first, its status second: servers send overflow as 400,
413 or 200, exhausted credit as 429 or 402, and errors of any kind under a 200.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from rlmd.llm.headers import Headers, asked_in_words_s, duration_s, rate_info, retry_after_s
from rlmd.llm.values import FailureKind, UpstreamError

MESSAGE_CHARS = 500

_OVERFLOW_CODES = {"context_length_exceeded", "exceed_context_size_error", "request_too_large"}
_OVERFLOW = re.compile(
    r"maximum context length|context[ _-](?:length|size|window)|prompt is too long"
    r"|tokens? to keep from the initial|input (?:token count|is too long)"
    r"|exceeds? the (?:maximum|available) (?:number of )?(?:input )?(?:tokens|context)"
    r"|too many (?:input )?tokens|request too large",
    re.IGNORECASE,
)
_WINDOW = re.compile(
    r"(?:maximum context length (?:is|of)|context (?:length|size|window)(?: is| of|:)? ?(?:only )?"
    r"|maximum number of (?:input )?tokens allowed|tokens? ?>|model's limit of|n_ctx[\"']?[:=])"
    r"\W{0,3}(\d[\d,_]{2,})",
    re.IGNORECASE,
)
_QUOTA = re.compile(
    r"insufficient[_ ](?:quota|credit|balance|funds)|exceeded your current quota|credit balance"
    r"|out of credits|requires more credits|billing",
    re.IGNORECASE,
)
_AUTH = re.compile(
    r"api[ _-]?key (?:not valid|is invalid|not found|expired)|api_key_invalid"
    r"|(?:invalid|incorrect|missing|no) (?:x-)?api[ _-]?key"
    r"|unauthorized|authentication|no auth credentials|not logged in|run /login",
    re.IGNORECASE,
)
_NO_MODEL = re.compile(
    r"model_not_found|not a valid model|no such model|unknown model|no endpoints found"
    r"|models?\W.{0,120}?(?:does not exist|not found|is not (?:available|supported|loaded))",
    re.IGNORECASE | re.DOTALL,
)
_FILTERED = re.compile(
    r"content[_ ](?:filter|policy|management)|flagged|moderation|\bsafety\b|prohibited_content", re.IGNORECASE
)
_TOO_LARGE = re.compile(r"request too large", re.IGNORECASE)
"""A request over the limit of a whole minute never fits, though it is refused as one of too many."""
_BUSY = re.compile(r"rate[_ ]?limit|too many requests|resource[_ ]exhausted", re.IGNORECASE)
_OVERLOADED = re.compile(r"overloaded|capacity|loading model", re.IGNORECASE)
_TAGS = re.compile(r"<(script|style)\b.*?</\1>|<[^>]*>", re.DOTALL | re.IGNORECASE)

_OF_STATUS: Mapping[int, FailureKind] = {
    401: "auth",
    402: "quota",
    403: "auth",
    404: "not_found",
    408: "timeout",
    409: "server",
    413: "overflow",
    429: "rate_limited",
    504: "timeout",
    524: "timeout",
}
_FIRST_REDIRECT, _FIRST_REFUSAL, _FIRST_FAULT = 300, 400, 500
_OVERLOADED_STATUS = 529


@dataclass(frozen=True, slots=True)
class Complaint:
    """An error as a server worded it: `tokens` are its type and codes, `wait_s` what its body asks for."""

    message: str
    tokens: str = ""
    code: int | None = None
    window_tokens: int | None = None
    wait_s: float | None = None


def complaint_of(payload: object) -> Complaint | None:
    """Return the error that *payload* carries, None where it carries none.

    Knows `{"error": {…}}`, `{"error": "text"}`, a list of either, `{"detail": …}`, and objects that
    call themselves an error.
    """
    match payload:
        case [first, *_]:
            return complaint_of(first)
        case {"error": str(message)} if message:
            return Complaint(message)
        case {"error": {**error}} if error:
            return _complaint(error)
        case {"detail": detail, **rest} if detail and "choices" not in rest:
            return Complaint(detail if isinstance(detail, str) else json.dumps(detail))
        case {"object": "error", **error} | {"type": "error", **error}:
            return _complaint(error)
    return None


def refusal(status: int, headers: Headers, body: bytes, *, now: float) -> UpstreamError:
    """Return what an answer with an error *status* means; *now* is seconds since 1970."""
    text = body.decode("utf-8", "replace")
    try:
        payload: object = json.loads(text)
    except ValueError:
        payload = None
    complaint = complaint_of(payload) or Complaint(_bare_words(payload, text))
    if _FIRST_REDIRECT <= status < _FIRST_REFUSAL:
        where = headers.get("location", "elsewhere")
        return UpstreamError(
            "bad_request",
            f"The server redirects to {where}.",
            hint="Set llm.base_url to the address it redirects to, if you trust it.",
            status=status,
        )
    return judge(complaint, status=status, headers=headers, now=now)


def judge(complaint: Complaint, *, status: int | None, headers: Headers, now: float) -> UpstreamError:
    """Return our error for *complaint*; without an error *status* the body's own code stands in for it."""
    if status is None or status < _FIRST_REFUSAL:
        status = complaint.code
    wait_s = retry_after_s(headers, now=now)
    if wait_s is None:
        wait_s = complaint.wait_s if complaint.wait_s is not None else asked_in_words_s(complaint.message)
    words = f"{complaint.tokens} {complaint.message}"
    kind = _kind(words, complaint, status, waits=wait_s is not None)
    if status is None and _OVERLOADED.search(words):
        status = _OVERLOADED_STATUS
    return UpstreamError(
        kind,
        _said(complaint.message, status),
        retry_after_s=wait_s if kind in {"rate_limited", "server", "timeout"} else None,
        status=status,
        window_tokens=complaint.window_tokens or _window(complaint.message) if kind == "overflow" else None,
        rates=rate_info(headers, now=now),
    )


def _kind(words: str, complaint: Complaint, status: int | None, *, waits: bool) -> FailureKind:
    refused = status is None or _FIRST_REFUSAL <= status < _FIRST_FAULT
    limited = status == 429 or (status is None and _BUSY.search(words) is not None)  # noqa: PLR2004  # its name
    if limited:
        if _TOO_LARGE.search(words):
            return "overflow"
        # Gemini words every limit as a quota; one that comes back by itself is a rate.
        return "quota" if _QUOTA.search(words) and not waits else "rate_limited"
    if not refused:
        is_overflow = _OVERFLOW_CODES & set(complaint.tokens.split()) or _OVERFLOW.search(words)
        return "overflow" if is_overflow else _OF_STATUS.get(status or 0, "server")
    if _OVERFLOW_CODES & set(complaint.tokens.split()) or _OVERFLOW.search(words):
        return "overflow"
    for kind, pattern in _BY_WORDS:
        if pattern.search(words):
            return kind
    return _OF_STATUS.get(status, "bad_request") if status is not None else "server"


_BY_WORDS: tuple[tuple[FailureKind, re.Pattern[str]], ...] = (
    ("quota", _QUOTA),
    ("not_found", _NO_MODEL),
    ("auth", _AUTH),
    ("filtered", _FILTERED),
)


def _complaint(error: Mapping[object, object]) -> Complaint:
    metadata = error.get("metadata")
    inner = metadata if isinstance(metadata, Mapping) else {}
    message = _text(error.get("message")) or json.dumps(error)
    if raw := _text(inner.get("raw")):
        message = f"{message}: {raw}"
    names = (error.get("type"), error.get("code"), error.get("status"), inner.get("error_type"))
    details = error.get("details")
    tokens = [str(name) for name in names if isinstance(name, str)]
    tokens += [_text(each.get("reason")) for each in _mappings(details)]
    code = error.get("code")
    n_ctx = error.get("n_ctx")
    return Complaint(
        message,
        " ".join(filter(None, tokens)),
        code=_status(code),
        window_tokens=n_ctx if isinstance(n_ctx, int) and n_ctx > 0 else None,
        wait_s=next(
            filter(None, (duration_s(_text(each.get("retryDelay"))) for each in _mappings(details))), None
        ),
    )


def _status(code: object) -> int | None:
    if isinstance(code, str) and code.isascii() and code.isdecimal():
        code = int(code)
    return code if isinstance(code, int) and _FIRST_REFUSAL <= code < _FIRST_FAULT + 100 else None


def _mappings(value: object) -> list[Mapping[object, object]]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _bare_words(payload: object, text: str) -> str:
    """Return the words of a body that is no known error: its message, or a page without its tags."""
    if isinstance(payload, Mapping) and (message := _text(payload.get("message"))):
        return message
    return " ".join(_TAGS.sub(" ", text).split())


def _said(message: str, status: int | None) -> str:
    words = " ".join(message.split()) or "The server gave no reason."
    words = words if len(words) <= MESSAGE_CHARS else f"{words[: MESSAGE_CHARS - 1]}…"
    return f"{status}: {words}" if status else words


def _window(message: str) -> int | None:
    found = _WINDOW.search(message)
    return int(re.sub(r"\D", "", found[1])) if found else None
