import pytest

from rlmd.corpus.roles import WEIGHTS, role


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("src/app.py", "source"),
        ("Makefile", "source"),
        ("tests/test_app.py", "test"),
        ("pkg/app_test.go", "test"),
        ("web/app.spec.ts", "test"),
        ("unittest/case.py", "source"),
        ("README", "doc"),
        ("docs/conf.py", "doc"),
        ("guide/intro.rst", "doc"),
        ("package.json", "data"),
        ("package-lock.json", "made"),
        ("vendor/tests/x.go", "made"),
        ("uv.lock", "made"),
        ("drivers/spin_lock.c", "source"),
        ("build", "source"),
        ("pkg/Test/case.py", "test"),
        ("static/jquery.min.js", "made"),
    ],
)
def test_a_path_tells_what_a_file_is_for(path: str, expected: str) -> None:
    assert role(path) == expected


def test_the_kind_of_question_decides_what_counts_most() -> None:
    assert max(WEIGHTS["code"], key=WEIGHTS["code"].__getitem__) == "source"
    assert max(WEIGHTS["docs"], key=WEIGHTS["docs"].__getitem__) == "doc"
    assert len({WEIGHTS["any"][each] for each in ("source", "test", "doc", "data")}) == 1
