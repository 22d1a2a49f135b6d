from __future__ import annotations

import os
from pathlib import Path

import pytest

from rlmd.errors import BadArgument, NotFound, OutsideRoots
from rlmd.roots import Roots, relative_to
from rlmd.values import Session


@pytest.fixture
def places(tmp_path: Path) -> Path:
    """A workspace with one file, and beside it a directory that nobody may read."""
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "notes.md").write_text("x")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "there.txt").write_text("x")
    return tmp_path


def session(places: Path, *, allow: tuple[str, ...] = ()) -> Session:
    return Session("s", workspace=str(places / "work"), allow=allow)


def test_a_relative_path_resolves_against_the_workspace(places: Path) -> None:
    resolved = Roots((), ()).resolve("notes.md", session(places))

    assert resolved == str(places / "work" / "notes.md")


def test_a_relative_path_without_a_workspace_is_a_bad_argument() -> None:
    with pytest.raises(BadArgument, match="no workspace"):
        Roots((), ()).resolve("notes.md", Session("s"))


@pytest.mark.parametrize("path", ["", "a\0b", "\udc80"])
def test_what_is_no_path_is_a_bad_argument(places: Path, path: str) -> None:
    with pytest.raises(BadArgument):
        Roots((), ()).resolve(path, session(places))


@pytest.mark.parametrize("name", ["there.txt", "not-there.txt"])
def test_outside_is_refused_alike_whether_the_path_exists_or_not(places: Path, name: str) -> None:
    with pytest.raises(OutsideRoots) as refused:
        Roots((), ()).resolve(f"../other/{name}", session(places))

    assert refused.value.message == f"../other/{name} is outside of what this session may read"
    assert "roots.allow" in refused.value.hint


@pytest.mark.parametrize("name", ["there.txt", "not-there.txt"])
def test_a_symlink_does_not_lead_out(places: Path, name: str) -> None:
    (places / "work" / "door").symlink_to(places / "other" / name)

    with pytest.raises(OutsideRoots):
        Roots((), ()).resolve("door", session(places))


def test_a_sibling_with_the_workspace_as_its_prefix_is_outside(places: Path) -> None:
    (places / "workshop").mkdir()

    with pytest.raises(OutsideRoots):
        Roots((), ()).resolve(str(places / "workshop"), session(places))


def test_a_place_is_allowed_by_the_settings_or_by_what_the_person_typed(places: Path) -> None:
    there = str(places / "other" / "there.txt")

    assert Roots((str(places / "other"),), ()).resolve(there, session(places)) == there
    assert Roots((), ()).resolve(there, session(places, allow=(str(places / "other"),))) == there


def test_deny_beats_allow_and_comes_before_existence(places: Path) -> None:
    roots = Roots((str(places),), (str(places / "other"),))

    with pytest.raises(OutsideRoots, match=r"roots\.deny"):
        roots.resolve(
            str(places / "other" / "not-there.txt"), session(places, allow=(str(places / "other"),))
        )


def test_a_symlinked_deny_closes_what_it_leads_to(places: Path) -> None:
    (places / "alias").symlink_to(places / "other")

    with pytest.raises(OutsideRoots, match=r"roots\.deny"):
        Roots((str(places),), (str(places / "alias"),)).resolve(str(places / "other"), session(places))


def test_a_tilde_is_the_home_in_settings_and_paths(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(places / "other"))

    assert Roots(("~",), ()).resolve("~/there.txt", Session("s")) == str(places / "other" / "there.txt")


@pytest.mark.parametrize("workspace", ["/", "~"])
def test_a_workspace_of_everything_widens_nothing(
    places: Path, monkeypatch: pytest.MonkeyPatch, workspace: str
) -> None:
    monkeypatch.setenv("HOME", str(places / "other"))

    with pytest.raises(OutsideRoots):
        Roots((), ()).resolve(
            str(places / "other" / "there.txt"), Session("s", workspace=os.path.expanduser(workspace))
        )


def test_a_missing_path_comes_with_the_nearest_that_exist(places: Path) -> None:
    (places / "work" / "secret-notes.md").write_text("x")

    with pytest.raises(NotFound) as missing:
        Roots((), (str(places / "work" / "secret-notes.md"),)).resolve("NOTES.txt", session(places))

    assert missing.value.message == "no such path: NOTES.txt"
    assert missing.value.hint == "The nearest that exist: notes.md."


def test_a_path_missing_from_a_missing_directory_names_what_is_like_that_directory(places: Path) -> None:
    (places / "work" / "source").mkdir()

    with pytest.raises(NotFound) as missing:
        Roots((), ()).resolve("sources/main/x.py", session(places))

    assert missing.value.hint == "The nearest that exist: source."


def test_a_path_through_a_file_or_a_loop_is_not_found(places: Path) -> None:
    (places / "work" / "loop").symlink_to("loop")

    for path in ("notes.md/x", "loop"):
        with pytest.raises(NotFound):
            Roots((), ()).resolve(path, session(places))


@pytest.mark.parametrize(
    ("path", "workspace", "shown"),
    [
        ("/w/a/b", "/w", "a/b"),
        ("/w", "/w", "."),
        ("/ws/a", "/w", "/ws/a"),
        ("/a", "/", "a"),
        ("/a", None, "/a"),
    ],
)
def test_paths_show_relative_to_the_workspace_and_absolute_outside(
    path: str, workspace: str | None, shown: str
) -> None:
    assert relative_to(path, workspace) == shown
