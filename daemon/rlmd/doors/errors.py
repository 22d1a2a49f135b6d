"""The error table: how each failure of a call reads to the agent that made it."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

import structlog

from rlmd.errors import Busy, RequestError
from rlmd.supervision import ActorCrashed, ActorStopped

log = structlog.get_logger(__name__)

MOST_CHARS = 2_000


@dataclass(frozen=True, slots=True)
class Failure:
    """One row of the public error table, with what happened and what to do next."""

    code: str
    message: str
    retryable: bool
    hint: str

    @property
    def text(self) -> str:
        """`CODE: what happened. What to do next.`."""
        told = f"{self.code}: {_sentence(self.message)} {_sentence(self.hint)}".strip()
        return told if len(told) <= MOST_CHARS else f"{told[: MOST_CHARS - 1]}…"


def explain(exc: Exception) -> Failure:
    """Turn what a call raised into what its caller is told; log what is nobody's fault but ours."""
    match exc:
        case RequestError():
            return Failure(exc.code, exc.message, exc.retryable, exc.hint)
        case ActorStopped():
            return Failure(
                Busy.code, "the daemon is shutting down", retryable=True, hint="Ask again in a moment."
            )
        case _:
            error_id = secrets.token_hex(4)
            log.error("request.crashed", error_id=error_id, exc_info=exc)
            return Failure(
                RequestError.code,
                f"something broke inside the daemon (id {error_id})",
                retryable=isinstance(exc, ActorCrashed),
                hint=f"Its log says more: look for {error_id}.",
            )


def _sentence(text: str) -> str:
    text = text.strip()
    return text if not text or text[-1] in ".!?…" else f"{text}."
