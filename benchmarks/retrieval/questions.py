"""Questions with known answers: commit messages and docstrings, which tell of files and of functions."""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.retrieval.repositories import Repository
from rlmd.corpus.history import Commit
from rlmd.corpus.words import STOP, WORD
from rlmd.values import Passage

SEED = 7
PER_REPOSITORY = 24
NEWEST = 1500
"""Questions are drawn from so many of the last commits."""
MOST_TRUE, MOST_CHANGED = 3, 12
LEAST_WORDS = 3
_DULL = re.compile(
    r"(?i)^\s*(?:v?\d+\.\d|docs?\b|chore|style|ci\b|build\b|merge\b|revert\b|format|start (?:new|version))"
    r"|\b(?:bump\w*|releas\w+|typos?|changelog|news|copyright|codespell|pre-commit|dependenc\w+|deps|lint\w*|mypy|flake8"
    r"|black|isort|clippy|rustfmt|gofmt|prettier|reformat\w*|whitespace|docstrings?|docs|documentation|readme|travis"
    r"|appveyor|workflows?|next version|\+dev)\b"
)
"""Subjects of commits that are about no code: releases, prose, tools."""
_SOURCE = re.compile(r"\.(?:pyi?|[cm]?[jt]sx?|rs|go|c|h)$")
_ASIDE = re.compile(
    r"(?:^|/)_?(?:tests?|testing|__tests__|e2e|fixtures?|docs?|examples?|benchmarks?)/|(?:^|/)(?:test_|conftest)|[_.](?:test|spec)\."
)
_TRAILER = re.compile(r"(?m)^[A-Z][A-Za-z-]+(?:-by|-to|-id|-url|): .*$|^\s*(?:https?:|---).*$")
_KIND = re.compile(r"^\s*\w+(?:\([^)]*\))?!?:\s+")
_REFERENCE = re.compile(
    r"https?://\S+|\(?(?:(?i:gh|fix(?:es|ed)?|close[sd]?|resolve[sd]?|refs?|see)[ -:]*)?#\d+\)?"
    r"|\b[0-9a-f]{7,40}\b|\S*/\S+"
    r"|\b[\w-]+\.(?:py|pyi|js|ts|tsx|rs|go|c|h|md|rst|txt|toml|yaml|yml|json|cfg|ini|lock|sh|sql|html|css)\b"
)


@dataclass(frozen=True)
class Question:
    """A question to the tree at *revision*, whose answer is any of *paths*."""

    text: str
    revision: str
    paths: frozenset[str]


def asked(message: str) -> str:
    """Return what is left of a commit's *message* without what only a commit says, or names its files."""
    subject, _, body = _TRAILER.sub("", message).partition("\n")
    return _REFERENCE.sub(" ", f"{_KIND.sub('', subject)}\n{body}").strip()


def of_commits(repository: Repository, log: Sequence[Commit]) -> list[Question]:
    """Draw the questions of one repository from *log*, its commits, newest first."""
    order = list(log[:NEWEST])
    random.Random(SEED).shuffle(order)
    drawn: list[Question] = []
    for commit in order:
        if len(drawn) < PER_REPOSITORY and (question := _of(repository, commit)):
            drawn.append(question)
    return drawn


def _of(repository: Repository, commit: Commit) -> Question | None:
    true = frozenset(path for path in commit.changed if _SOURCE.search(path) and not _ASIDE.search(path))
    text = asked(commit.message)
    telling = {word.lower() for word in WORD.findall(text)} - STOP
    if (
        _DULL.search(commit.message.partition("\n")[0])
        or len(commit.parents) != 1
        or len(commit.changed) > MOST_CHANGED
        or not 0 < len(true) <= MOST_TRUE
        or len(telling) < LEAST_WORDS
    ):
        return None
    return (
        Question(text, commit.parents[0], true) if true <= repository.tree(commit.parents[0]).keys() else None
    )


@dataclass(frozen=True)
class Function:
    """A function whose docstring was taken away: what it said, and where the function is now."""

    text: str
    path: str
    first_line: int
    last_line: int

    def is_in(self, passage: Passage) -> bool:
        """Return whether *passage* shows some of the function."""
        return (
            passage.path == self.path
            and passage.start_line <= self.last_line
            and passage.end_line >= self.first_line
        )


def sampled(functions: Sequence[Function], most: int) -> list[Function]:
    """Draw *most* of *functions*, the same ones each time."""
    return random.Random(SEED).sample(list(functions), min(most, len(functions)))


def of_docstrings(path: str, source: str) -> tuple[str, list[Function]]:
    """Return *source* with every docstring blanked, and its documented functions."""
    lines = source.split("\n")
    functions = []
    for node, text in _documented(source):
        held = node.body[0]
        lines[held.lineno - 1 : held.end_lineno] = [""] * ((held.end_lineno or 0) - held.lineno + 1)
        lines[held.lineno - 1] = " " * held.col_offset + "..."
        first = text.strip().partition("\n")[0]
        if not isinstance(node, ast.ClassDef | ast.Module) and len(first.split()) > LEAST_WORDS:
            functions.append(Function(first, path, node.lineno, node.end_lineno or node.lineno))
    return "\n".join(lines), functions


def _documented(
    source: str,
) -> Iterator[tuple[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module, str]]:
    try:
        parsed = ast.parse(source)
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(parsed):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module):
            text = ast.get_docstring(node, clean=False)
            if text is not None:
                yield node, text
