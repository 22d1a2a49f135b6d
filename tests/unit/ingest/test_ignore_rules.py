from __future__ import annotations

import time

import pytest

from rlmd.ingest.globs import BadGlob, byte_view, expand_braces
from rlmd.ingest.ignore import Rules, Scope, Source
from rlmd.ingest.tables import Sieve


def ignored(text: str, path: str, *, is_dir: bool = False) -> bool | None:
    prefix, _, name = byte_view(path).rpartition("/")
    return Rules.from_bytes(text.encode()).verdict(f"{prefix}/" if prefix else "", name, is_dir=is_dir)


@pytest.mark.parametrize(
    ("line", "path", "expected"),
    [
        ("a", "deep/a", True),
        ("/a", "a", True),
        ("/a", "deep/a", None),
        ("*.o", "deep/x.o", True),
        ("*.o", ".o", True),
        ("*.tar.gz", "x.tar.gz", True),
        ("d/a", "d/a", True),
        ("d/a", "deep/d/a", None),
        ("**/d/a", "deep/er/d/a", True),
        ("d/**", "d/x/y", True),
        ("d/**/a", "d/a", True),
        ("d/**/a", "d/x/y/a", True),
        ("d/*", "d/x/y", None),
        ("/**", "d/x/y", True),
        ("a?c", "abc", True),
        ("a?c", "a/c", None),
        ("a[!b]c", "a/c", None),
        ("[a-c]x", "bx", True),
        ("[]a]x", "]x", True),
        ("{a,b}.c", "b.c", True),
        ("x{a,b/{c,d}}", "xb/d", True),
        ("/*{.c,*}", "d/x", None),
        ("/*{.c,*}", "x.c", True),
        (r"\!a", "!a", True),
        (r"\#a", "#a", True),
        ("#a", "#a", None),
        (r"a\*", "a*", True),
        (r"a\*", "ab", None),
        ("a  ", "a", True),
        ("a\\ ", "a ", True),
        ("a\r", "a", True),
        ("\ufeffa", "a", True),
        ("[a", "[a", None),
        ("{a", "{a", None),
        ("a\\", "a\\", None),
        ("", "a", None),
        ("/", "a", None),
        ("a?", "a\u00e9", None),
        ("a??", "a\u00e9", True),
    ],
)
def test_a_line_speaks_of_exactly_the_paths_ripgrep_says(line, path, expected):
    assert ignored(line, path) is expected


def test_a_trailing_slash_means_directories_only():
    assert ignored("a/", "a", is_dir=True) is True
    assert ignored("a/", "a") is None


def test_the_last_line_that_matches_wins():
    assert ignored("*.c\n!keep.c\n", "keep.c") is False
    assert ignored("!keep.c\n*.c\n", "keep.c") is True
    assert ignored("*\n!*.c\nkeep.?\n", "keep.c") is True


def test_a_stronger_source_overrules_a_weaker_one_however_near():
    above = Scope().extended({Source.RGIGNORE: Rules(["!a"])}, work_tree=True)

    below = above.child("d").extended({Source.IGNORE: Rules(["a"]), Source.GITIGNORE: Rules(["a"])})

    assert below.verdict("a", is_dir=False) is False


def test_the_nearer_of_two_equal_sources_wins():
    above = Scope().extended({Source.IGNORE: Rules(["a", "b"])})

    below = above.child("d").extended({Source.IGNORE: Rules(["!a"])})

    assert below.verdict("a", is_dir=False) is False
    assert below.verdict("b", is_dir=False) is True


def test_git_rules_hold_inside_a_work_tree_only_and_stop_at_the_next():
    rules = {Source.GITIGNORE: Rules(["a"]), Source.IGNORE: Rules(["b"])}

    outside = Scope().extended(rules)
    inside = Scope().extended(rules, work_tree=True)
    nested = inside.child("d").extended({}, work_tree=True)

    assert outside.verdict("a", is_dir=False) is None
    assert inside.verdict("a", is_dir=False) is True
    assert nested.verdict("a", is_dir=False) is None
    assert nested.verdict("b", is_dir=False) is True


def test_more_alternatives_than_a_person_writes_are_no_rule():
    with pytest.raises(BadGlob):
        expand_braces("{a,b}" * 20)


@pytest.mark.parametrize("glob", ["*a" * 60 + "b", "**/a*/" * 20 + "b", "/" + "**/*a/" * 20 + "b"])
def test_a_hostile_glob_takes_no_time(glob):
    rules = Rules.from_globs([glob])
    began = time.process_time()

    rules.verdict("aaaa/" * 40, "a" * 250, is_dir=False)

    assert time.process_time() - began < 0.5


def test_a_sieve_keeps_every_name_some_rule_speaks_of():
    rules = Rules.from_globs(["*.o", "exact", ".*", "d/x", "/top", "*~", "[x-z]?"])

    assert Sieve(list(rules.tables(""))).sift(["a.o", "exact", ".h", "x", "top", "c", "c~", "zz"]) == {
        "a.o", "exact", ".h", "top", "c~", "zz"
    }  # fmt: skip
    assert Sieve(list(rules.tables("d/"))).sift(["x", "top", "c"]) == {"x"}
