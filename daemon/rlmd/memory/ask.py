"""What is asked of memory and what comes back; which questions make no sense; where a page ended."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import itertools
import json
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal

from rlmd.errors import BadArgument
from rlmd.memory.anchor import Anchor
from rlmd.memory.entry import AnchorFacts, State, require_tags
from rlmd.memory.words import require_text

MAX_LIMIT = 200
MAX_VALUE_CHARS = 100_000
_MAX_CURSOR_CHARS = 100_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

When = str | float


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall:
    """Which memories to return; every condition that is given holds.

    `project` "*" means all.  `since` and `until` bound the time a version was stored, both inclusive:
    seconds since 1970, or ISO 8601 (UTC where it names no zone; a day alone is that whole day).
    With `query` the best match comes first; with `key` or `prefix` they come in order of keys; else
    the newest version first.  `history` returns every version of `key`, newest first, and nothing
    but `key` and `project` counts then.
    """

    project: str
    key: str | None = None
    prefix: str | None = None
    query: str | None = None
    tags: tuple[str, ...] = ()
    match: Literal["any", "all"] = "any"
    not_tags: tuple[str, ...] = ()
    since: When | None = None
    until: When | None = None
    kind: str | None = None
    limit: int = 10
    cursor: str | None = None
    value_chars: int = 2_000
    history: bool = False


@dataclass(frozen=True, slots=True)
class Item:
    """One memory as it stands, or one version of it; `value` ends in a mark where it was cut.

    A superseded memory comes back only to whoever asks for its key; a forgotten one, without a
    value, only among the versions of its history.

    `score` ranks within one question only: higher is better, 0.0 for a match by words so common
    that they rank nothing, and 1.0 where nothing was ranked.
    """

    key: str
    value: str
    tags: tuple[str, ...]
    project: str
    version: int
    stored_at: str
    score: float
    status: str = "unanchored"
    anchors: tuple[AnchorFacts, ...] = ()
    superseded_by: str | None = None
    state: State = "live"


@dataclass(frozen=True, slots=True)
class Page:
    """What the file says, before anybody looked at the code: `anchors` are those of each item."""

    items: tuple[Item, ...] = ()
    anchors: tuple[tuple[Anchor, ...], ...] = ()
    next_cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Recalled:
    """One page; `next_cursor` is None on the last."""

    items: tuple[Item, ...]
    next_cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page ended, in terms that later writes do not move.

    `mark` is the last write that the first page could see.  Then, by the order of the question: the
    `key` and id returned last, the `seq` returned last, or the ids of all `shown` so far.
    """

    mark: int
    key: str = ""
    id: int = 0
    seq: int = 0
    shown: tuple[int, ...] = ()

    def cursor(self, request: Recall) -> str:
        """Write the place down for whoever asks *request* again."""
        steps = [after - before for before, after in itertools.pairwise((0, *self.shown))]
        fields = [_digest(request), self.mark, self.key, self.id, self.seq, steps]
        text = json.dumps(fields, separators=(",", ":"))
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def place_of(request: Recall) -> Place | None:
    """Read the request's cursor; None without one.  Raises BadArgument for one of another question."""
    if request.cursor is None:
        return None
    fields: object = None
    if len(request.cursor) <= _MAX_CURSOR_CHARS:
        with contextlib.suppress(ValueError, RecursionError):
            fields = json.loads(base64.urlsafe_b64decode(request.cursor + "=="))
    match fields:
        case [str(digest), int(mark), str(key), int(id_), int(seq), list(shown)] if digest == _digest(
            request
        ):
            steps = [step for step in shown if isinstance(step, int)]
            return Place(mark, key, id_, seq, tuple(itertools.accumulate(steps)))
        case _:
            raise BadArgument("`cursor` does not continue this question.", "Ask again without it.")


def require_askable(request: Recall) -> None:
    """Raise BadArgument for a question that cannot be asked."""
    require_text("project", request.project, most=4_096)
    for name, text, most in (
        ("key", request.key, 256),
        ("prefix", request.prefix, 256),
        ("query", request.query, 10_000),
        ("kind", request.kind, 64),
    ):
        if text is not None:
            require_text(name, text, most=most)
    require_tags("tags", request.tags)
    require_tags("not_tags", request.not_tags)
    if request.history and request.key is None:
        raise BadArgument("`history` needs a `key`.", "Recall by words or prefix to find the key.")
    _require_range("limit", request.limit, MAX_LIMIT)
    _require_range("value_chars", request.value_chars, MAX_VALUE_CHARS)


def instant_ns(name: str, when: When, *, end_of_day: bool) -> int:
    """Return nanoseconds since 1970; a day without a time is its first microsecond, or its last."""
    try:
        if not isinstance(when, str):
            moment = _EPOCH + timedelta(seconds=when)
        elif len(when) <= len("2026-01-31"):
            day = date.fromisoformat(when)
            moment = datetime.combine(day, time.max if end_of_day else time.min, tzinfo=UTC)
        else:
            moment = datetime.fromisoformat(when)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as exc:
        raise BadArgument(
            f"`{name}` is {when!r}, not a time.",
            "Give seconds since 1970, or ISO 8601 such as 2026-01-31 or 2026-01-31T12:00:00Z.",
        ) from exc
    return (moment - _EPOCH) // _MICROSECOND * 1_000


def iso(ns: int) -> str:
    """Return an instant as ISO 8601 in UTC, exact to the microsecond."""
    moment = _EPOCH + timedelta(microseconds=ns // 1_000)
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def _require_range(name: str, number: int, most: int) -> None:
    if not 1 <= number <= most:
        raise BadArgument(f"`{name}` is {number}; it takes 1 to {most}.")


def _digest(request: Recall) -> str:
    question = replace(request, cursor=None, limit=1, value_chars=1)
    return hashlib.blake2b(repr(question).encode(), digest_size=6).hexdigest()
