"""Revisions, archives and papers: what they hold, and what hostile ones come to."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from rlmd.errors import BadArgument, NotFound, TooLarge
from rlmd.ingest import paper
from rlmd.ingest.archive import archive
from rlmd.ingest.bundle import Bounds, Bundle
from rlmd.ingest.revision import place_of, revision
from rlmd.requests import Document
from rlmd.values import Skip, WalkRules

RULES = WalkRules(secret=(".env*",))
BOUNDS = Bounds(100, 1 << 20, 1 << 16)


def texts(bundle: Bundle) -> dict[str, str]:
    return {each.path: each.data.decode() for each in bundle.documents() if isinstance(each, Document)}


def skipped(bundle: Bundle) -> dict[str, str]:
    return {each.path: each.reason for each in bundle.documents() if isinstance(each, Skip)}


def git(repository: Path, *arguments: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", *who, "-C", str(repository), *arguments], check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Two commits, then a work tree that is neither."""
    top = tmp_path / "r"
    (top / "sub").mkdir(parents=True)
    git(tmp_path, "init", "-q", "r")
    (top / "a.txt").write_text("first\n")
    (top / "sub" / "b.txt").write_text("unchanged\n")
    (top / "line\nend").write_text("odd name\n")
    (top / ".env").write_text("SECRET=1\n")
    (top / "link").symlink_to("/etc/passwd")
    (top / "x.bin").write_bytes(b"\0\1")
    git(top, "add", "-A")
    git(top, "commit", "-qm", "begin")
    (top / "a.txt").write_text("second\n")
    git(top, "commit", "-qam", "change a")
    (top / "a.txt").write_text("third\n")
    return top


def test_a_revision_is_read_without_the_work_tree(repository: Path) -> None:
    found = revision(place_of(str(repository)), "HEAD~1", RULES, BOUNDS)

    assert texts(found) == {"a.txt": "first\n", "line\nend": "odd name\n", "sub/b.txt": "unchanged\n"}
    assert skipped(found) == {".env": "secret", "link": "special", "x.bin": "binary"}
    assert (repository / "a.txt").read_text() == "third\n"


def test_a_directory_and_a_file_of_a_revision_are_named_from_there(repository: Path) -> None:
    assert texts(revision(place_of(str(repository / "sub")), "HEAD", RULES, BOUNDS)) == {
        "b.txt": "unchanged\n"
    }
    assert texts(revision(place_of(str(repository / "a.txt")), "HEAD", RULES, BOUNDS)) == {
        "a.txt": "second\n"
    }


def test_a_range_holds_what_changed_how_and_why(repository: Path) -> None:
    found = texts(revision(place_of(str(repository)), "HEAD~1..HEAD", RULES, BOUNDS))

    assert set(found) == {"@log", "@diff/a.txt.diff", "a.txt"}
    assert found["a.txt"] == "second\n"
    assert "-first\n+second\n" in found["@diff/a.txt.diff"]
    assert "change a" in found["@log"]


def test_a_repository_cannot_have_changes_told_of_another_file(repository: Path) -> None:
    (repository / "b.txt").write_text("new\n")
    git(repository, "add", "b.txt")
    git(repository, "commit", "-qm", "another")
    (repository / "order").write_text("b.txt\n")
    git(repository, "config", "diff.orderFile", "order")

    found = texts(revision(place_of(str(repository)), "HEAD~2..HEAD", WalkRules(), BOUNDS))

    assert "+++ b/a.txt" in found["@diff/a.txt.diff"]
    assert "+++ b/b.txt" in found["@diff/b.txt.diff"]


def test_a_range_of_more_than_may_be_held_is_refused_or_left_out(repository: Path) -> None:
    (repository / "large.txt").write_text("line of text\n" * 8_000)
    git(repository, "add", "large.txt")
    git(repository, "commit", "-qm", "grow")
    tight = replace(BOUNDS, max_bytes=50_000)

    assert skipped(revision(place_of(str(repository)), "HEAD~1..HEAD", WalkRules(), BOUNDS)) == {
        "large.txt": "too_large"
    }
    with pytest.raises(TooLarge):
        texts(revision(place_of(str(repository)), "HEAD~1..HEAD", WalkRules(), tight))


@pytest.mark.parametrize("name", ["nowhere", "--help", "HEAD^{tree}^{commit}x", "", "HEAD..nowhere"])
def test_a_revision_that_is_not_there_is_told(repository: Path, name: str) -> None:
    with pytest.raises(NotFound):
        texts(revision(place_of(str(repository)), name, RULES, BOUNDS))


def test_a_repository_runs_nothing_of_its_own(repository: Path, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    hook = tmp_path / "evil"
    hook.write_text(f"#!/bin/sh\ntouch {mark}\ncat\n")
    hook.chmod(0o755)
    (repository / ".gitattributes").write_text("* filter=evil diff=evil\n")
    for key in ("filter.evil.smudge", "filter.evil.clean", "diff.evil.textconv", "diff.evil.command"):
        git(repository, "config", key, str(hook))
    for key in ("core.fsmonitor", "core.pager", "diff.external", "core.sshCommand", "gpg.program"):
        git(repository, "config", key, str(hook))

    assert texts(revision(place_of(str(repository)), "HEAD~1..HEAD", RULES, BOUNDS))["a.txt"] == "second\n"
    assert texts(revision(place_of(str(repository)), "HEAD", RULES, BOUNDS))["a.txt"] == "second\n"
    assert not mark.exists()


def test_what_is_no_repository_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadArgument, match="repository"):
        place_of(str(tmp_path))


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for name, data in members.items():
            out.writestr(name, data)
    return path


def tarred(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, f"w:{path.suffix[1:] if path.suffix != '.tar' else ''}") as out:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        out.addfile(link)
    return path


MEMBERS = {
    "d/a.txt": b"a\n",
    "./b.txt": b"b\n",
    "../out.txt": b"x",
    "/abs.txt": b"x",
    ".env": b"x",
    "big": b"x" * (1 << 17),
    "n.bin": b"\0",
}
LEFT_OUT = {
    "../out.txt": "special",
    "/abs.txt": "special",
    ".env": "secret",
    "big": "too_large",
    "n.bin": "binary",
}


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz", "x.tar.bz2", "x.tar.xz"])
def test_an_archive_gives_its_texts_and_nothing_that_leads_out(tmp_path: Path, name: str) -> None:
    path = zipped(tmp_path / name, MEMBERS) if name == "x.zip" else tarred(tmp_path / name, MEMBERS)

    found = archive(str(path), RULES, BOUNDS)

    assert texts(found) == {"d/a.txt": "a\n", "b.txt": "b\n"}
    assert skipped(found) == LEFT_OUT | ({} if name == "x.zip" else {"link": "special"})
    assert os.listdir(tmp_path) == [name]


def test_a_bomb_is_given_up(tmp_path: Path) -> None:
    many = zipped(tmp_path / "many.zip", {f"f{number}": b"x" for number in range(101)})
    large = zipped(tmp_path / "large.zip", {f"f{number}": b"x" * 60_000 for number in range(40)})
    bomb = tmp_path / "bomb.tar.gz"
    with gzip.open(bomb, "wb", compresslevel=1) as out:
        info = tarfile.TarInfo("zeros")
        info.size = 8 << 20
        out.write(info.tobuf() + bytes(8 << 20))

    for path in (many, large, bomb):
        with pytest.raises(TooLarge):
            texts(archive(str(path), RULES, BOUNDS))


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz", "x.tar.xz", "x.tar.bz2"])
def test_what_is_no_archive_or_is_cut_short_is_told(tmp_path: Path, name: str) -> None:
    whole = zipped(tmp_path / name, MEMBERS) if name == "x.zip" else tarred(tmp_path / name, MEMBERS)
    for data in (b"", b"nonsense" * 200, whole.read_bytes()[: whole.stat().st_size // 3]):
        (tmp_path / name).write_bytes(data)
        if data or name != "x.tar":
            with pytest.raises(BadArgument):
                texts(archive(str(tmp_path / name), RULES, BOUNDS))


def test_a_notebook_is_its_cells(tmp_path: Path) -> None:
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "text"]},
        {"cell_type": "code", "source": "1 + 1", "outputs": [{"data": {"text/plain": "2"}}]},
    ]
    (tmp_path / "n.ipynb").write_text(json.dumps({"cells": cells}))

    text = paper.text_of(str(tmp_path / "n.ipynb"), 1 << 20, memory_bytes=None).decode()

    assert text == "[cell 1: markdown]\n# Title\ntext\n[cell 2: code]\n1 + 1\n[output of cell 2]\n2\n"


W = "xmlns:w='http://schemas.openxmlformats.org/wordprocessingml/2006/main'"
S = "xmlns='http://schemas.openxmlformats.org/spreadsheetml/2006/main'"
OFFICE: dict[str, tuple[dict[str, bytes], str]] = {
    "d.docx": (
        {"word/document.xml": f"<w:d {W}><w:p><w:t>one</w:t><w:tab/><w:t>two</w:t></w:p></w:d>".encode()},
        "one\ttwo\n",
    ),
    "p.pptx": (
        {
            "ppt/slides/slide2.xml": b"<p><t>b</t></p>",
            "ppt/slides/slide1.xml": b"<a><p><t>a</t></p></a>",
        },
        "[slide 1]\na\n[slide 2]\nb\n",
    ),
    "s.xlsx": (
        {
            "xl/sharedStrings.xml": f"<sst {S}><si><t>name</t></si></sst>".encode(),
            "xl/worksheets/sheet1.xml": b"<w><row><c t='s'><v>0</v></c><c><v>7</v></c></row></w>",
        },
        "[sheet 1]\nname\t7\n",
    ),
    "t.odt": ({"content.xml": b"<o><h>Head</h><p>some <span>text</span></p></o>"}, "Head\nsome text\n"),
}


@pytest.mark.parametrize("name", OFFICE)
def test_an_office_document_is_its_text(tmp_path: Path, name: str) -> None:
    parts, expected = OFFICE[name]
    zipped(tmp_path / name, parts)

    assert paper.text_of(str(tmp_path / name), 1 << 20, memory_bytes=None).decode() == expected


@pytest.mark.parametrize("name", ["a.pdf", "a.docx", "a.ipynb", "a.xlsx"])
def test_a_broken_document_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"%PDF-1.4 nonsense")

    with pytest.raises(BadArgument):
        paper.text_of(str(tmp_path / name), 1 << 20, memory_bytes=None)


def test_a_document_of_too_much_text_is_given_up(tmp_path: Path) -> None:
    parts = {"content.xml": b"<o>" + b"<p>text</p>" * 1000 + b"</o>"}

    with pytest.raises(TooLarge):
        paper.text_of(str(zipped(tmp_path / "t.odt", parts)), 1000, memory_bytes=None)
