"""Questions about what is no tree, through a real daemon: a revision, an archive, a notebook, a pipe."""

from __future__ import annotations

import json
import subprocess
import zipfile

from daemon_world import Places


def test_revisions_archives_notebooks_and_pipes_are_asked_like_trees(places: Places) -> None:
    tree = places.top / "tree"
    tree.mkdir()
    (tree / "a.py").write_text("def heron():\n    return 'first'\n")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(tree)]
    for arguments in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "begin"]):
        subprocess.run([*git, *arguments], check=True)
    (tree / "a.py").write_text("gone\n")
    with zipfile.ZipFile(tree / "x.zip", "w") as out:
        out.writestr("in/b.txt", "the stork flies\n")
    cells = [{"cell_type": "code", "source": "crane = 1"}]
    (tree / "n.ipynb").write_text(json.dumps({"cells": cells}))

    asked = {
        "heron": ("heron", f"{tree}@HEAD", "a.py:1"),
        "stork": ("stork", f"{tree}/x.zip", "in/b.txt:1"),
        "crane": ("crane", f"{tree}/n.ipynb", "n.ipynb:1"),
    }
    answers = {name: places.run("ask", question, path) for name, (question, path, _) in asked.items()}
    piped = places.run("ask", "egret", "-", stdin="nothing\nan egret stands\n")
    missing = places.run("ask", "heron", f"{tree}@nowhere")
    places.run("stop")

    for name, (_, _, place) in asked.items():
        assert (answers[name].code, place in answers[name].out) == (0, True), answers[name]
    assert (piped.code, "egret stands" in piped.out) == (0, True)
    assert "no such revision" in missing.err
