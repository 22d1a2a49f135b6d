"""What one look at something found out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "broken", "unchecked"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report: what was looked at, how it is, and the command or setting that mends it."""

    name: str
    state: State
    what: str
    fix: str = ""


def ok(name: str, what: str) -> Finding:
    """Say that it is as it should be."""
    return Finding(name, "ok", what)


def warning(name: str, what: str, fix: str) -> Finding:
    """Say what works less well than it could."""
    return Finding(name, "warning", what, fix)


def broken(name: str, what: str, fix: str) -> Finding:
    """Say what does not work."""
    return Finding(name, "broken", what, fix)


def unchecked(name: str, what: str, fix: str = "") -> Finding:
    """Say what nobody looked at, and why; *fix* is how to have it looked at."""
    return Finding(name, "unchecked", what, fix)
