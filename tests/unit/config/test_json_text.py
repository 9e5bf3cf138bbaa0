from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitbuild.config.json_text import json_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({}, "{}"),
        ([], "[]"),
        ((), "[]"),
        (("a", 1), '[\n    "a",\n    1\n]'),
        ({"b": {"c": [True, False]}, "a": {}}, None),
        ("<a>&b", '"\\u003ca\\u003e\\u0026b"'),
        ("\u2028\u2029", '"\\u2028\\u2029"'),
        ('"\\\b\f\n\r\t\x01\x1f\x7f', '"\\"\\\\\\b\\f\\n\\r\\t\\u0001\\u001f\x7f"'),
        ("é💾", '"é💾"'),
        ("\ud800x", '"\ufffdx"'),
        (18446744073709551615, "18446744073709551615"),
        ({"a<b": 1}, '{\n    "a\\u003cb": 1\n}'),
    ],
)
def test_text_is_as_go_writes_it(value: object, text: str | None) -> None:
    expected = json.dumps(value, indent=4) if text is None else text

    assert expected == json_text(value)


_values = st.recursive(
    st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab<é"), inner, max_size=4),
    max_leaves=12,
)


@given(_values)
def test_text_reads_back_and_differs_from_pythons_by_escapes_alone(value: object) -> None:
    text = json_text(value)

    assert value == json.loads(text)
    assert json.dumps(value, indent=4, ensure_ascii=False).count("\n") == text.count("\n")
