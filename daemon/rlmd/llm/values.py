"""What a model is asked, what it answers, and every way in which it fails to."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple, Protocol

from rlmd.errors import LlmUnavailable

Role = Literal["system", "user", "assistant"]
FailureKind = Literal[
    "rate_limited",
    "quota",
    "auth",
    "not_found",
    "bad_request",
    "overflow",
    "server",
    "timeout",
    "connect",
    "filtered",
    "truncated",
    "empty",
    "malformed",
    "open",
]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat:
    """One model call, whole: two equal chats to one endpoint may share one answer.

    `model` is a resolved name, never empty; None leaves a choice to the provider.  `json_schema` is
    the canonical JSON text of a schema for a typed answer.  The first `cache_prefix` messages are
    the same in many calls, which providers with prompt caches like to know.
    """

    messages: tuple[Message, ...]
    model: str
    max_tokens: int | None = None
    temperature: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    json_schema: str | None = None
    cache_prefix: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Usage:
    """What a call was counted for; `cached_tokens` are part of `tokens_in`, `usd` is None where unknown."""

    tokens_in: int = 0
    tokens_out: int = 0
    cached_tokens: int = 0
    usd: float | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole, usable answer.

    `cached` says that this asker pays nothing for it: it was stored, or another asker's call brought it.
    """

    text: str
    finish_reason: str
    usage: Usage
    model: str
    cached: bool = False


def free(reply: Reply) -> Reply:
    """Return *reply* as one that nobody is charged for again."""
    return replace(reply, cached=True, usage=Usage(usd=0.0))


@dataclass(frozen=True, slots=True)
class Allowance:
    """One limit as a server tells it, each part None where it does not.

    `limit` and `remaining` are units of the limit's own period; `reset_s` seconds from now all of it is back.
    """

    limit: int | None = None
    remaining: int | None = None
    reset_s: float | None = None


@dataclass(frozen=True, slots=True)
class RateInfo:
    """What the headers of a reply say about the limits on requests and on tokens."""

    requests: Allowance = Allowance()
    tokens: Allowance = Allowance()


class _Nature(NamedTuple):
    retryable: bool
    is_fault: bool
    is_congestion: bool
    hint: str


_AGAIN = "Try again later; `rlmd status` shows the endpoint's state."
_NATURES: dict[FailureKind, _Nature] = {
    "rate_limited": _Nature(True, False, True, _AGAIN),
    "quota": _Nature(False, False, False, "Add credit with the provider, or set another key: rlmd auth set."),
    "auth": _Nature(False, False, False, "Set a key that is valid: rlmd auth set."),
    "not_found": _Nature(False, False, False, "Set llm.model to a model that this endpoint has."),
    "bad_request": _Nature(False, False, False, "The request will not be accepted as it is."),
    "overflow": _Nature(False, False, False, "Ask about less content at once, or use a larger window."),
    "server": _Nature(True, True, False, _AGAIN),
    "timeout": _Nature(True, True, True, _AGAIN),
    "connect": _Nature(True, True, False, "Check that the server runs and llm.base_url leads to it."),
    "filtered": _Nature(False, False, False, "The provider's filter refused; ask differently."),
    "truncated": _Nature(False, False, False, "Allow more tokens, or ask for a shorter answer."),
    "empty": _Nature(False, False, False, "Ask differently, or use another model."),
    "malformed": _Nature(True, True, False, "Check that llm.base_url is an OpenAI-compatible server."),
    "open": _Nature(False, False, False, _AGAIN),
}
_REFUSED = range(400, 500)
_OVERLOADED = (503, 529)


class UpstreamError(LlmUnavailable):
    """A call brought no usable answer; `kind` says how, `message` says it in the provider's words.

    `retryable`: the same call may do better later.  `is_fault`: the endpoint is at fault, which the
    breaker counts; a 4xx never is.  `is_congestion`: it was asked for too much at once.  `usage` is
    what a useless answer was still counted for; `window_tokens` the model's window, where it was told.
    """

    def __init__(
        self,
        kind: FailureKind,
        message: str,
        *,
        hint: str = "",
        retry_after_s: float | None = None,
        status: int | None = None,
        window_tokens: int | None = None,
        usage: Usage | None = None,
        rates: RateInfo | None = None,
    ) -> None:
        nature = _NATURES[kind]
        super().__init__(message, hint or nature.hint)
        self.kind = kind
        self.retry_after_s = retry_after_s
        self.status = status
        self.window_tokens = window_tokens
        self.usage = usage
        self.rates = rates
        self.retryable = nature.retryable
        self.is_fault = nature.is_fault and status not in _REFUSED
        self.is_congestion = nature.is_congestion or status in _OVERLOADED


class Upstream(Protocol):
    """Whoever answers one call: a server, a program, a script."""

    @property
    def name(self) -> str:
        """The endpoint as status shows it; it holds no secret, and two endpoints never share one."""
        ...

    async def complete(self, chat: Chat) -> tuple[Reply, RateInfo]:
        """Answer *chat* once, without trying again, or raise UpstreamError.

        Cancelling ends the call at its far end too.  Sets no deadline over the whole call.
        """
        ...

    async def aclose(self) -> None:
        """Give back what the calls used; nobody calls `complete` any more."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A request to the llm_caller, answered with a `Reply`.

    `job` is whose fair share it draws on; `interactive` calls go before the others.  A reply is
    shared only inside one `project`; without `use_cache` it is neither looked up, joined nor kept.
    """

    chat: Chat
    job: str
    interactive: bool
    project: str
    use_cache: bool = True
