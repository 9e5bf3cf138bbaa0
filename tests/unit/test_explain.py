from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitbuild.explain import differences, in_words, short_digest
from kitbuild.node import KEY_FORMAT, Ingredients


def told(before: Any, now: Any) -> list[str]:
    return [f"{path} {in_words(old, new)}".strip() for path, old, new in differences("", before, now)]


def as_bytes(content: bytes) -> dict[str, str]:
    return {"base64": base64.b64encode(content).decode()}


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        pytest.param({"mode": "0644"}, {"mode": "0600"}, 'mode changed from "0644" to "0600"', id="text"),
        pytest.param({"level": 6}, {"level": None}, "level changed from 6 to null", id="none"),
        pytest.param({"level": 1}, {"level": True}, "level changed from 1 to true", id="truth"),
        pytest.param(
            {"config": {"user": {"uid": 0}, "x": 1}},
            {"config": {"user": {"uid": 5}, "x": 1}},
            "config.user.uid changed from 0 to 5",
            id="nested field",
        ),
        pytest.param({}, {"deep": False}, "deep was added (false)", id="added field"),
        pytest.param({"deep": [1]}, {}, "deep was removed (was [1])", id="removed field"),
        pytest.param(
            {"args": ["a", "b", "c"]},
            {"args": ["a", "x", "c"]},
            'args[1] changed from "b" to "x"',
            id="item",
        ),
        pytest.param(
            {"files": [{"path": "a"}, {"path": "b"}]},
            {"files": [{"path": "a"}, {"path": "c"}]},
            'files[1].path changed from "b" to "c"',
            id="field of an item",
        ),
        pytest.param(
            {"args": ["b", "c"]},
            {"args": ["a", "b", "c"]},
            'args[0] was added ("a")',
            id="item put first",
        ),
        pytest.param(
            {"args": ["a", "b", "c"]},
            {"args": ["a", "c"]},
            'args[1] was removed (was "b")',
            id="item taken out",
        ),
        pytest.param(
            {"args": ["a", "a"]},
            {"args": ["a"]},
            'args[1] was removed (was "a")',
            id="one of two equals",
        ),
        pytest.param(
            {"args": [1, 0]},
            {"args": [True, 0]},
            "args[0] changed from 1 to true",
            id="truth in a list",
        ),
        pytest.param({"to": "a"}, {"to": ["a"]}, 'to changed from "a" to ["a"]', id="other type"),
        pytest.param(["a"], ["b"], '[0] changed from "a" to "b"', id="options that are a list"),
        pytest.param(1, 2, "changed from 1 to 2", id="options that are one value"),
        pytest.param(
            {"key": as_bytes(b"12345")},
            {"key": as_bytes(b"123")},
            "key changed (5 bytes -> 3 bytes)",
            id="bytes of another length",
        ),
        pytest.param(
            {"key": as_bytes(b"1234")},
            {"key": as_bytes(b"abcd")},
            "key changed (4 other bytes)",
            id="bytes of the same length",
        ),
        pytest.param(
            {"key": as_bytes(b"12345678")},
            {"key": None},
            "key changed from 8 bytes to null",
            id="bytes taken away",
        ),
        pytest.param(
            {"key": "text"},
            {"key": as_bytes(b"")},
            'key changed from "text" to 0 bytes',
            id="bytes for a text",
        ),
        pytest.param(
            {"text": "one\ntwo\nthree\n"},
            {"text": "one\n2\nthree\n"},
            'text changed: line 2 from "two" to "2"',
            id="line",
        ),
        pytest.param(
            {"text": "one\ntwo\nthree\n"},
            {"text": "one\n2\n3\n"},
            'text changed: line 2 from "two" to "2" and 1 more line',
            id="two lines",
        ),
        pytest.param(
            {"text": "one\ntwo\n"},
            {"text": "a\nb\nc\nd\n"},
            'text changed: line 1 from "one" to "a" and 3 more lines',
            id="many lines",
        ),
        pytest.param(
            {"text": "one\ntwo\n"},
            {"text": "one\nnew\ntwo\n"},
            'text changed: line 2 was added ("new")',
            id="line put in",
        ),
        pytest.param(
            {"text": "one\nold\ntwo\n"},
            {"text": "one\ntwo\n"},
            'text changed: line 2 was removed (was "old")',
            id="line taken out",
        ),
    ],
)
def test_changed_option_is_named_with_both_values(before: Any, now: Any, expected: str) -> None:
    assert [expected] == told(before, now)


def test_long_text_is_cut_to_the_surroundings_of_its_change() -> None:
    before, now = "a" * 500 + "X" + "b" * 500, "a" * 500 + "Y" + "b" * 500

    (reason,) = told({"line": before}, {"line": now})

    left, right = "a" * 24 + "X" + "b" * 23, "a" * 24 + "Y" + "b" * 23
    assert f'line changed from "...{left}..." to "...{right}..."' == reason


def test_long_values_are_shortened() -> None:
    (reason,) = told({}, {"args": ["word"] * 100})

    assert reason.startswith('args was added (["word", "word"')
    assert reason.endswith("...)")
    assert len(reason) < 100


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=60), st.binary().map(as_bytes)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(JSON, JSON)
def test_every_pair_of_values_that_differ_has_a_difference(before: Any, now: Any) -> None:
    same = json.dumps(before, sort_keys=True) == json.dumps(now, sort_keys=True)

    assert same == (told(before, now) == [])


def test_values_nested_too_deep_differ_as_a_whole() -> None:
    before: Any = 1
    now: Any = 2
    for _ in range(5000):
        before, now = [before], [now]

    assert told(before, now) == ["changed from ... to ..."]


def test_digests_are_told_by_their_first_digits() -> None:
    assert short_digest(f"tree:{'1' * 64}") == "sha256:11111111"
    assert short_digest("md5:123456789") == "md5:12345678"


def encoded(*fields: Any) -> bytes:
    return json.dumps(fields).encode()


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{", id="not json"),
        pytest.param(b"\xff\xfe", id="not ascii"),
        pytest.param(b"7", id="a number"),
        pytest.param(b"null", id="null"),
        pytest.param(b"{}", id="an object"),
        pytest.param(b"[" * 100_000, id="nested too deep"),
        pytest.param(encoded(KEY_FORMAT, "rule", 1, [], {}), id="field missing"),
        pytest.param(encoded(KEY_FORMAT, "rule", 1, [], {}, [], []), id="field too many"),
        pytest.param(encoded(KEY_FORMAT + 1, "rule", 1, [], {}, []), id="another key format"),
        pytest.param(encoded(KEY_FORMAT, 7, 1, [], {}, []), id="rule is no text"),
        pytest.param(encoded(KEY_FORMAT, "rule", "1", [], {}, []), id="version is no number"),
        pytest.param(encoded(KEY_FORMAT, "rule", 1, [["a"]], {}, []), id="tool without version"),
        pytest.param(encoded(KEY_FORMAT, "rule", 1, [["a", 1]], {}, []), id="tool version is no text"),
        pytest.param(encoded(KEY_FORMAT, "rule", 1, 5, {}, []), id="tools are no list"),
        pytest.param(encoded(KEY_FORMAT, "rule", 1, [], {}, [["a", "b"]]), id="input is no list"),
        pytest.param(encoded(KEY_FORMAT, "rule", 1, [], {}, [["a", [1]]]), id="digest is no text"),
        pytest.param(encoded(KEY_FORMAT, "rule", 1, [], {}, [[["a"], ["b"]]]), id="input name is no text"),
        pytest.param(encoded(KEY_FORMAT, "rule", 1, [], {}, 5), id="inputs are no list"),
    ],
)
def test_malformed_note_is_no_ingredients(content: bytes) -> None:
    assert Ingredients.decode(content) is None


@given(st.binary(max_size=60))
def test_any_bytes_are_read_without_an_error(content: bytes) -> None:
    assert Ingredients.decode(content) is None


@given(JSON)
def test_any_json_is_read_without_an_error(document: Any) -> None:
    found = Ingredients.decode(json.dumps([KEY_FORMAT, "rule", 1, document, {}, document]).encode())

    assert found is None or found.rule == "rule"
