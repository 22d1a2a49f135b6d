"""Our reading of .gitignore files against git's own."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import HealthCheck, given, settings

from properties.globbing import have, ignore_texts, lay, plant
from rlmd.ingest.walk import walk
from rlmd.values import SkipTally, WalkRules

pytestmark = pytest.mark.skipif(not have("git"), reason="git is not installed")
QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
LONG = settings(QUICK, max_examples=1000)


@pytest.fixture(scope="module")
def work_tree(tmp_path_factory):
    root = plant(tmp_path_factory.mktemp("tree"))
    subprocess.run(["git", "init", "-q", root], check=True)
    return root


def agree(root, texts) -> None:
    lay(root, texts)
    listing = subprocess.run(
        ["git", "-C", root, "ls-files", "-z", "--others", "--exclude-standard"],
        check=True,
        capture_output=True,
    )

    ours = {file.path for batch in walk(str(root), (), WalkRules(), SkipTally()) for file in batch}

    assert ours == set(listing.stdout.decode().split("\0")) - {""}


@QUICK
@given(ignore_texts((".gitignore",), "[!a]"))
def test_the_files_that_belong_are_gits(work_tree, texts):
    agree(work_tree, texts)


@pytest.mark.slow
@LONG
@given(ignore_texts((".gitignore",), "[!a]"))
def test_the_files_that_belong_are_gits_at_length(work_tree, texts):
    agree(work_tree, texts)
