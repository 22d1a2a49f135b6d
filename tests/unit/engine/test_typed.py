"""Answers of a form that the caller gave."""

import pytest

from rlmd.engine.typed import as_text, form
from rlmd.errors import BadArgument

COUNTS = {
    "type": "object",
    "properties": {"n": {"type": "integer"}, "who": {"type": "string", "pattern": "^[a-z]+$"}},
    "required": ["n"],
    "additionalProperties": False,
}


def test_an_answer_of_the_form_has_no_faults():
    assert form(COUNTS)({"n": 3, "who": "ann"}) == []


def test_each_fault_is_told_with_its_place():
    assert form(COUNTS)({"n": "3", "who": "A"}) == [
        "$.n: '3' is not of type 'integer'",
        "$.who: 'A' does not match '^[a-z]+$'",
    ]


@pytest.mark.parametrize("schema", [[], 3, {"type": "nothing"}, {"pattern": "(?=a)"}])
def test_a_schema_that_is_none_is_refused(schema):
    with pytest.raises(BadArgument, match="schema"):
        form(schema)


def test_a_reference_leads_nowhere_outside():
    with pytest.raises(BadArgument, match="ref"):
        form({"properties": {"a": {"$ref": "https://example.invalid/schema"}}})


def test_texts_stay_as_they_are():
    assert (as_text("a"), as_text({"é": 1})) == ("a", '{"é": 1}')
