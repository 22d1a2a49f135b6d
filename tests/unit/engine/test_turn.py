"""What a reply of the root model is taken for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlmd.engine.turn import ENOUGH, Code, Malformed, Repetition, parse


def test_the_one_marked_block_is_the_cell():
    reply = "First I look.\n\n```repl\nfor path in files:\n    print(path)\n```\nThen more."

    assert parse(reply) == Code("for path in files:\n    print(path)\n", "First I look.\n\nThen more.")


@pytest.mark.parametrize(
    "reply",
    [
        "```python\nx = 1\n```",
        "``` Python title=a\nx = 1\n```",
        "~~~repl\nx = 1\n~~~",
        "````repl\nx = 1\n````",
        "  ```repl\nx = 1\n  ```",
        "```repl\r\nx = 1\r\n```",
        "<think>\n```repl\nno\n```\n</think>\n```repl\nx = 1\n```",
        "```json\n{}\n```\n```repl\nx = 1\n```",
    ],
)
def test_a_cell_may_be_fenced_in_any_usual_way(reply):
    found = parse(reply)

    assert isinstance(found, Code)
    assert found.source == "x = 1\n"


def test_a_longer_fence_may_hold_a_shorter_one():
    assert parse("````repl\ns = '''\n```\n'''\n````") == Code("s = '''\n```\n'''\n", "")


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("The answer is 42.", "submit"),
        ("", "no block"),
        ("```\nx = 1\n```", "no block"),
        ("```repl\nx\n```\n```python\ny\n```", "2 blocks"),
        ("```repl\nx = 1", "no end"),
        ("```repl\n\n```", "empty"),
        ("```repl\n```", "empty"),
    ],
)
def test_anything_else_is_told_what_was_wrong(reply, reason):
    found = parse(reply)

    assert isinstance(found, Malformed)
    assert reason in found.reason


@given(
    st.lists(st.sampled_from(["```repl", "```", "~~~", "x = 1", "```python", "````", "<think>", "</think>"]))
)
def test_any_reply_is_one_or_the_other(lines):
    found = parse("\n".join(lines))

    assert isinstance(found, (Code, Malformed))
    if isinstance(found, Code):
        assert found.source.strip()


def test_the_same_cell_with_the_same_outcome_is_a_loop():
    seen = Repetition()

    counts = [seen.note(code, "0") for code in ["a = 1", "b", "a = 1 ", "b", "\na = 1\n"]]

    assert counts == [1, 1, 2, 2, ENOUGH]


def test_the_same_cell_with_news_is_none():
    seen = Repetition()

    assert [seen.note("next(lines)", outcome) for outcome in "abc"] == [1, 1, 1]
