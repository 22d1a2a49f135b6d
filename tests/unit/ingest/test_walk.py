from __future__ import annotations

import os
from pathlib import Path

import pytest

from rlmd.ingest.walk import walk
from rlmd.values import Skip, SkipTally, WalkRules


def grow(root: Path, files: dict[str, str]) -> Path:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


def found(root: Path, targets=(), **rules) -> tuple[list[str], SkipTally]:
    tally = SkipTally()
    batches = list(walk(str(root), targets, WalkRules(**rules), tally))
    assert all(len(batch) <= 512 for batch in batches)
    files = [file for batch in batches for file in batch]
    assert all(file.absolute == f"{root}/{file.path}" for file in files)
    return [file.path for file in files], tally


def test_files_come_by_name_and_before_those_below_them(tmp_path):
    grow(tmp_path, dict.fromkeys(["z", "b/c", "b/a/x", "a", ".hidden"], ""))

    assert found(tmp_path)[0] == [".hidden", "a", "z", "b/c", "b/a/x"]


def test_an_ignored_directory_counts_once_unopened(tmp_path):
    grow(tmp_path, {".ignore": "out/\n", "out/a": "", "out/b/c": "", "src": ""})

    paths, tally = found(tmp_path)

    assert paths == [".ignore", "src"]
    assert tally == SkipTally(0, 1, {"ignored": 1}, [Skip("out", "ignored", is_dir=True)])


def test_gitignore_holds_in_a_work_tree_only(tmp_path):
    grow(
        tmp_path, {".gitignore": "a\n", "a": "", "repo/.git/HEAD": "", "repo/.gitignore": "a\n", "repo/a": ""}
    )

    assert found(tmp_path)[0] == [".gitignore", "a", "repo/.gitignore"]


def test_excludes_of_the_repository_and_of_the_person_hold(tmp_path, home):
    grow(home.path, {".config/git/ignore": "mine\n"})
    grow(tmp_path, {".git/info/exclude": "ours\n", "mine": "", "ours": "", "kept": ""})

    assert found(tmp_path)[0] == ["kept"]


def test_the_excludes_file_named_in_the_git_configuration_counts(tmp_path, home):
    grow(home.path, {".gitconfig": "[core]\n\texcludesFile = ~/globs\n", "globs": "mine\n"})
    grow(tmp_path, {".git/HEAD": "", "mine": "", "kept": ""})

    assert found(tmp_path)[0] == ["kept"]


def test_a_linked_work_tree_uses_the_exclude_file_of_its_repository(tmp_path):
    grow(tmp_path, {"main/.git/info/exclude": "ours\n", "main/.git/worktrees/w/commondir": "../..\n"})
    grow(tmp_path, {"w/.git": f"gitdir: {tmp_path}/main/.git/worktrees/w\n", "w/ours": "", "w/kept": ""})

    assert found(tmp_path / "w")[0] == ["kept"]


def test_rules_above_the_root_hold_below_it_but_not_for_itself(tmp_path):
    grow(
        tmp_path,
        {".git/HEAD": "", ".gitignore": "sub/\n*.o\n/sub/no\n", "sub/a.o": "", "sub/no": "", "sub/a": ""},
    )

    assert found(tmp_path / "sub")[0] == ["a"]
    assert found(tmp_path, ["sub"])[0] == ["sub/a"]


def test_a_file_asked_for_by_name_belongs_though_ignored_and_comes_once(tmp_path):
    grow(tmp_path, {".ignore": "*.log\n", "a.log": "", "b.log": "", "d/c": ""})

    assert found(tmp_path, ["a.log", str(tmp_path), "d", "d/c"])[0] == [".ignore", "a.log", "d/c"]


def test_globs_are_ripgreps(tmp_path):
    grow(tmp_path, {".ignore": "*.log\n", "a.py": "", "a.log": "", "d/b.py": "", "d/c.txt": "", "e/f.py": ""})

    assert found(tmp_path, include=("*.py",))[0] == ["a.py", "d/b.py", "e/f.py"]
    assert found(tmp_path, include=("*.log",))[0] == ["a.log"]
    assert found(tmp_path, exclude=("/d", "*.log"))[0] == [".ignore", "a.py", "e/f.py"]
    assert found(tmp_path, include=("#no glob",))[0] == found(tmp_path)[0]
    assert found(tmp_path, include=("*.py",), exclude=("e/**",))[0] == ["a.py", "d/b.py"]


def test_secrets_and_closed_directories_are_barred_even_when_asked_for(tmp_path):
    grow(tmp_path, {".ignore": "!.env\n", ".env": "", "keys/a": "", "own/b": "", "kept": ""})
    rules = {"secret": (".env*",), "deny": (f"{tmp_path}/keys",), "own": (f"{tmp_path}/own",)}

    paths, tally = found(tmp_path, [".", ".env", "keys/a"], **rules)

    assert paths == [".ignore", "kept"]
    assert tally.by_reason == {"secret": 3, "ignored": 1}


def test_git_itself_never_belongs(tmp_path):
    grow(tmp_path, {".git/HEAD": "", "sub/.git": "gitdir: /nowhere", "a": ""})

    paths, tally = found(tmp_path, [".", ".git/HEAD"])

    assert paths == ["a"]
    assert (tally.files, tally.dirs) == (1, 2)  # asked for once more, so counted once more


def test_a_target_outside_the_root_is_refused(tmp_path):
    with pytest.raises(ValueError, match="outside the root"):
        found(tmp_path, ["../elsewhere"])


def test_a_directory_of_thousands_comes_in_bounded_batches(tmp_path):
    grow(tmp_path, {f"{number:04}": "" for number in range(1500)})

    assert len(found(tmp_path)[0]) == 1500


def test_the_root_of_the_file_system_can_be_walked(tmp_path):
    grow(tmp_path, {"a": ""})
    tally = SkipTally()

    files = [f for batch in walk("/", [str(tmp_path)], WalkRules(), tally) for f in batch]

    assert [(f.path, f.absolute) for f in files] == [(f"{tmp_path}/a"[1:], f"{tmp_path}/a")]


def test_names_beyond_ascii_meet_the_rules_too(tmp_path):
    grow(tmp_path, {".ignore": "gr\u00fcn\n*.\u00fc\n", "gr\u00fcn/a": "", "a.\u00fc": "", "\u00e9": ""})

    assert found(tmp_path)[0] == [".ignore", "\u00e9"]


def test_an_ignore_file_that_is_no_file_has_no_rules(tmp_path):
    grow(tmp_path, {"a": ""})
    os.mkfifo(tmp_path / ".ignore")
    (tmp_path / ".rgignore").mkdir()

    assert found(tmp_path)[0] == ["a"]
