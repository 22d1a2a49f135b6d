"""Words as the full-text index of memories sees them, for both sides: what is stored, what is asked."""

from __future__ import annotations

import re

from rlmd.errors import BadArgument

# A quick look, since most texts have none; led by a set of characters, which the engine leaps along.
_ANY_HUMP = re.compile(r"[A-Z](?:(?<=[a-z0-9][A-Z])|(?<=[A-Z]{2})[a-z])")
_HUMPED = re.compile(r"(?<![A-Za-z0-9])(?:[A-Z]*[a-z0-9]+[A-Z]|[A-Z]{2,}[a-z])[A-Za-z0-9]*")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")

STOP_WORDS = frozenset(
    re.findall(
        r"\w+",
        """a about above after again against all also am an and any are as at be because been before being
    below between both but by can could did do does doing done down during each few for from further get
    got had has have having he her here hers herself him himself his how i if in into is it its itself
    just like made make me more most my myself no nor not now of off on once only or other our ours
    ourselves out over own please same say said she should so some such tell than that the their theirs
    them themselves then there these they this those through to too under until up us very was we were
    what when where which while who whom why will with would you your yours yourself yourselves""",
    )
)


def require_text(name: str, text: str, *, most: int, least: int = 1) -> None:
    """Raise BadArgument unless *text* has *least* to *most* characters that a database can hold."""
    if not least <= len(text) <= most:
        raise BadArgument(f"`{name}` has {len(text)} characters; it takes {least} to {most}.")
    if "\0" in text:
        raise BadArgument(f"`{name}` holds a NUL character.", "Leave it out.")
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise BadArgument(
            f"`{name}` is not valid Unicode: half a surrogate pair at character {exc.start}.", "Leave it out."
        ) from exc


def humps(word: str) -> list[str]:
    """Split an identifier where its case says so: `parseURLPath` into `parse`, `URL`, `Path`.

    One without humps has no parts.  What `_`, `-` and `.` hold together the index splits by itself.
    """
    parts = _HUMP.split(word)
    return parts if len(parts) > 1 else []


def identifier_parts(*texts: str) -> str:
    """Return the parts of all identifiers in *texts* that are written in humps, each part once."""
    words = {word: None for text in texts if _ANY_HUMP.search(text) for word in _HUMPED.findall(text)}
    return " ".join(dict.fromkeys(part for word in words for part in humps(word)))
