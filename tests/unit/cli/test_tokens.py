"""`rlmd tokens`: sums by directory, equal to what tiktoken counts, in both encodings."""

import json
from pathlib import Path

from rlmd.cli.tokens import count_tree, tree_of
from rlmd.tokens.encodings import CL100K_BASE, O200K_BASE
from rlmd.tokens.engines import choose_engine


def test_files_are_summed_under_each_directory_down_to_the_depth():
    files = [("a/b/c.py", 10, 3, 4), ("a/d.py", 5, 1, 2), ("e.py", 1, 1, 1)]

    sums = {
        path: (each.files, each.bytes, each.o200k, each.cl100k) for path, each in tree_of(files, 2).items()
    }

    assert sums == {
        ".": (3, 16, 5, 7),
        "a/": (2, 15, 4, 6),
        "a/b/": (1, 10, 3, 4),
        "a/d.py": (1, 5, 1, 2),
        "e.py": (1, 1, 1, 1),
    }


def test_both_encodings_count_as_tiktoken_does(home, tmp_path: Path, capsys):
    text = "def main():\n    return 'naïve 日本'\n" * 20
    (tmp_path / "a.py").write_text(text)

    code = count_tree(str(tmp_path), depth=1, as_json=True)

    found = {row["path"]: row for row in json.loads(capsys.readouterr().out)["tree"]}
    expected = [len(choose_engine(each, "tiktoken").encode(text)) for each in (O200K_BASE, CL100K_BASE)]
    assert code == 0
    assert [found["a.py"]["o200k"], found["a.py"]["cl100k"]] == expected
    assert found["."] == {**found["a.py"], "path": "."}


def test_what_is_no_directory_is_bad_input(home, tmp_path: Path, capsys):
    assert count_tree(str(tmp_path / "gone"), depth=1, as_json=False) == 65
    assert "no such directory" in capsys.readouterr().err
