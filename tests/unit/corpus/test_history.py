from pathlib import Path

import pytest
import trio

from corpus_world import open_world
from git_world import git
from rlmd.corpus.history import Commit, Past, follow, parse_log, read_log, votes
from rlmd.corpus.lineage import Lineage, lineage_of

ID = "ab" * 20


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Two modules that say nothing, and a commit that tells what one of them is about."""
    tree = tmp_path / "tree"
    (tree / "pkg").mkdir(parents=True)
    git(tree, "init", "-q")
    for name in ("alpha", "beta"):
        (tree / f"pkg/{name}.py").write_text(f"def run_{name}():\n    pass\n")
    git(tree, "add", ".")
    git(tree, "commit", "-qm", "Begin")
    (tree / "pkg/beta.py").write_text("def run_beta():\n    return 1\n")
    git(tree, "commit", "-qam", "Debounce the thermostat")
    return tree


def test_the_names_of_a_log_are_followed_to_what_they_came_to_be() -> None:
    log = [
        Commit("3", (), "third", ("new.py",), {}),
        Commit("2", (), "second", ("new.py",), {"new.py": "mid.py"}),
        Commit("1", (), "first", ("mid.py",), {"mid.py": "old.py"}),
        Commit("0", (), "zeroth", ("old.py", "other.py"), {}),
    ]

    assert [past.paths for past in follow(log)] == [
        ("new.py",),
        ("new.py",),
        ("new.py",),
        ("new.py", "other.py"),
    ]


def test_a_commit_that_changed_everything_has_no_vote() -> None:
    wide = Commit("1", (), "all", tuple(map(str, range(21))), {})

    assert list(follow([wide, Commit("0", (), "one", ("a",), {})])) == [Past("one", ("a",))]


def test_a_log_is_read_whatever_its_messages_hold() -> None:
    changes = "M\ta b.py\nR097\told.py\tnew.py\nA\tc\n"
    text = f"\x1e{ID}\x1fp1 p2\x1fSubject\n\nM\tnot a path\x1d\n\n{changes}\x1etorn"

    first, torn = parse_log(text)

    assert first == Commit(
        ID, ("p1", "p2"), "Subject\n\nM\tnot a path", ("a b.py", "new.py", "c"), {"new.py": "old.py"}
    )
    assert torn.changed == ()


def test_votes_are_shared_by_what_a_commit_changed() -> None:
    assert votes([(4.0, ("a",)), (4.0, ("b", "c", "d", "e"))]) == {
        "a": 1.0,
        "b": 0.5,
        "c": 0.5,
        "d": 0.5,
        "e": 0.5,
    }


def test_the_lineage_of_a_tree_is_what_git_says(repository: Path) -> None:
    head = git(repository, "rev-parse", "HEAD")
    git(repository, "worktree", "add", "-q", "../other", "-b", "side")
    git(repository, "pack-refs", "--all")

    assert lineage_of(str(repository / "pkg")) == Lineage(str(repository), str(repository / ".git"), head)
    other = str(repository.parent / "other")
    assert lineage_of(other) == Lineage(other, str(repository / ".git"), head)


@pytest.mark.parametrize(
    "head", ["ref: refs/heads/none", "ref: ../../secret", "nonsense", "", "ref: refs/heads/loop"]
)
def test_a_head_that_leads_nowhere_is_none(repository: Path, head: str) -> None:
    (repository / ".git/HEAD").write_text(head)
    (repository / ".git/refs/heads/loop").write_text("ref: refs/heads/loop")

    assert lineage_of(str(repository)) == Lineage(str(repository), str(repository / ".git"), None)


def test_reading_a_log_runs_nothing_that_the_repository_names(repository: Path, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    for key in ("core.fsmonitor", "core.pager", "diff.external", "gpg.program", "core.sshCommand"):
        git(repository, "config", key, f"touch {trap}")
    git(repository, "config", "log.showSignature", "true")
    (repository / ".gitattributes").write_text("*.py diff=x\n")
    git(repository, "config", "diff.x.textconv", f"touch {trap};cat")

    assert [commit.message.strip() for commit in read_log(str(repository), "HEAD")] == [
        "Debounce the thermostat",
        "Begin",
    ]
    assert not trap.exists()


def test_what_is_no_repository_has_no_log(tmp_path: Path) -> None:
    assert read_log(str(tmp_path), "HEAD") == []
    assert read_log(str(tmp_path), "--output=x") == []


@pytest.mark.real_io
async def test_past_commits_vote_for_the_files_they_changed(repository: Path, tmp_path: Path) -> None:
    with trio.fail_after(10):
        async with open_world(tmp_path / "cache") as world:
            whole = await world.search(await world.collect(repository), "thermostat debounce")
            part = await world.search(await world.collect(repository / "pkg"), "thermostat debounce")
            docs = await world.search(await world.collect(repository), "thermostat debounce", "docs")

    assert whole.passages[0].path == "pkg/beta.py"
    assert whole.passages[0].score > 0
    assert part.passages[0].path == "beta.py"
    assert {each.score for each in docs.passages} == {0.0}
