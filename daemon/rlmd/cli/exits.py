"""Exit codes: what each failure means to a shell."""

from __future__ import annotations

import os

FOUND_NOTHING = 1
"""The question failed or found nothing; for `doctor`, something is broken."""
USAGE = 2
INTERRUPTED = 130

_OF_ERRORS = {
    "bad_argument": USAGE,
    "outside_roots": os.EX_NOPERM,
    "too_large": os.EX_DATAERR,
    "busy": os.EX_TEMPFAIL,
    "llm_unavailable": os.EX_TEMPFAIL,
    "no_llm": os.EX_CONFIG,
    "internal": os.EX_SOFTWARE,
}


def of_error(code: str) -> int:
    """Return the exit code of a tool's error *code*; one that is listed nowhere has failed the question."""
    return _OF_ERRORS.get(code, FOUND_NOTHING)
