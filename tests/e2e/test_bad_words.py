"""Commands given what nobody should give them: a sentence and a code, never a traceback."""

from __future__ import annotations

import pytest

from daemon_world import Daemon


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["memory", "import", "/nowhere/at-all"], 65, "/nowhere/at-all"),
        (["bugreport", "/nowhere/at-all.tar.gz"], 65, "/nowhere/at-all.tar.gz"),
        (["jobs", "show", "nobody"], 1, "nobody"),
        (["ask", "q", "\udcff"], 65, "not UTF-8"),
        (["ask", "", "."], 2, "query"),
        (["ask", "q", "/nowhere"], 1, "/nowhere"),
        (["memory", "recall", "--limit", "0"], 2, "limit"),
    ],
)
def test_bad_words_are_answered_with_a_sentence_and_a_code(
    daemon: Daemon, words: list[str], code: int, says: str
):
    done = daemon.places.run(*words)

    assert done.code == code, done.err
    assert says in done.err
    assert "Traceback" not in done.err
    assert done.out == ""
