"""What belongs, what matches and what it counts: the daemon beside ripgrep and tiktoken on real trees."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiktoken

from daemon_world import Client, Daemon
from e2e.conftest import git
from rlmd.tokens import encodings

pytestmark = pytest.mark.skipif(shutil.which("rg") is None, reason="ripgrep is not installed")

KEPT = Path.home() / ".cache/rlmd-bench/stdlib"
"""A work tree made of a copy of the library, where benchmarks have left one."""

LITERALS = [
    *("import", "self", "def __init__", "TODO", "threading.Lock", "raise ValueError(", "socket", "é"),
    *("Copyright (c)", "lambda x: ", "return None", "0xff", "utf-8", "yield from", "}\\n", "\t", " \t"),
    *("no such line anywhere", "*args, **kwargs", "class "),
]
REGEXES = [
    *(r"^def \w+", r"^\s*class [A-Z]\w*\(", r"raise \w+Error", r"\bself\._\w+\b", r"[0-9]{4,}$", r"^$"),
    *(r"^import (os|sys)$", r"(?i)lock", r"\.(read|write)lines?\(", r"[^\x00-\x7f]", r"#.*\bXXX\b"),
    *(r"def __(enter|exit)__", r"^\s+return\s*$", r"0[xX][0-9a-fA-F]+", r"\w+@\w+\.\w+", r'"""[A-Z]'),
    *(r"^.{120,}$", r"except \w+ as (e|exc|err):", r"\bis\s+not\s+None\b", r"(a|b|c)*d{2,3}\s"),
]


@pytest.fixture(scope="module")
def work_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A git work tree of some thousand files, with ignore files of every kind at several depths."""
    root = tmp_path_factory.mktemp("repo")
    git(root, "init", "-q")
    words = ["alpha", "beta", "gamma", "delta"]
    for top in range(12):
        for sub in range(9):
            place = root / f"pkg{top}" / f"sub{sub}"
            place.mkdir(parents=True)
            for number in range(28):
                suffix = ("py", "md", "log", "tmp")[number % 4]
                (place / f"file{number}.{suffix}").write_text(
                    f"# {words[number % 4]} {top}.{sub}.{number}\nvalue = {number}\n" * 3
                )
        (root / f"pkg{top}/.gitignore").write_text(["*.log\n", "sub1/\n!*.tmp\n", "/sub2/*.md\n"][top % 3])
    (root / ".gitignore").write_text("*.tmp\nbuild/\n!keep.tmp\n")
    (root / ".ignore").write_text("pkg3/sub3\n!pkg4/**/*.tmp\n")
    (root / ".rgignore").write_text("pkg5/**/file1*.md\n")
    (root / ".git/info/exclude").write_text("pkg6/sub6/\n")
    (root / "pkg0/sub0/.gitignore").write_text("*\n!.gitignore\n!file4.py\n")
    for place in ("build", ".hidden", "pkg7/.github"):
        (root / place).mkdir()
        (root / place / "inside.py").write_text("hidden = True\n")
    (root / "keep.tmp").write_text("kept\n")
    (root / "blob.bin").write_bytes(b"\0\1\2" * 100)
    (root / "pkg1/blob.py").write_bytes(b"text\n\0binary")
    (root / ".env").write_text("KEY=value\n")
    (root / "pkg8/link.py").symlink_to("sub1/file0.py")
    (root / "pkg8/away").symlink_to("/usr")
    return root


def listed_by_rg(root: Path) -> set[str]:
    command = ["rg", "--files", "--hidden", "--no-messages", "--null", "-g", "!.git"]
    done = subprocess.run(command, cwd=root, capture_output=True, check=False)
    return {os.fsdecode(name) for name in done.stdout.split(b"\0") if name}


def every_text(client: Client) -> set[str]:
    """Return the paths of all text files that are searched and have a line."""
    return {path for path, _, _ in our_lines(client, "^", output_mode="files_with_matches")}


def corpus_of(client: Client, **given: Any) -> dict[str, Any]:
    """Return the facts of an analysis of everything below the workspace."""
    while True:
        facts = client.ask(
            "rlm_analyze", {"query": "value", "paths": ["."], "kind": "any", "wait_s": 50, **given}
        )
        if facts["state"] != "running":
            return facts


@pytest.fixture
def at(daemon: Daemon) -> Iterator[Any]:
    """Connections to the shared daemon, by workspace."""
    clients: list[Client] = []

    def connect(root: Path) -> Client:
        clients.append(daemon.connect(root))
        return clients[-1]

    yield connect
    for client in clients:
        client.socket.close()


def require_same_files(client: Client, root: Path) -> None:
    """Hold the corpus against ripgrep's list: each file of it is there, or is counted as skipped."""
    theirs, ours = listed_by_rg(root), every_text(client)
    facts = corpus_of(client)
    left_out = theirs - ours
    secret = {name for name in left_out if Path(name).suffix == ".pem" or Path(name).name == ".env"}
    empty = {name for name in left_out - secret if not (root / name).stat().st_size}
    binary = {name for name in left_out - secret - empty if b"\0" in (root / name).read_bytes()}
    skipped = facts["skipped"]["by_reason"]

    print(f"\n{root}: rg {len(theirs)}, corpus {facts['corpus']['files']}, skipped {skipped}")
    assert ours <= theirs
    assert left_out == secret | empty | binary
    assert skipped.get("secret", 0) == len(secret)
    assert skipped.get("binary", 0) == len(binary)
    assert set(skipped) <= {"ignored", "secret", "binary", "symlink_outside", "loop"}
    assert facts["corpus"]["files"] == len(ours | empty)
    assert facts["coverage"]["files_read"] == facts["corpus"]["files"]


def test_a_git_work_tree_has_ripgreps_files(at: Any, work_tree: Path):
    require_same_files(at(work_tree), work_tree)


@pytest.mark.slow
def test_the_standard_library_has_ripgreps_files(at: Any, stdlib: Path):
    require_same_files(at(stdlib), stdlib)


@pytest.mark.slow
@pytest.mark.skipif(not KEPT.is_dir(), reason="no benchmark has left its work tree")
def test_the_librarys_work_tree_has_ripgreps_files(at: Any):
    require_same_files(at(KEPT), KEPT)


def rg_lines(root: Path, pattern: str, *options: str) -> list[tuple[str, int, str]]:
    command = ["rg", "-n", "--hidden", "-g", "!.git", "--no-heading", "--null", "--no-messages", *options]
    done = subprocess.run([*command, "-e", pattern, "."], cwd=root, capture_output=True, check=False)
    found = []
    for line in done.stdout.split(b"\n"):
        path, separator, rest = line.partition(b"\0")
        number, _, text = rest.partition(b":")
        if separator:
            found.append(
                (
                    os.fsdecode(path).removeprefix("./"),
                    int(number),
                    text.decode(errors="replace"),
                )
            )
    return sorted(found)


def our_lines(client: Client, pattern: str, **options: Any) -> list[tuple[str, int, str]]:
    found: list[tuple[str, int, str]] = []
    cursor: str | None = None
    while True:
        page = client.ask(
            "rlm_grep",
            {"pattern": pattern, "limit": 10_000, **options} | ({"cursor": cursor} if cursor else {}),
        )
        found += [(match["path"], match["line"], match.get("text", "")) for match in page["matches"]]
        if (cursor := page["next_cursor"]) is None:
            assert len(found) == page["total"] or "output_mode" in options
            assert len({path for path, _, _ in found}) == page["files"]
            return sorted(found)


def require_same_lines(client: Client, root: Path, pattern: str, *, fixed: bool) -> None:
    ours = our_lines(client, pattern, fixed_strings=fixed)
    found = rg_lines(root, pattern, *(["-F"] if fixed else []))
    theirs = [line for line in found if Path(line[0]).suffix != ".pem" and Path(line[0]).name != ".env"]

    assert [line[:2] for line in ours] == [line[:2] for line in theirs]
    assert [line[2][:400] for line in ours] == [line[2][:400] for line in theirs]


@pytest.mark.parametrize("pattern", ["alpha 1.", "value = 5", "hidden", "kept", "binary"])
def test_grep_gives_the_lines_of_ripgrep_in_a_work_tree(at: Any, work_tree: Path, pattern: str):
    require_same_lines(at(work_tree), work_tree, pattern, fixed=True)


@pytest.mark.slow
@pytest.mark.parametrize("pattern", LITERALS)
def test_literals_find_ripgreps_lines_in_the_library(at: Any, stdlib: Path, pattern: str):
    require_same_lines(at(stdlib), stdlib, pattern, fixed=True)


@pytest.mark.slow
@pytest.mark.parametrize("pattern", REGEXES)
def test_regexes_find_ripgreps_lines_in_the_library(at: Any, stdlib: Path, pattern: str):
    require_same_lines(at(stdlib), stdlib, pattern, fixed=False)


@pytest.fixture(scope="module")
def reference() -> tiktoken.Encoding:
    """tiktoken itself, from the rank file in the package."""
    ours = encodings.O200K_BASE
    ranks = {
        base64.b64decode(token): int(rank)
        for token, rank in (line.split() for line in encodings.read_ranks(ours).splitlines())
    }
    return tiktoken.Encoding(ours.name, pat_str=ours.pattern, mergeable_ranks=ranks, special_tokens={})


def counted_by_tiktoken(encoding: tiktoken.Encoding, root: Path, names: set[str]) -> tuple[int, int]:
    """Return how many tokens and bytes the files have, file by file."""
    tokens = size = 0
    for name in names:
        data = (root / name).read_bytes()
        size += len(data)
        tokens += len(encoding.encode_ordinary(data.decode(errors="replace")))
    return tokens, size


def require_same_tokens(client: Client, root: Path, encoding: tiktoken.Encoding, **given: Any) -> None:
    corpus = corpus_of(client, **given)["corpus"]
    names = {name for name in every_text(client) if Path(name).match(given.get("include", ["*"])[0])}

    tokens, size = counted_by_tiktoken(encoding, root, names)

    print(f"\n{root}: {len(names)} files, {corpus['tokens']} tokens, tiktoken {tokens}")
    assert corpus["encoding"] == encoding.name
    assert (corpus["tokens"], corpus["bytes"]) == (tokens, size)


def test_tokens_are_tiktokens_file_by_file(at: Any, work_tree: Path, reference: tiktoken.Encoding):
    require_same_tokens(at(work_tree), work_tree, reference)


@pytest.mark.slow
def test_tokens_of_the_library_are_tiktokens_file_by_file(
    at: Any, stdlib: Path, reference: tiktoken.Encoding
):
    require_same_tokens(at(stdlib), stdlib, reference, include=["*.py"])
