"""Every expected text of this file was written by yaml.v2 2.4.0 (METADATA) and yaml.v3 3.0.1 (DRY_RUN) themselves."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitbuild.config.emit import DRY_RUN, METADATA, Style, sorted_keys, yaml_text
from kitbuild.config.yaml import parse

_LOREM = "lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod tempor incididunt ut labore"


@pytest.mark.parametrize(
    ("text", "written"),
    [
        *((text, text) for text in ("a", "a b", "/bin/sh", "-x", "?x", ":x", "a,b", "a#b", "a:b", "$A", "=")),
        *((text, text) for text in ("<<", "nan", "1.2.3", "0x", "._5", ".5_", "12:60", "é 日本", "\\")),
        *(
            (text, text)
            for text in ("2020-02-30", "2020-1-2T3:4", "20-01-02", "don't", '5"', "a ? b", "1e999")
        ),
        *(
            (text, f'"{text}"')
            for text in ("", "~", "null", "true", "FALSE", "yes", "No", "on", "OFF", "y", "N")
        ),
        *(
            (text, f'"{text}"')
            for text in ("0", "-1", "+1", "017", "0640", "0o17", "0x1f", "0b1", "1_000", "08")
        ),
        *(
            (text, f'"{text}"')
            for text in (".5", ".5_1", "1.", "1e3", ".inf", "-.inf", ".NaN", "1:30", "1:2:3.4")
        ),
        *((text, f'"{text}"') for text in ("2020-1-2", "2020-01-02 3:4:5.6", "2020-01-02T03:04:05+01:00")),
        *(
            (text, f"'{text}'")
            for text in (" a", "a ", "a: b", "a #b", "a:", "#", "- a", "-", "? a", "*a", "&a")
        ),
        *(
            (text, f"'{text}'")
            for text in ("!a", "|", ">", "%", "@a", "`", "[a]", "]", "{a}", "}", ",a", "---a")
        ),
        ("'a'", "'''a'''"),
        ("it's: a", "'it''s: a'"),
        ("a\tb", '"a\\tb"'),
        ('a\r"\\\x00\x01\x1b\x7f\x85\xad\xa0', '"a\\r\\"\\\\\\0\\x01\\e\\x7F\\N\xad\xa0"'),
        ("a\ufeffb😀", '"a\\uFEFFb\\U0001F600"'),
        ("a \nb", '"a \\nb"'),
        ("a\nb ", '"a\\nb "'),
    ],
)
@pytest.mark.parametrize("style", [METADATA, DRY_RUN])
def test_text_is_written_in_the_plainest_way_that_reads_back(text: str, written: str, style: Style) -> None:
    assert f"a: {written}\n" == yaml_text({"a": text}, style)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a\nb", "value: |-\n  a\n  b\n"),
        ("a\n\nb\n", "value: |\n  a\n\n  b\n"),
        ("a\n\n", "value: |+\n  a\n\n"),
        (" a\nb", "value: |2-\n   a\n  b\n"),
        ("\na", "value: |2-\n\n  a\n"),
        ("\n", "value: |2+\n\n"),
        ("a\n\tb", 'value: "a\\n\\tb"\n'),
        ("a: #b\n", "value: |\n  a: #b\n"),
    ],
)
def test_lines_are_a_block(text: str, written: str) -> None:
    assert written == yaml_text({"value": text}, METADATA)


def test_block_of_a_dry_run_may_hold_tabs() -> None:
    assert yaml_text({"a": "a\n\tb"}, DRY_RUN) == "a: |-\n    a\n    \tb\n"


@pytest.mark.parametrize(
    ("text", "written"),
    [
        (
            _LOREM,
            "value: lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod tempor\n"
            "  incididunt ut labore\n",
        ),
        (
            f"{_LOREM}: x",
            "value: 'lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod tempor\n"
            "  incididunt ut labore: x'\n",
        ),
        (
            f"\t{_LOREM}",
            'value: "\\tlorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod tempor\n'
            '  incididunt ut labore"\n',
        ),
        ("x" * 90 + "  y z", f"value: {'x' * 90}  y\n  z\n"),
        ("x" * 90 + "  y\t", f'value: "{"x" * 90}\n  \\ y\\t"\n'),
    ],
)
def test_metadata_is_broken_at_the_first_space_after_column_80(text: str, written: str) -> None:
    assert written == yaml_text({"value": text}, METADATA)


def test_dry_run_is_not_broken() -> None:
    assert yaml_text({"a": _LOREM}, DRY_RUN) == f"a: {_LOREM}\n"


_NESTED: dict[str, Any] = {
    "kernel": {"image": "a"},
    "init": ["b", "c\nd\n"],
    "none": [],
    "onboot": [
        {
            "name": "x",
            "env": ["A=b"],
            "sub": {"list": ["q"], "ptr": None},
            "m": [{"y": ["z"], "n": 3}],
            "e": {},
        },
        {"name": "y", "ok": True, "text": "e\nf"},
    ],
}


def test_metadata_is_indented_by_two_and_lists_are_not() -> None:
    assert yaml_text(_NESTED, METADATA) == (
        "kernel:\n  image: a\ninit:\n- b\n- |\n  c\n  d\nnone: []\nonboot:\n"
        "- name: x\n  env:\n  - A=b\n  sub:\n    list:\n    - q\n    ptr: null\n"
        '  m:\n  - "y":\n    - z\n    "n": 3\n  e: {}\n'
        '- name: "y"\n  ok: true\n  text: |-\n    e\n    f\n'
    )


def test_dry_run_is_indented_to_multiples_of_four_and_after_dashes_by_two() -> None:
    assert yaml_text(_NESTED, DRY_RUN) == (
        "kernel:\n    image: a\ninit:\n    - b\n    - |\n      c\n      d\nnone: []\nonboot:\n"
        "    - name: x\n      env:\n        - A=b\n      sub:\n        list:\n            - q\n        ptr: null\n"
        '      m:\n        - "y":\n            - z\n          "n": 3\n      e: {}\n'
        '    - name: "y"\n      ok: true\n      text: |-\n        e\n        f\n'
    )


def test_long_keys_and_keys_of_several_lines_are_marked() -> None:
    value = {"a": {"k" * 129: "v", "l\nm": "w"}}

    assert yaml_text(value, METADATA) == f"a:\n  ? {'k' * 129}\n  : v\n  ? |-\n    l\n    m\n  : w\n"


@pytest.mark.parametrize(
    ("style", "keys"),
    [
        (METADATA, ["", "-", "1", "1-", "1a", "a.b", "a2", "a10", "aB", "ab", "b", "eth2", "eth02", "eth10"]),
        (DRY_RUN, ["", "-", "1", "1a", "1-", "a.b", "a2", "a10", "aB", "ab", "b", "eth2", "eth02", "eth10"]),
    ],
)
def test_keys_of_maps_stand_where_a_reader_looks_for_them(style: Style, keys: list[str]) -> None:
    given = dict.fromkeys(sorted(keys), "x")

    assert keys == list(sorted_keys(given, style))


_TEXT = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.text(" \n\t:#-'\"\\a1.", max_size=12),
    st.lists(st.sampled_from(["lorem", "ipsum ", "  ", "\t", "it's", ": "]), max_size=40).map(" ".join),
)
_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(_TEXT, st.integers(-(1 << 63), (1 << 64) - 1), st.booleans(), st.none()),
    lambda values: st.one_of(
        st.dictionaries(_TEXT, values, max_size=3),
        st.lists(st.one_of(_TEXT, st.dictionaries(_TEXT, values, min_size=1, max_size=3)), max_size=3),
    ),
    max_leaves=8,
)


@pytest.mark.parametrize("style", [METADATA, DRY_RUN])
@given(value=st.dictionaries(_TEXT, _VALUES, min_size=1, max_size=4))
def test_what_is_written_reads_back(style: Style, value: dict[str, Any]) -> None:
    text = yaml_text(value, style)

    document = parse(text.encode(), "text")

    assert (value, ()) == (document.value, document.problems)
