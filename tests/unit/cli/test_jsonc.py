"""Edits of JSON with comments: what they say, and that everything else keeps its bytes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlmd.cli import jsonc

SETTINGS = """\
// my settings
{
    "theme": "dark", // at night
    /* servers */
    "mcpServers": {
        "other": {"command": "x"}, // mine
        // end of servers
    },
}
"""


def test_a_member_is_added_as_its_neighbours_are_laid_out():
    assert jsonc.put(SETTINGS, ["mcpServers", "rlmd"], {"command": "p", "args": ["a"]}) == (
        "// my settings\n"
        "{\n"
        '    "theme": "dark", // at night\n'
        "    /* servers */\n"
        '    "mcpServers": {\n'
        '        "other": {"command": "x"}, // mine\n'
        '        "rlmd": {\n'
        '            "command": "p",\n'
        '            "args": [\n'
        '                "a"\n'
        "            ]\n"
        "        },\n"
        "        // end of servers\n"
        "    },\n"
        "}\n"
    )


@pytest.mark.parametrize(
    ("text", "path", "result"),
    [
        ("", ["a", "b"], '{\n  "a": {\n    "b": 1\n  }\n}\n'),
        ("{}", ["a"], '{\n  "a": 1\n}'),
        ("{ /* nothing */ }", ["a"], '{ /* nothing */\n  "a": 1\n}'),
        ('{"b": 2}', ["a"], '{"b": 2, "a": 1}'),
        ('{"a": 2}', ["a"], '{"a": 1}'),
        ('{"a": 0, "a": 2}', ["a"], '{"a": 0, "a": 1}'),
        ('{\n\t"b": 2 // two\n}\n', ["a"], '{\n\t"b": 2, // two\n\t"a": 1\n}\n'),
        ('\ufeff{\r\n  "b": 2\r\n}', ["a"], '\ufeff{\r\n  "b": 2,\r\n  "a": 1\r\n}'),
    ],
)
def test_where_a_value_is_put(text: str, path: list[str], result: str):
    assert jsonc.put(text, path, 1) == result


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ('{"a": 1}', "{}"),
        ('{"a": 1, "b": 2}', '{ "b": 2}'),
        ('{"b": 2, "a": 1}', '{"b": 2 }'),
        ('{\n  "b": 2, // two\n  "a": 1 // one\n}', '{\n  "b": 2 // two\n   // one\n}'),
        ('{\n  "b": 2,\n  "a": 1\n}\n', '{\n  "b": 2\n}\n'),
        ('{\n  "a": 1,\n  "b": 2\n}\n', '{\n  "b": 2\n}\n'),
        ('{"b": 2}', '{"b": 2}'),
        ("", ""),
    ],
)
def test_what_is_left_when_a_member_is_dropped(text: str, result: str):
    assert jsonc.drop(text, ["a"]) == result


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("{", 1),
        ('{\n"a" 1}', 2),
        ('{"a": 1} 2', 1),
        ("{'a': 1}", 1),
        ('{"a": 1\n\n"b": 2}', 3),
        ("[1 2]", 1),
        ("{,}", 1),
        ('{"a": tru}', 1),
        ('{"a": "\\x"}', 1),
        ("/* ", 1),
        ("[" * 5_000, 1),
    ],
)
def test_a_text_that_is_no_json_says_where(text: str, line: int):
    with pytest.raises(jsonc.NotJson) as raised:
        jsonc.put(text, ["a"], 1)

    assert raised.value.line == line


def test_no_edit_leads_through_a_value_that_is_no_object():
    with pytest.raises(jsonc.NotAnObject, match="mcpServers"):
        jsonc.put('{"mcpServers": []}', ["mcpServers", "rlmd"], {})
    with pytest.raises(jsonc.NotAnObject, match="the whole"):
        jsonc.put("[]", ["mcpServers", "rlmd"], {})


NAMES = st.sampled_from(["a", "b", "c/*", "d//", 'e"', ""])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
TRIVIA = st.sampled_from(["", " ", "\n", "\t", "// one, {\n", "/* two */", "\n  /* th}ree */ // 3\n", "\r\n"])


@st.composite
def documents(draw: st.DrawFn, value: object = None) -> tuple[str, dict[str, object]]:
    """Write an object with comments and commas wherever they may stand."""
    wanted = draw(st.dictionaries(NAMES, VALUES, max_size=4))

    def write(value: object) -> str:
        if isinstance(value, dict):
            parts = [
                f"{gap()}{json.dumps(name)}{gap()}:{gap()}{write(each)}{gap()}"
                for name, each in value.items()
            ]
        elif isinstance(value, list):
            parts = [f"{gap()}{write(each)}{gap()}" for each in value]
        else:
            return json.dumps(value)
        opening, closing = "{}" if isinstance(value, dict) else "[]"
        trailing = draw(st.sampled_from(["", ","])) if parts else ""
        return f"{opening}{','.join(parts)}{trailing}{gap()}{closing}"

    def gap() -> str:
        return draw(TRIVIA)

    return f"{gap()}{write(wanted)}{gap()}", wanted


@given(documents(), st.lists(NAMES, min_size=1, max_size=3), VALUES)
def test_an_edit_changes_what_it_says_and_loses_nothing(document, path, value):
    text, wanted = document
    holder = expected = json.loads(json.dumps(wanted))
    for name in path[:-1]:
        holder = holder.setdefault(name, {})
        if not isinstance(holder, dict):
            with pytest.raises(jsonc.NotAnObject):
                jsonc.put(text, path, value)
            return
    new = path[-1] not in holder
    holder[path[-1]] = value

    edited = jsonc.put(text, path, value)

    assert jsonc.loads(text) == wanted
    assert jsonc.loads(edited) == expected
    assert jsonc.put(edited, path, value) == edited
    assert not new or jsonc.comments(edited) == jsonc.comments(text)
    del holder[path[-1]]
    assert jsonc.loads(jsonc.drop(edited, path)) == expected
    assert not new or jsonc.comments(jsonc.drop(edited, path)) == jsonc.comments(text)
