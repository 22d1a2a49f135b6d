"""Our walk against `rg --files` on the same trees."""

from __future__ import annotations

import os
import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from properties.globbing import globs, have, ignore_texts, lay, plant
from rlmd.ingest.walk import walk
from rlmd.values import SkipTally, WalkRules

pytestmark = pytest.mark.skipif(not have("rg"), reason="ripgrep is not installed")
QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
LONG = settings(QUICK, max_examples=1000)
SOURCES = (".gitignore", ".ignore", ".rgignore")
CASES = given(
    texts=ignore_texts(SOURCES, "{a,b}", "{.c,*}"),
    repository=st.sampled_from([None, "", "a"]),
    root=st.sampled_from(["", "a", "a/b"]),
    include=st.lists(globs(), max_size=1),
    exclude=st.lists(globs(), max_size=1),
)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return plant(tmp_path_factory.mktemp("tree"))


def agree(tree, texts, repository, root, include, exclude) -> None:
    lay(tree, texts)
    for place in ("", "a"):
        if (tree / place / ".git").exists():
            (tree / place / ".git").rmdir()
    if repository is not None:
        (tree / repository / ".git").mkdir()
    include = [glob for glob in include if not glob.startswith("!")]
    exclude = [glob for glob in exclude if not glob.startswith("!")]
    top = tree / root
    wanted = [argument for glob in (*include, *(f"!{glob}" for glob in exclude)) for argument in ("-g", glob)]
    command = ["rg", "--files", "--hidden", "--no-messages", "--null", *wanted, "-g", "!.git"]
    listing = subprocess.run(command, cwd=top, capture_output=True, env=dict(os.environ), check=False)

    rules = WalkRules(include=tuple(include), exclude=tuple(exclude))
    ours = {file.path for batch in walk(str(top), (), rules, SkipTally()) for file in batch}

    assert ours == set(listing.stdout.decode().split("\0")) - {""}


@QUICK
@CASES
def test_the_files_that_belong_are_ripgreps(tree, texts, repository, root, include, exclude):
    agree(tree, texts, repository, root, include, exclude)


@pytest.mark.slow
@LONG
@CASES
def test_the_files_that_belong_are_ripgreps_at_length(tree, texts, repository, root, include, exclude):
    agree(tree, texts, repository, root, include, exclude)
