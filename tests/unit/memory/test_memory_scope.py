"""Which project a directory belongs to, compared with git where git made the directories."""

import os
import subprocess

import pytest

from rlmd.memory.scope import USER, place_for, project_of


@pytest.fixture
def here(tmp_path):
    return os.path.realpath(tmp_path)


def git(directory, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "protocol.file.allow=always"]
    subprocess.run(["git", *identity, *arguments], cwd=directory, check=True, capture_output=True)


@pytest.fixture
def repository(here):
    git(here, "init", "-q", "repo")
    path = f"{here}/repo"
    git(path, "commit", "-q", "--allow-empty", "-m", "first")
    return path


def test_every_directory_of_a_repository_is_the_repository(repository):
    os.makedirs(f"{repository}/src/deep")

    assert project_of(f"{repository}/src/deep") == project_of(repository) == repository


def test_worktrees_share_one_project(repository, here):
    git(repository, "worktree", "add", "-q", f"{here}/elsewhere")
    os.mkdir(f"{here}/elsewhere/src")

    assert project_of(f"{here}/elsewhere/src") == repository


def test_a_worktree_is_the_top_of_what_its_session_sees(repository, here):
    git(repository, "worktree", "add", "-q", f"{here}/elsewhere")

    assert place_for(None, f"{here}/elsewhere") == (repository, f"{here}/elsewhere")


def test_worktrees_with_relative_links_share_it_too(repository, here):
    git(repository, "worktree", "add", "-q", f"{here}/elsewhere")
    with open(f"{here}/elsewhere/.git", "w") as file:
        file.write("gitdir: ../repo/.git/worktrees/elsewhere\n")

    assert project_of(f"{here}/elsewhere") == repository


def test_worktrees_of_a_bare_repository_share_it(repository, here):
    git(here, "clone", "-q", "--bare", "repo", "bare.git")
    git(f"{here}/bare.git", "worktree", "add", "-q", f"{here}/one")

    assert project_of(f"{here}/one") == project_of(f"{here}/bare.git/refs") == f"{here}/bare.git"


def test_a_submodule_is_a_project_of_its_own(repository, here):
    git(here, "init", "-q", "super")
    git(f"{here}/super", "submodule", "add", "-q", repository, "sub")

    assert project_of(f"{here}/super/sub") == f"{here}/super/.git/modules/sub"


def test_a_directory_in_no_repository_is_itself(here):
    os.makedirs(f"{here}/plain/deep")

    assert project_of(f"{here}/plain/deep") == f"{here}/plain/deep"
    assert project_of(f"{here}/not/there") == f"{here}/not/there"


def test_symlinks_lead_to_one_project(repository, here):
    os.symlink(repository, f"{here}/link")

    assert project_of(f"{here}/link") == repository


@pytest.mark.parametrize(
    "content", ["", "gitdir:", "gitdir: /nowhere", "gitdir: a\0b", "\ud8ff".encode("utf-8", "surrogatepass")]
)
def test_what_only_looks_like_a_repository_is_none(here, content):
    os.makedirs(f"{here}/dir/sub")
    with open(f"{here}/dir/.git", "wb") as file:
        file.write(content if isinstance(content, bytes) else content.encode())
    os.makedirs(f"{here}/dir/sub/.git")

    assert project_of(f"{here}/dir/sub") == f"{here}/dir/sub"


def test_a_request_names_its_project_or_means_the_workspace(repository):
    assert place_for(None, f"{repository}/.") == (repository, repository)
    assert place_for("user", repository) == (USER, None)
    assert place_for("anything else", repository) == ("anything else", None)
    assert place_for(repository, None) == (repository, repository)
    assert place_for(None, None) == (USER, None)
