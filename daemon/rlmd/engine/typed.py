"""Answers that have to be of a form the caller gave, as a JSON schema."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import re2
from jsonschema import (  # type: ignore[import-untyped]  # it has no types of its own
    Draft202012Validator,
    SchemaError,
    ValidationError,
    validators,
)
from referencing import Registry

from rlmd.answers import Json
from rlmd.errors import BadArgument

MOST_ERRORS = 5
_CHARS = 300


def form(schema: Json) -> Callable[[Json], list[str]]:
    """Return what tells the faults of an answer, none for one that fits *schema*.

    Raises BadArgument for a schema that is none.  References lead nowhere but into the schema itself,
    and patterns are matched in linear time.  Checking blocks: a thread's work for large answers.
    """
    if not isinstance(schema, dict):
        raise BadArgument("`schema` is no object", 'Give a JSON schema such as {"type": "integer"}.')
    try:
        Draft202012Validator.check_schema(schema)
        _require_plain(schema)
    except (SchemaError, ValueError, re2.error) as exc:
        raise BadArgument(
            f"`schema` is no JSON schema: {getattr(exc, 'message', exc)}", "Mend it and ask again."
        ) from exc
    check = _Linear(schema, registry=Registry())

    def faults(answer: Json) -> list[str]:
        try:
            found = sorted(check.iter_errors(answer), key=lambda error: error.json_path)
        except RecursionError:
            return ["$: is nested too deeply"]
        return [f"{error.json_path}: {_short(error.message)}" for error in found[:MOST_ERRORS]]

    return faults


def as_text(answer: Json) -> str:
    """Return *answer* as one text."""
    return answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)


def _require_plain(schema: Json) -> None:
    """Raise ValueError for a reference out of it, re2.error for a pattern that cannot be matched."""
    match schema:
        case dict():
            if not str(schema.get("$ref", "#")).startswith("#"):
                raise ValueError("a `$ref` leads outside it")
            patterns = schema.get("patternProperties")
            for pattern in (schema.get("pattern"), *(patterns if isinstance(patterns, dict) else ())):
                if isinstance(pattern, str):
                    re2.compile(pattern)
            for inner in schema.values():
                _require_plain(inner)
        case list():
            for inner in schema:
                _require_plain(inner)


def _pattern(_check: Any, pattern: str, value: Any, _schema: Any) -> Iterator[ValidationError]:
    if isinstance(value, str) and not re2.search(pattern, value):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


def _pattern_properties(check: Any, patterns: Any, value: Any, _schema: Any) -> Iterator[ValidationError]:
    if isinstance(value, dict):
        for pattern, inner in patterns.items():
            for name, each in value.items():
                if re2.search(pattern, name):
                    yield from check.descend(each, inner, path=name, schema_path=pattern)


_Linear = validators.extend(
    Draft202012Validator, {"pattern": _pattern, "patternProperties": _pattern_properties}
)


def _short(text: str) -> str:
    return text if len(text) <= _CHARS else text[:_CHARS] + "…"
