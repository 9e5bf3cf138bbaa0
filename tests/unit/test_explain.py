from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitbuild.explain import reasons
from kitbuild.node import KEY_FORMAT, Ingredients

ONE, TWO, THREE = (digit * 64 for digit in "123")

NO_OPTIONS: dict[str, Any] = {}


def made(
    options: Any = NO_OPTIONS,
    *,
    inputs: tuple[tuple[str, tuple[str, ...]], ...] = (),
    tools: tuple[tuple[str, str], ...] = (),
    rule: str = "unpack/image",
    version: int = 1,
) -> Ingredients:
    return Ingredients(rule, version, tools, options, inputs)


def as_bytes(content: bytes) -> dict[str, str]:
    return {"base64": base64.b64encode(content).decode()}


def images(*hexes: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return (("image", tuple(f"tree:{hexdigits}" for hexdigits in hexes)),)


def test_node_nobody_remembers_was_never_built() -> None:
    assert reasons(None, made()) == ("never built before",)


def test_same_ingredients_without_a_result_mean_the_result_is_gone() -> None:
    assert reasons(made(), made()) == ("its result is no longer in the cache",)


def test_another_rule_is_reason_enough() -> None:
    before, now = made({"a": 1}), made({"b": 2}, rule="unpack/layer", version=4)

    assert reasons(before, now) == ("rule changed (unpack/image -> unpack/layer)",)


def test_changed_rule_names_both_versions() -> None:
    assert reasons(made(), made(version=2)) == ("rule unpack/image changed (version 1 -> 2)",)


def test_changed_tools_are_named() -> None:
    before = made(tools=(("gzip", "1"), ("isal", "1.7"), ("same", "3")))
    now = made(tools=(("isal", "1.8"), ("same", "3"), ("zstd", "2")))

    expected = ("gzip is no longer used (was 1)", "isal changed (1.7 -> 1.8)", "zstd is used now (2)")
    assert expected == reasons(before, now)


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        pytest.param(
            {"mode": "0644"}, {"mode": "0600"}, 'option `mode` changed from "0644" to "0600"', id="text"
        ),
        pytest.param({"level": 6}, {"level": None}, "option `level` changed from 6 to null", id="none"),
        pytest.param({"level": 1}, {"level": True}, "option `level` changed from 1 to true", id="truth"),
        pytest.param(
            {"config": {"user": {"uid": 0}, "x": 1}},
            {"config": {"user": {"uid": 5}, "x": 1}},
            "option `config.user.uid` changed from 0 to 5",
            id="nested field",
        ),
        pytest.param({}, {"deep": False}, "option `deep` was added (false)", id="added field"),
        pytest.param({"deep": [1]}, {}, "option `deep` was removed (was [1])", id="removed field"),
        pytest.param(
            {"args": ["a", "b", "c"]},
            {"args": ["a", "x", "c"]},
            'option `args[1]` changed from "b" to "x"',
            id="item",
        ),
        pytest.param(
            {"files": [{"path": "a"}, {"path": "b"}]},
            {"files": [{"path": "a"}, {"path": "c"}]},
            'option `files[1].path` changed from "b" to "c"',
            id="field of an item",
        ),
        pytest.param(
            {"args": ["b", "c"]},
            {"args": ["a", "b", "c"]},
            'option `args[0]` was added ("a")',
            id="item put first",
        ),
        pytest.param(
            {"args": ["a", "b", "c"]},
            {"args": ["a", "c"]},
            'option `args[1]` was removed (was "b")',
            id="item taken out",
        ),
        pytest.param(
            {"args": ["a", "a"]},
            {"args": ["a"]},
            'option `args[1]` was removed (was "a")',
            id="one of two equals",
        ),
        pytest.param(
            {"args": [1, 0]},
            {"args": [True, 0]},
            "option `args[0]` changed from 1 to true",
            id="truth in a list",
        ),
        pytest.param({"to": "a"}, {"to": ["a"]}, 'option `to` changed from "a" to ["a"]', id="other type"),
        pytest.param(["a"], ["b"], 'option `[0]` changed from "a" to "b"', id="options that are a list"),
        pytest.param(1, 2, "the options changed from 1 to 2", id="options that are one value"),
        pytest.param(
            {"key": as_bytes(b"12345")},
            {"key": as_bytes(b"123")},
            "option `key` changed (5 bytes -> 3 bytes)",
            id="bytes of another length",
        ),
        pytest.param(
            {"key": as_bytes(b"1234")},
            {"key": as_bytes(b"abcd")},
            "option `key` changed (4 other bytes)",
            id="bytes of the same length",
        ),
        pytest.param(
            {"key": as_bytes(b"12345678")},
            {"key": None},
            "option `key` changed from 8 bytes to null",
            id="bytes taken away",
        ),
        pytest.param(
            {"key": "text"},
            {"key": as_bytes(b"")},
            'option `key` changed from "text" to 0 bytes',
            id="bytes for a text",
        ),
        pytest.param(
            {"text": "one\ntwo\nthree\n"},
            {"text": "one\n2\nthree\n"},
            'option `text` changed: line 2 from "two" to "2"',
            id="line",
        ),
        pytest.param(
            {"text": "one\ntwo\nthree\n"},
            {"text": "one\n2\n3\n"},
            'option `text` changed: line 2 from "two" to "2" and 1 more line',
            id="two lines",
        ),
        pytest.param(
            {"text": "one\ntwo\n"},
            {"text": "a\nb\nc\nd\n"},
            'option `text` changed: line 1 from "one" to "a" and 3 more lines',
            id="many lines",
        ),
        pytest.param(
            {"text": "one\ntwo\n"},
            {"text": "one\nnew\ntwo\n"},
            'option `text` changed: line 2 was added ("new")',
            id="line put in",
        ),
        pytest.param(
            {"text": "one\nold\ntwo\n"},
            {"text": "one\ntwo\n"},
            'option `text` changed: line 2 was removed (was "old")',
            id="line taken out",
        ),
    ],
)
def test_changed_option_is_named_with_both_values(before: Any, now: Any, expected: str) -> None:
    assert (expected,) == reasons(made(before), made(now))


def test_long_text_is_cut_to_the_surroundings_of_its_change() -> None:
    before, now = "a" * 500 + "X" + "b" * 500, "a" * 500 + "Y" + "b" * 500

    (reason,) = reasons(made({"line": before}), made({"line": now}))

    left, right = "a" * 24 + "X" + "b" * 23, "a" * 24 + "Y" + "b" * 23
    assert f'option `line` changed from "...{left}..." to "...{right}..."' == reason


def test_long_values_are_shortened() -> None:
    (reason,) = reasons(made({}), made({"args": ["word"] * 100}))

    assert reason.startswith('option `args` was added (["word", "word"')
    assert reason.endswith("...)")
    assert len(reason) < 100


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        pytest.param(
            images(ONE),
            images(TWO),
            ("input `image` changed (sha256:11111111 -> sha256:22222222)",),
            id="the one artifact",
        ),
        pytest.param(
            images(ONE, TWO),
            images(ONE, THREE),
            ("input `image[1]` changed (sha256:22222222 -> sha256:33333333)",),
            id="one of many",
        ),
        pytest.param(
            images(TWO), images(ONE, TWO), ("input `image[0]` was added (sha256:11111111)",), id="one more"
        ),
        pytest.param(
            images(ONE, TWO),
            images(ONE),
            ("input `image[1]` was removed (was sha256:22222222)",),
            id="one less",
        ),
        pytest.param((), images(ONE), ("input `image[0]` was added (sha256:11111111)",), id="new name"),
        pytest.param(
            (("image", (f"tree:{ONE}",)),),
            (("image", (f"blob:{ONE}",)),),
            ("input `image` changed (sha256:11111111 -> sha256:11111111)",),
            id="another kind",
        ),
        pytest.param(
            (("image", (f"md5:{ONE}",)),),
            images(ONE),
            ("input `image` changed (md5:11111111 -> sha256:11111111)",),
            id="another algorithm",
        ),
    ],
)
def test_changed_input_is_named_with_both_digests(before: Any, now: Any, expected: tuple[str, ...]) -> None:
    assert expected == reasons(made(inputs=before), made(inputs=now))


def test_unchanged_inputs_are_not_mentioned() -> None:
    before = made({"a": 1}, inputs=images(ONE))

    assert reasons(before, made({"a": 2}, inputs=images(ONE))) == ("option `a` changed from 1 to 2",)


def test_all_kinds_of_change_are_told_in_a_fixed_order() -> None:
    before = made({"a": 1}, inputs=images(ONE), tools=(("isal", "1"),))
    now = made({"a": 2}, inputs=images(TWO), tools=(("isal", "2"),), version=2)

    found = reasons(before, now)

    assert [reason.split()[0] for reason in found] == ["rule", "isal", "option", "input"]


@pytest.mark.parametrize(
    ("count", "last"),
    [
        pytest.param(8, "option `h` changed from 0 to 1", id="all"),
        pytest.param(9, "1 more change", id="one too many"),
        pytest.param(11, "3 more changes", id="three too many"),
    ],
)
def test_only_so_many_reasons_are_told(count: int, last: str) -> None:
    names = "abcdefghijklmnop"[:count]

    found = reasons(made(dict.fromkeys(names, 0)), made(dict.fromkeys(names, 1)))

    assert last == found[-1]
    assert min(count, 9) == len(found)


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=60), st.binary().map(as_bytes)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(JSON, JSON)
def test_there_is_a_reason_for_every_pair_of_options(before: Any, now: Any) -> None:
    found = reasons(made(before), made(now))

    same = json.dumps(before, sort_keys=True) == json.dumps(now, sort_keys=True)
    assert same == (found == ("its result is no longer in the cache",))
    assert all(found)


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

    assert found is None or reasons(found, made()) != ()


def test_input_is_called_by_the_node_it_comes_from() -> None:
    before = made(inputs=(("pieces", ("extents:aa", "extents:bb")),))
    now = made(inputs=(("pieces", ("extents:aa", "extents:cc")),))

    found = reasons(before, now, {"pieces": ["init: segment", "files: segment"]})

    assert found == ("`files: segment` changed (sha256:bb -> sha256:cc)",)
