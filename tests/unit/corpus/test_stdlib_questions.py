"""Questions about Python's own library, asked without knowing its words by heart: a smoke test."""

import os
from pathlib import Path

import pytest
import trio

from corpus_world import open_world

LIBRARY = Path(os.__file__).parent
PARTS = ["asyncio", "concurrent", "email", "http", "importlib", "json", "logging", "unittest", "urllib"]
QUESTIONS = {
    "which hosts bypass the proxy?": "urllib/request.py",
    "rotate log files when they reach a size": "logging/handlers.py",
    "escape non-ASCII characters in JSON strings": "json/encoder.py",
    "how is a cookie parsed from a header": "http/cookies.py",
    "wait for the first of several futures to complete": "concurrent/futures/_base.py",
    "guess the base64 or quoted-printable transfer encoding of a message": "email/encoders.py",
    "split a shell command line respecting quotes": "shlex.py",
    "lru cache eviction and statistics": "functools.py",
    "merge several sorted iterables": "heapq.py",
    "expand environment variables in a path": "posixpath.py",
    "compare two directories recursively": "filecmp.py",
    "secure random token for URLs": "secrets.py",
    "remove common leading whitespace from every line": "textwrap.py",
    "delete a directory tree recursively": "shutil.py",
    "assert that a mock was called with given arguments": "unittest/mock.py",
}


@pytest.mark.real_io
async def test_the_right_file_is_among_the_first_five(tmp_path: Path) -> None:
    targets = [*PARTS, *(path.name for path in LIBRARY.glob("*.py"))]
    missed = {}
    with trio.fail_after(60):
        async with open_world(tmp_path / "cache") as world:
            snapshot = await world.collect(LIBRARY.resolve(), targets)
            for question, path in QUESTIONS.items():
                ranked = await world.search(snapshot, question)
                files = list(dict.fromkeys(each.path for each in ranked.passages))
                if path not in files[:5]:
                    missed[question] = files[:5]

    assert missed == {}
