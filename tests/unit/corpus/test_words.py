from collections import Counter

import pytest

from rlmd.corpus.index import stemmer
from rlmd.corpus.words import LONGEST, Terms, split_word, wanted


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("parseHTTPRequest", ["parse", "http", "request", "parsehttprequest"]),
        ("retry_delay_s", ["retry", "delay", "retry_delay_s"]),
        ("__init__", ["init"]),
        ("sha256", ["sha", "256", "sha256"]),
        ("x", []),
        ("7", ["7"]),
        ("0x1F", ["0x1f"]),
        ("größe", ["gr", "e", "größe"]),
    ],
)
def test_an_identifier_falls_into_its_parts_and_stays_whole(word: str, parts: list[str]) -> None:
    found = [part for part in split_word(word) if part != "öß"]

    assert found == [part for part in parts if len(part) > 1 or part.isdigit()]


def test_text_becomes_stemmed_terms_in_order() -> None:
    terms = Terms(stemmer())

    assert terms.of("def computeDelays(retries):  # 2nd").split() == [
        "def", "comput", "delay", "computedelays", "retri", "2nd",
    ]  # fmt: skip


def test_ascii_and_other_text_split_alike() -> None:
    words = "fooBar-baz_qux/42 HTTPServer 2nd"

    assert Terms(stemmer()).of(words).split() == Terms(stemmer()).of(words + " é").split()


def test_a_word_means_the_same_wherever_it_stands() -> None:
    """Learnt among others or alone, in a text or in a question."""
    words = ["parseHTTPRequest", "u32", "_", "$x", "__init__", "0x1F", "2nd", "größe", "A", "a_b", "x" * 300]
    together = Terms(stemmer()).of_all([" ".join(words), *words])

    alone = [Terms(stemmer()).of(word) for word in words]

    assert [each.split() for each in together[1:]] == [each.split() for each in alone]
    assert together[0].split() == " ".join(alone).split()
    assert wanted(" ".join(words), stemmer()) == Counter(together[0].split())


def test_runs_that_are_data_are_left_out() -> None:
    assert Terms(stemmer()).of("a" * (LONGEST + 1) + " delay").split() == ["delay"]


def test_the_table_of_words_is_bounded() -> None:
    terms = Terms(stemmer(), most=10)

    terms.of(" ".join(f"word{number}" for number in range(100)))

    assert len(terms) <= 10


def test_stop_words_are_not_asked_for_unless_there_is_nothing_else() -> None:
    assert wanted("How does the retry work?", stemmer()) == {"retri": 1}
    assert wanted("what is this", stemmer()) == {"what": 1, "is": 1, "this": 1}
    assert wanted("?!", stemmer()) == {}
