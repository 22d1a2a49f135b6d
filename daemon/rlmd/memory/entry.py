"""What is asked of the memory writer and what it answers, and which requests cannot be stored."""

from __future__ import annotations

from dataclasses import dataclass

from rlmd.errors import BadArgument, TooLarge
from rlmd.memory.words import require_text

EVERY_PROJECT = "*"
MAX_TAGS = 64
_LONGEST_TTL_S = 100 * 366 * 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """Remember *value* under *key* in *project*, as a new version if the key is known there.

    `expect_version` makes it a compare-and-set: the version that must stand, 0 for none.  A
    `request_id` that this project has seen with this key is answered as it was the first time and
    writes nothing.  After `ttl_s` seconds the key is as if it had never been stored.
    """

    key: str
    value: str
    project: str
    tags: tuple[str, ...] = ()
    kind: str = "finding"
    session: str | None = None
    agent: str | None = None
    request_id: str | None = None
    expect_version: int | None = None
    ttl_s: float | None = None


@dataclass(frozen=True, slots=True)
class AnchorFacts:
    """Lines of a file that a memory speaks of, and whether they are still what they were."""

    path: str
    start_line: int
    end_line: int
    status: str


@dataclass(frozen=True, slots=True)
class Stored:
    """What is now on disk; `created` says that no version of the key stood before."""

    key: str
    project: str
    version: int
    created: bool
    redactions: int = 0
    anchors: tuple[AnchorFacts, ...] = ()


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
    return _value_bytes(request.value, max_value_bytes)


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
