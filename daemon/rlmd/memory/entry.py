"""What is asked of the memory writer and what it answers, and which requests cannot be stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rlmd.errors import BadArgument, TooLarge
from rlmd.memory.anchor import Anchor, Status
from rlmd.memory.words import require_text

EVERY_PROJECT = "*"
MAX_TAGS = 64
MAX_ANCHORS = 16
_LONGEST_TTL_S = 100 * 366 * 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """Remember *value* under *key* in *project*, as a new version if the key is known there.

    No value means the one that stands, with its tags, kind and lifetime: only the anchors are new.
    `expect_version` makes it a compare-and-set: the version that must stand, 0 for none.  A
    `request_id` that this project has seen with this key is answered as it was the first time and
    writes nothing.  After `ttl_s` seconds the key is as if it had never been stored.  `anchors` are
    the lines that this version speaks of; a version without has none, whatever the one before had.
    The key that it `supersedes` stops being recalled in the same transaction.
    """

    key: str
    value: str | None
    project: str
    tags: tuple[str, ...] = ()
    kind: str = "finding"
    session: str | None = None
    agent: str | None = None
    request_id: str | None = None
    expect_version: int | None = None
    ttl_s: float | None = None
    anchors: tuple[Anchor, ...] = ()
    supersedes: str | None = None
    redactions: int = 0


@dataclass(frozen=True, slots=True)
class Forget:
    """Stop recalling *key*; its versions stay, and `Undo` brings it back."""

    key: str
    project: str


@dataclass(frozen=True, slots=True)
class Undo:
    """Take back the last change of *key*, an `Undo` included: the state before becomes a new version."""

    key: str
    project: str


@dataclass(frozen=True, slots=True)
class Purge:
    """Remove *key* with all its versions and traces, from the file, its log and its backups."""

    key: str
    project: str


@dataclass(frozen=True, slots=True)
class AnchorFacts:
    """Lines of a file that a memory speaks of, and whether they are still what they were.

    `diff` shows how edited lines differ from those that were seen.
    """

    path: str
    start_line: int
    end_line: int
    status: Status
    diff: str | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """What is now on disk; `created` says that no version of the key stood before."""

    key: str
    project: str
    version: int
    created: bool
    redactions: int = 0
    anchors: tuple[AnchorFacts, ...] = ()


State = Literal["live", "superseded", "forgotten"]


@dataclass(frozen=True, slots=True)
class Changed:
    """In which state a key is now on disk, and as which version; 0 for one that was purged."""

    key: str
    project: str
    version: int
    state: Literal["live", "superseded", "forgotten", "purged"]


def fresh(anchors: tuple[Anchor, ...]) -> tuple[AnchorFacts, ...]:
    """Describe anchors that were taken just now."""
    return tuple(AnchorFacts(each.path, each.start_line, each.end_line, "fresh") for each in anchors)


def require_storable(request: Store, *, max_value_bytes: int) -> int:
    """Return the size of the value in bytes; raise BadArgument or TooLarge for what cannot be stored."""
    require_text("key", request.key, most=256)
    require_text("project", request.project, most=4_096)
    if request.project == EVERY_PROJECT:
        raise BadArgument("`project` cannot be `*` in a store.", "Name one project, or leave it out.")
    require_text("kind", request.kind, most=64)
    require_tags("tags", request.tags)
    for name, text in (
        ("session", request.session),
        ("agent", request.agent),
        ("request_id", request.request_id),
    ):
        if text is not None:
            require_text(name, text, most=256)
    if request.ttl_s is not None and not 0 < request.ttl_s <= _LONGEST_TTL_S:
        raise BadArgument(
            f"`ttl_s` is {request.ttl_s}; it takes seconds, above 0 and up to {_LONGEST_TTL_S}."
        )
    if request.expect_version is not None and request.expect_version < 0:
        raise BadArgument("`expect_version` is below 0.", "0 means that the key must not exist yet.")
    if request.supersedes is not None:
        require_text("supersedes", request.supersedes, most=256)
        if request.supersedes == request.key:
            raise BadArgument("`supersedes` names the key itself.", "Storing a key again replaces it anyway.")
    if len(request.anchors) > MAX_ANCHORS:
        raise BadArgument(f"`evidence` has {len(request.anchors)} entries; it takes {MAX_ANCHORS}.")
    return 0 if request.value is None else _value_bytes(request.value, max_value_bytes)


def require_tags(name: str, tags: tuple[str, ...]) -> None:
    """Raise BadArgument unless each of *tags* is a tag, and they are not too many."""
    if len(tags) > MAX_TAGS:
        raise BadArgument(f"`{name}` has {len(tags)} entries; it takes {MAX_TAGS}.")
    for tag in tags:
        require_text(name, tag, most=128)


def _value_bytes(value: str, limit_bytes: int) -> int:
    if len(value) <= limit_bytes:  # else it cannot fit, and need not be looked at
        require_text("value", value, least=0, most=limit_bytes)
        if (size_bytes := len(value.encode())) <= limit_bytes:
            return size_bytes
    raise TooLarge(
        f"`value` is over {limit_bytes} bytes (memory.max_value_bytes).",
        "Store what it says in brief, or in parts under several keys.",
    )
