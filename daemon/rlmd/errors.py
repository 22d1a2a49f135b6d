"""What can go wrong with a request, and what its caller is told.

Each class is one code of the public error table.  A `RequestError` is the request's fault or the
world's, never a bug: the actor that raises it lives on, and the text reaches the agent as it is.
"""

from __future__ import annotations

from typing import ClassVar


class ConfigError(Exception):
    """The set-up is wrong, a setting or a place; `problems` has every mistake, a line each.

    Commands end with exit code 78.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class RequestError(Exception):
    """A request cannot be answered; say *what happened* and, as *hint*, what to do next."""

    code: ClassVar[str] = "internal"
    retryable: bool = False

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class BadArgument(RequestError):
    """An argument is missing, unknown, of the wrong type or out of range."""

    code = "bad_argument"


class NotFound(RequestError):
    """No such path or key; the hint names the nearest that exist."""

    code = "not_found"


class OutsideRoots(RequestError):
    """A path resolves outside what this session may read; the hint names the setting."""

    code = "outside_roots"


class TooLarge(RequestError):
    """A root holds more files or bytes than the limits allow; the hint names where they lie."""

    code = "too_large"


class Busy(RequestError):
    """A bound is reached for now: a queue, a disk, a memory ceiling."""

    code = "busy"
    retryable = True


class NoLlm(RequestError):
    """The mode needs a model and none is configured."""

    code = "no_llm"


class LlmUnavailable(RequestError):
    """The model did not give an answer that can be used; the message has its provider's own words."""

    code = "llm_unavailable"


class VersionConflict(RequestError):
    """A compare-and-set lost; the message names the version that stands."""

    code = "version_conflict"


class JobCancelled(RequestError):
    """The analysis was cancelled before it had an answer."""

    code = "cancelled"
    retryable = True


class SandboxUnavailable(RequestError):
    """Code cannot be confined here, so it is not run; the message says which lock does not hold."""

    code = "sandbox_unavailable"


class BudgetExhausted(RequestError):
    """What the question may cost does not suffice for any answer; nothing was answered yet."""

    code = "budget_exhausted"
