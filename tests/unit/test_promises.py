"""The page of promises names only what exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = re.findall(
    r"^\| ([SF]\d[^|]*)\|[^|]+\| `([^`]+)` \|$", (ROOT / "docs/promises.md").read_text(), re.MULTILINE
)


def test_the_page_has_its_rows():
    assert len(ROWS) > 30


@pytest.mark.parametrize(("promise", "shown_by"), ROWS)
def test_what_a_promise_is_shown_by_exists(promise, shown_by):
    file, _, name = shown_by.partition("::")

    text = (ROOT / file).read_text()

    assert not name or re.search(rf"^(async )?def {name}\(", text, re.MULTILINE), (
        f"{promise} has lost {shown_by}"
    )
