from typing import Any

from rlmd.corpus.index import stemmer
from rlmd.corpus.path_words import PathWords
from rlmd.corpus.rank import Hit, diversify, front_first, rank
from rlmd.corpus.roles import WEIGHTS, role


def hit(score: float, number: int, start: int = 0) -> Hit:
    nothing: Any = None
    return Hit(score, number, start, start + 10, 0, 0, nothing, nothing)


def test_a_test_that_matches_better_comes_after_the_source() -> None:
    weights = [0.5, 1.0]

    ranked = rank([hit(9, 0), hit(8, 1)], lambda number: [number], weights.__getitem__, lambda _: 0.0)

    assert [row for _, row, _ in ranked] == [1, 0]
    assert ranked[0][0] == 0.75 + 0.25 * 8 / 9


def test_a_path_that_says_the_words_lifts_its_file() -> None:
    named = [0.0, 1.0]

    ranked = rank([hit(9, 0), hit(8, 1)], lambda number: [number], lambda _: 1.0, named.__getitem__)

    assert [row for _, row, _ in ranked] == [1, 0]


def test_dead_contents_are_dropped_and_twins_shown_where_they_score_best() -> None:
    rows: dict[int, list[int]] = {0: [], 1: [2, 3]}
    weights = {2: 0.5, 3: 1.0}

    ranked = rank([hit(9, 0), hit(4, 1)], rows.__getitem__, weights.__getitem__, lambda _: 0.0)

    assert [(score, row) for score, row, _ in ranked] == [(1.0, 3)]


def test_a_file_gains_by_its_next_best_cuts() -> None:
    ranked = rank([hit(9, 0), hit(8, 1), hit(8, 1, 20)], lambda n: [n], lambda _: 1.0, lambda _: 0.0)

    assert [row for _, row, _ in ranked] == [1, 1, 0]


def test_at_most_so_many_of_a_file_and_then_only_further_files() -> None:
    ranked = [(1.0 - n / 100, n // 5, hit(1, n // 5, n)) for n in range(30)]

    taken = diversify(ranked, limit=4, per_file=2, least_files=4)

    assert [row for _, row, _ in taken] == [0, 0, 1, 1, 2, 3]


def test_rare_words_of_paths_count_more() -> None:
    paths = ["app/users/view.py", "app/orders/view.py", "app/retry/view.py"]
    words = PathWords([*paths, *(f"app/view/{n}.py" for n in range(20))], stemmer())

    share = words.weigh({"retri": 1, "view": 1})

    assert share(paths[2]) == 1.0
    assert 0 < share(paths[0]) < 0.5


def test_words_that_no_path_holds_hardly_dilute_the_others() -> None:
    words = PathWords(["a/statsd.py", "a/retry.py", "b/view.py"], stemmer())

    assert words.weigh({"statsd": 1, "type": 1, "error": 1})("a/statsd.py") > 0.6
    assert list(words.named({"statsd": 1, "error": 1})) == [0]


def test_without_words_the_readme_comes_first_then_sources() -> None:
    paths = ("a/b/deep.py", "notes.md", "README.md", "main.py")

    rows = front_first(paths, lambda row: WEIGHTS["code"][role(paths[row])])

    assert [paths[row] for row in rows] == ["README.md", "main.py", "a/b/deep.py", "notes.md"]
