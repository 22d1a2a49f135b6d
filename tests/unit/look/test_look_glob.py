from __future__ import annotations

from pathlib import Path

import pytest
import trio

from rlmd.answers import GlobRequest
from rlmd.errors import BadArgument
from rlmd.look.glob import GlobResult, glob
from rlmd.values import WalkRules

pytestmark = pytest.mark.real_io


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ["a.py", "b.txt", "src/c.py", "src/deep/d.ts", "src/deep/e.tsx", ".ci/f.py", "src/.g.py"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / ".ignore").write_text("b.txt\n")
    return tmp_path


async def look(tree: Path, request: GlobRequest, *, workspace: Path | None = None) -> GlobResult:
    with trio.fail_after(5):
        return await glob(
            request,
            str(tree),
            rules=WalkRules(secret=(".env*",)),
            workspace=str(workspace or tree),
            limiter=trio.CapacityLimiter(1),
        )


@pytest.mark.parametrize(
    ("pattern", "paths"),
    [
        ("*.py", ("a.py", "src/c.py")),
        ("/*.py", ("a.py",)),
        ("./src/*.py", ("src/c.py",)),
        ("**/*.{ts,tsx}", ("src/deep/d.ts", "src/deep/e.tsx")),
        ("src/", ("src/c.py", "src/deep/d.ts", "src/deep/e.tsx")),
        ("src/**/e.*", ("src/deep/e.tsx",)),
        (".ci/*", (".ci/f.py",)),
        ("!*.py", ("src/deep/d.ts", "src/deep/e.tsx")),
        ("*.rs", ()),
    ],
)
async def test_a_glob_means_what_it_means_to_ripgrep(
    tree: Path, pattern: str, paths: tuple[str, ...]
) -> None:
    result = await look(tree, GlobRequest(pattern=pattern))

    assert result == GlobResult(paths, len(paths), truncated=False, next_cursor=None)


async def test_hidden_files_come_when_asked_for(tree: Path) -> None:
    result = await look(tree, GlobRequest(pattern="*.py", include_hidden=True))

    assert result.paths == (".ci/f.py", "a.py", "src/.g.py", "src/c.py")


async def test_an_absolute_glob_below_the_path_is_its_relative_rest(tree: Path) -> None:
    result = await look(tree, GlobRequest(pattern=f"{tree}/src/*.py"))

    assert result.paths == ("src/c.py",)


async def test_paths_outside_the_workspace_are_absolute(tree: Path) -> None:
    result = await look(tree, GlobRequest(pattern="*.py"), workspace=tree / "src")

    assert result.paths == (f"{tree}/a.py", "c.py")


async def test_pages_follow_one_another_though_files_appear_before_them(tree: Path) -> None:
    first = await look(tree, GlobRequest(pattern="*.py", limit=1))
    (tree / "0.py").write_text("")
    second = await look(tree, GlobRequest(pattern="*.py", limit=1, cursor=first.next_cursor))

    assert (first.paths, first.total, first.truncated) == (("a.py",), 2, True)
    assert (second.paths, second.total, second.next_cursor) == (("src/c.py",), 3, None)


@pytest.mark.parametrize(
    "request_",
    [
        {"pattern": "[a"},
        {"pattern": "{a"},
        {"pattern": ""},
        {"pattern": "*", "limit": 0},
        {"pattern": "*", "cursor": "?"},
    ],
)
async def test_what_cannot_be_used_is_refused(tree: Path, request_: dict[str, str]) -> None:
    with pytest.raises(BadArgument):
        await look(tree, GlobRequest(**request_))
