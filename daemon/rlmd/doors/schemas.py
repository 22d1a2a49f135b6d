"""From a pydantic model to what a client is told of it, and to what it is told of its mistakes.

A null stands for an argument left out, since many clients send one, and 10.0 for 10, since JSON has
one kind of number; for the rest types are taken strictly, so that a mistake is named instead of
guessed around.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from rlmd.errors import BadArgument

M = TypeVar("M", bound=BaseModel)

HIDDEN = {"hidden": True}
"""Marks an argument that is understood but not listed."""
SHOWN_CHARS = 60


def parse(model: type[M], arguments: Mapping[str, Any] | None) -> M:
    """Check *arguments* against *model*; raise BadArgument that names every mistake."""
    given = {name: _given(value) for name, value in (arguments or {}).items() if value is not None}
    try:
        return model.model_validate(given)
    except ValidationError as exc:
        mistakes = [_mistake(model, error) for error in exc.errors(include_url=False)]
        known = ", ".join(schema_of(model)["properties"])
        raise BadArgument("; ".join(dict.fromkeys(mistakes)), f"Known arguments: {known}.") from exc


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON schema of *model* as clients are shown it: small, inlined, closed."""
    whole = model.model_json_schema()
    required = whole.get("required", [])
    properties = sorted(whole.get("properties", {}).items(), key=lambda item: item[0] not in required)
    schema = _plain({**whole, "properties": dict(properties)}, whole.get("$defs", {}))
    return {"type": "object", **schema, "additionalProperties": False}


def _given(value: Any) -> Any:
    match value:
        case float() if value.is_integer():
            return int(value)
        case dict():
            return {name: _given(inner) for name, inner in value.items() if inner is not None}
        case list():
            return [_given(inner) for inner in value]
        case _:
            return value


def _mistake(model: type[BaseModel], error: ErrorDetails) -> str:
    place = ".".join(str(part) for part in error["loc"] if not _is_branch(part))
    match error["type"]:
        case "extra_forbidden":
            return _unknown(model, [str(part) for part in error["loc"]])
        case "missing":
            return f"{place} is required"
        case "one_source":
            return error["msg"]
        case _:
            told = error["msg"].replace("Input should be", "must be", 1)
            return f"{place} {told[0].lower()}{told[1:]}, not {_shown(error['input'])}"


def _unknown(model: type[BaseModel], loc: list[str]) -> str:
    properties = schema_of(model)["properties"]
    if len(loc) > 1:
        properties = properties[loc[0]].get("properties", {})
    nearest = difflib.get_close_matches(loc[-1], properties, n=1, cutoff=0.5)
    meant = f"; did you mean {nearest[0]}?" if nearest else ""
    return f"unknown argument {'.'.join(loc)}{meant}"


def _is_branch(part: int | str) -> bool:
    """Say whether *part* names a branch of a union and no place in the arguments."""
    return isinstance(part, str) and (
        part in {"str", "int", "float"} or part.startswith(("constrained-", "function-"))
    )


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= SHOWN_CHARS else f"{shown[: SHOWN_CHARS - 3]}..."


def _plain(schema: Any, definitions: Mapping[str, Any]) -> Any:
    """Drop what only takes room: titles, null branches and defaults, hidden arguments, references."""
    if isinstance(schema, list):
        return [_plain(each, definitions) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _plain(definitions[schema["$ref"].rsplit("/", 1)[-1]], definitions)
    if {"type": "null"} in schema.get("anyOf", []):
        kept = [branch for branch in schema["anyOf"] if branch != {"type": "null"}]
        return _plain(kept[0] if len(kept) == 1 else {"anyOf": kept}, definitions)
    if "properties" in schema:
        listed = {
            name: _plain(each, definitions)
            for name, each in schema["properties"].items()
            if not _is_hidden(each)
        }
        kept_keys = ("type", "required", "additionalProperties")
        return {"properties": listed, **{key: schema[key] for key in kept_keys if key in schema}}
    return {key: _plain(value, definitions) for key, value in schema.items() if not _is_noise(key, value)}


def _is_hidden(schema: Mapping[str, Any]) -> bool:
    branches = schema.get("anyOf", [schema])
    return any("hidden" in branch for branch in branches)


def _is_noise(key: str, value: object) -> bool:
    return (
        key in {"title", "maxLength", "maxItems"}
        or (key == "minLength" and value == 1)
        or (key == "default" and value in (None, False, []))
    )
