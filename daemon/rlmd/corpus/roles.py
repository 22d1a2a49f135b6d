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
_TEST_PLACES = frozenset(
    [
        "test",
        "tests",
        "testing",
        "__tests__",
        "spec",
        "specs",
        "e2e",
        "fixture",
        "fixtures",
        "testdata",
        "mock",
        "mocks",
    ]
)
_TEST_NAME = re.compile(r"test_|conftest\.py$|.*(?:_test\.[^.]+$|\.(?:test|spec)\.)")
_MADE_PLACES = frozenset(["vendor", "vendored", "third_party", "node_modules", "dist", "build", "generated"])
_MADE_NAME = re.compile(r"\.min\.|\.lock$|[._-]lock\.(?:json|ya?ml|toml)$|\.snap$|_pb2\.|\.pb\.go")
_DOC_PLACES = frozenset(["doc", "docs", "example", "examples", "benchmark", "benchmarks"])
_DOC_NAMES = frozenset(
    [
        "readme",
        "changelog",
        "changes",
        "news",
        "history",
        "contributing",
        "authors",
        "license",
        "licence",
        "copying",
        "notice",
        "todo",
    ]
)


def suffix(path: str) -> str:
    """Return what follows the last dot of the name, in lower case, or the whole name without one."""
    return path.rsplit("/", 1)[-1].rsplit(".", 1)[-1].lower()


def role(path: str) -> Role:
    """Return what the file at root-relative *path* is for."""
    *places, name = path.lower().split("/")
    if not _MADE_PLACES.isdisjoint(places) or _MADE_NAME.search(name):
        return "made"
    if not _TEST_PLACES.isdisjoint(places) or _TEST_NAME.match(name):
        return "test"
    kind = suffix(name)
    if kind in PROSE or name in _DOC_NAMES or not _DOC_PLACES.isdisjoint(places):
        return "doc"
    return "data" if kind in DATA else "source"
