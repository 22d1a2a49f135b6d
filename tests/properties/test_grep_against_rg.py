"""What ripgrep prints is what we find: random patterns over odd bytes, and lists over a real tree."""

from __future__ import annotations

import os
import random
import shutil
import sysconfig
from pathlib import Path
from typing import Any

import pytest
import trio

from rg_world import random_pattern, random_text, ripgrep
from rlmd.answers import GrepRequest
from rlmd.corpus.pattern import LinePattern, compile_pattern
from rlmd.errors import BadArgument
from rlmd.look.grep import grep
from rlmd.values import WalkRules

pytestmark = [
    pytest.mark.skipif(shutil.which("rg") is None, reason="ripgrep is not installed"),
    pytest.mark.real_io,
]

STDLIB = Path(sysconfig.get_path("stdlib")).resolve()
LITERALS = [
    *(
        "return",
        "import",
        "self.assertEqual",
        "zzqq_absent_token",
        "TODO",
        "def __init__(self",
        "raise ValueError(",
    ),
    *(
        "é",
        "os.path.join",
        "lambda",
        "async def",
        "0x",
        "None,",
        "[]",
        "  pass",
        "#!/",
        "http://",
        "Copyright",
        "\t",
    ),
    "socket.AF_INET",
]
REGEXES = [
    *(
        r"^\s*def \w+\(self",
        r"\bclass\s+\w+\(.*Error\)",
        "[A-Z]{4,}_[0-9]+",
        r"\d{4}-\d{2}-\d{2}",
        "^$",
        r"\s+$",
    ),
    *(r"(foo|bar)_[a-z]+\(", r"self\.\w+ = None$", r"[^\x00-\x7F]", r"import (os|sys|re)\b", "(?i)fixme|xxx"),
    *(
        r"^#.*\bthe\b",
        r"\w+@\w+\.\w+",
        r"\bi\b",
        "[0-9a-f]{32}",
        r"^\s*\}\s*$",
        r"r'[^']+\\d",
        r"\p{Greek}",
        r"\W{9}",
    ),
    "[[:upper:]]{3}[a-z&&[^aeiou]]{3}",
]


def compiled_or_none(pattern: str, *, ignore_case: bool) -> LinePattern | None:
    try:
        return compile_pattern(pattern, ignore_case=ignore_case)
    except BadArgument:
        return None


def check_random_patterns(seed: int, patterns: int, directory: Path) -> None:
    choose = random.Random(seed)
    texts = [random_text(choose) for _ in range(40)]
    for number, text in enumerate(texts):
        (directory / f"f{number}").write_bytes(text)
    for _ in range(patterns):
        pattern, ignore_case = random_pattern(choose), choose.random() < 0.4
        expected = ripgrep(
            "-a", *["-i"] * ignore_case, "-e", pattern, "--", *(f"f{n}" for n in range(40)), cwd=directory
        )
        compiled = compiled_or_none(pattern, ignore_case=ignore_case)
        if compiled is None:
            assert expected is None, pattern
            continue
        found = [
            (f"f{number}", text.count(b"\n", 0, start) + 1, text[start:end].decode("utf-8", "replace")[:500])
            for number, text in enumerate(texts)
            for start, end in compiled.lines(text)
        ]
        assert sorted(found) == expected, (pattern, ignore_case)


def test_random_patterns_find_what_ripgrep_finds(tmp_path: Path) -> None:
    check_random_patterns(1, 60, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 22))
def test_many_random_patterns_find_what_ripgrep_finds(tmp_path: Path, seed: int) -> None:
    check_random_patterns(seed, 60, tmp_path)


async def check_tree(root: Path, pattern: str, **request: Any) -> None:
    flags = ["-F"] * request.get("fixed_strings", False) + ["-i"] * request.get("case_insensitive", False)
    rg = ["--hidden", "-g", "!.git", "--no-messages", *flags, "-e", pattern, "."]
    expected = await trio.to_thread.run_sync(lambda: ripgrep(*rg, cwd=root))
    assert expected is not None

    with trio.fail_after(60):
        result = await grep(
            GrepRequest(pattern=pattern, limit=10_000, **request),
            str(root),
            rules=WalkRules(),
            workspace=str(root),
            limiter=trio.CapacityLimiter(1),
        )

    assert result.total == len(expected)
    assert result.files == len({path for path, _, _ in expected})
    if not result.truncated:
        assert [(f"./{each.path}", each.line, each.text) for each in result.matches] == expected


@pytest.mark.parametrize("package", ["json", "email", "unittest"])
@pytest.mark.parametrize("pattern", ["raise ValueError(", r"\bclass\s+\w+\(.*Error\)"])
async def test_a_package_of_the_standard_library_is_searched_as_ripgrep_does(
    package: str, pattern: str
) -> None:
    await check_tree(STDLIB / package, pattern, fixed_strings="(.*" not in pattern)


@pytest.mark.slow
@pytest.mark.parametrize("pattern", LITERALS)
async def test_a_literal_on_the_standard_library_finds_what_ripgrep_finds(stdlib: Path, pattern: str) -> None:
    await check_tree(stdlib, pattern, fixed_strings=True)


@pytest.mark.slow
@pytest.mark.parametrize("pattern", REGEXES)
async def test_a_regex_on_the_standard_library_finds_what_ripgrep_finds(stdlib: Path, pattern: str) -> None:
    await check_tree(stdlib, pattern)
    await check_tree(stdlib, pattern, case_insensitive=True)


@pytest.fixture(scope="module")
def stdlib(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the standard library's sources in a git work tree, without what was installed into it."""
    root = tmp_path_factory.mktemp("tree") / "stdlib"
    ignored = shutil.ignore_patterns("site-packages", "__pycache__", "*.so", "*.a", "*.ppm", "*.pgm")
    shutil.copytree(STDLIB, root, ignore=ignored)
    os.mkdir(root / ".git")
    (root / ".gitignore").write_text("idlelib/\n*.txt\n!/pydoc_data/*.txt\n")
    return root
