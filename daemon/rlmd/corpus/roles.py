"""What a file is for, judged by its path, and how much that counts for a kind of question."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from rlmd.values import Kind

Role = Literal["source", "test", "doc", "data", "made"]

WEIGHTS: Mapping[Kind, Mapping[Role, float]] = MappingProxyType(
    {
        "code": {"source": 1.0, "test": 0.5, "doc": 0.7, "data": 0.5, "made": 0.3},
        "docs": {"source": 0.7, "test": 0.5, "doc": 1.0, "data": 0.5, "made": 0.3},
        "any": {"source": 1.0, "test": 1.0, "doc": 1.0, "data": 1.0, "made": 0.3},
    }
)
"""Factors on a file's score: measured on commit messages and annotated questions, docs/decisions."""

PROSE = frozenset(["md", "mdx", "rst", "txt", "adoc"])
DATA = frozenset(
    [
        "json",
        "yaml",
        "yml",
        "toml",
        "cfg",
        "ini",
        "xml",
        "css",
        "html",
        "sql",
        "proto",
        "scm",
        "svg",
        "csv",
        "lock",
    ]
)
_TEST = re.compile(
    r"(^|/)(tests?|testing|__tests__|specs?|e2e|fixtures?|testdata|mocks?)(/|$)"
    r"|(^|/)(test_[^/]*|[^/]*_test\.[^/]+|[^/]*\.(test|spec)\.[^/]+|conftest\.py)$"
)
_MADE = re.compile(
    r"(^|/)(vendor|vendored|third_party|node_modules|dist|build|generated)(/|$)"
    r"|\.min\.|[._-]lock\b|\.snap$|_pb2\.|\.pb\.go"
)
_DOC = re.compile(
    r"(^|/)(docs?|examples?|benchmarks?)/"
    r"|(^|/)(readme|changelog|changes|news|history|contributing|authors|licen[cs]e|copying|notice|todo)$"
)


def suffix(path: str) -> str:
    """Return what follows the last dot of the name, in lower case, or the whole name without one."""
    return path.rsplit("/", 1)[-1].rsplit(".", 1)[-1].lower()


def role(path: str) -> Role:
    """Return what the file at root-relative *path* is for."""
    low = path.lower()
    if _MADE.search(low):
        return "made"
    if _TEST.search(low):
        return "test"
    if suffix(low) in PROSE or _DOC.search(low):
        return "doc"
    return "data" if suffix(low) in DATA else "source"
