from __future__ import annotations

import json
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitbuild.config.yaml import MAX_BYTES, Document, parse
from kitbuild.errors import ConfigError, Where
from tests.unit.config.configs import shown


def _document(text: str) -> Document:
    return parse(dedent(text).lstrip("\n").encode(), "x.yml")


def _error(content: bytes) -> ConfigError:
    with pytest.raises(ConfigError) as raised:
        parse(content, "x.yml")
    return raised.value


def test_a_document_is_plain_values() -> None:
    document = _document(
        """
        init: [a, b]
        services:
          - name: web
            readonly: true
            uid: 3
        """
    )

    assert document.value == {"init": ["a", "b"], "services": [{"name": "web", "readonly": True, "uid": 3}]}
    assert document.problems == ()


@pytest.mark.parametrize(
    ("path", "place"),
    [
        pytest.param((), (1, 1), id="the document"),
        pytest.param(("init",), (1, 7), id="a value on its key's line"),
        pytest.param(("init", 1), (1, 11), id="an entry of a list in brackets"),
        pytest.param(("services",), (3, 3), id="a list of lines"),
        pytest.param(("services", 0), (3, 5), id="an entry of a list of lines"),
        pytest.param(("services", 0, "binds", 1), (4, 22), id="deep down"),
        pytest.param(("services", 0, "env"), (5, 9), id="an empty value"),
        pytest.param(("services", 0, "nothing", 7), (3, 5), id="what is not there: its holder"),
        pytest.param(("services", 5), (3, 3), id="a position past the end: the list"),
        pytest.param(("init", 0, "x"), (1, 8), id="inside of text: the text"),
    ],
)
def test_every_value_has_a_place(path: tuple[str | int, ...], place: tuple[int, int]) -> None:
    document = _document(
        """
        init: [a, b]
        services:
          - name: web
            binds: ["/a:/a", "/é:/b"]
            env:
        """
    )

    where = document.where(path)

    assert place == (where.line, where.column)
    assert where.file == "x.yml"


def test_a_key_has_a_place_and_the_place_has_its_line() -> None:
    document = _document(
        """
        kernel:
          image: a
        """
    )

    assert document.where(("kernel", "image"), key=True) == Where("x.yml", 2, 3, "  image: a")


def test_columns_count_characters_not_bytes() -> None:
    document = _document("init: [ééé, b]")

    assert document.where(("init", 1)).column == 13


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\u2028"])
def test_every_line_end_of_yaml_counts(end: str) -> None:
    document = parse(f"a: 1{end}b: 2{end}".encode(), "x.yml")

    assert document.where(("b",)) == Where("x.yml", 2, 4, "b: 2")


def test_only_the_first_document_counts() -> None:
    assert _document("a: 1\n---\nb: [\n").value == {"a": 1}


def test_anchors_aliases_and_merge_keys_are_followed() -> None:
    document = _document(
        """
        base: &base {image: a, uid: 1}
        more: &more {uid: 2, gid: 3}
        one: {<<: *base, uid: 9}
        two: {<<: [*base, *more]}
        three: *base
        """
    )

    assert document.problems == ()
    assert document.value["one"] == {"image": "a", "uid": 9}
    assert document.value["two"] == {"image": "a", "uid": 1, "gid": 3}
    assert document.value["three"] == {"image": "a", "uid": 1}
    assert document.where(("two", "gid")).line == 2
    assert document.where(("one", "uid")).line == 3
    assert document.where(("two", "nothing")).line == 4


def test_a_merge_key_that_merges_nothing_is_a_mistake() -> None:
    document = _document("a: {<<: 5}")

    assert [shown(error) for error in document.problems] == [
        "1:9 expected a mapping to merge with `<<` (name an anchor that holds a mapping)"
    ]


def test_a_key_given_twice_is_a_mistake_and_the_first_counts() -> None:
    document = _document(
        """
        init: [a]
        kernel: {}
        init: [b]
        """
    )

    assert document.value["init"] == ["a"]
    assert [shown(error) for error in document.problems] == [
        "3:1 expected each key once, got `init` again (remove it, or join it with the one in line 1)"
    ]


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("1", 'expected text as a key, got a number (`1`) (write "1": in quotes)'),
        ("true", 'expected text as a key, got a boolean (`true`) (write "true": in quotes)'),
        ("~", 'expected text as a key, got null (`~`) (write "~": in quotes)'),
        ("[a]", "expected text as a key, got a list or mapping (write a plain name before the `:`)"),
    ],
)
def test_keys_are_text(key: str, message: str) -> None:
    document = _document(f"{key}: a")

    assert [shown(error) for error in document.problems] == [f"1:{2 if key == '[' else 1} {message}"]
    assert document.value == {}


def test_a_mistake_behind_an_alias_is_reported_once() -> None:
    document = _document(
        """
        one: &one {1: a}
        two: *one
        three: *one
        """
    )

    assert len(document.problems) == 1


def test_a_tag_on_a_list_is_a_mistake() -> None:
    document = _document("a: !set [b]")

    assert [shown(error) for error in document.problems] == [
        "1:4 expected no tag here, got `!set` (remove the tag)"
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            "init:\n  - @pkg:x\n",
            '2:5 expected quotes around a value that starts with `@` (put it in quotes: "...")',
            id="at sign",
        ),
        pytest.param(
            "a: `x`\n",
            '1:4 expected quotes around a value that starts with a backquote (put it in quotes: "...")',
            id="backtick",
        ),
        pytest.param(
            "a:\n\t- b\n", "2:1 expected spaces as indentation, got a tab (indent with spaces)", id="tab"
        ),
        pytest.param(
            "a: b: c\n",
            "1:5 expected one `key: value` here, got another `: ` "
            "(put a value that holds `: ` in quotes, correct the indentation, or end the line above with `:`)",
            id="two colons",
        ),
        pytest.param(
            "a: 1\nb: 'x\nc: 2\n",
            "2:4 expected a closing quote, got the end of the file (close the quote)",
            id="open quote",
        ),
        pytest.param(
            "a: 1\nkernel\nb: 2\n",
            "2:1 expected `:` after this key (write `key: value`, or correct the indentation)",
            id="key without colon",
        ),
        pytest.param(
            "a: [1\nb: 2\n",
            "2:2 expected `,` or `]` in this list (separate entries by `,`, and close the list with `]`)",
            id="open list",
        ),
        pytest.param(
            "a: {b: 1\n",
            "2:1 expected `,` or `}` in this mapping (separate keys by `,`, and close the mapping with `}`)",
            id="open mapping",
        ),
        pytest.param(
            "a:\n  - b\n c: d\n",
            "3:2 expected a key indented like the ones above it (correct the indentation of this line)",
            id="odd indentation",
        ),
        pytest.param(
            "a:\n  - b\n  c: d\n",
            "3:3 expected `- ` like the entries above it (correct the indentation of this line)",
            id="key among entries",
        ),
        pytest.param(
            "  a: 1\n b: 2\n",
            "2:2 expected the indentation of the first line, got less (indent this line like the first one)",
            id="less than the first line",
        ),
        pytest.param(
            "a: ]\n", "1:4 expected a value here (give a value or remove the mark before it)", id="bracket"
        ),
        pytest.param(
            "a: - b\n",
            "1:4 expected a value, got the start of a list (start the list on a line of its own)",
            id="list on the key's line",
        ),
        pytest.param(
            "a: *x\n",
            "1:4 expected the name of an anchor after `*` (define it with `&` further up)",
            id="unknown alias",
        ),
        pytest.param(
            "a: &x 1\nb: &x 2\n",
            "2:4 expected each anchor once, got this one again (give the second another name)",
            id="anchor twice",
        ),
        pytest.param(
            'a: "\\q"\n',
            "1:5 expected an escape such as \\n or \\\\ in double quotes (use single quotes)",
            id="unknown escape",
        ),
        pytest.param(
            "a: 1\nb: é\x01\n",
            "2:5 expected printable text, got the character U+0001 "
            '(write it as an escape in double quotes: "\\x01")',
            id="control character",
        ),
        pytest.param(
            "%foo\n",
            "1:5 expected YAML: found unknown directive name (put the value in quotes)",
            id="whatever else libyaml says",
        ),
        pytest.param(
            "",
            "1:1 expected a config, got an empty file (start with a section such as `kernel:` or `services:`)",
            id="empty",
        ),
        pytest.param(
            "# only a comment\n",
            "1:1 expected a config, got an empty file (start with a section such as `kernel:` or `services:`)",
            id="comment alone",
        ),
    ],
)
def test_broken_syntax_is_one_plain_sentence_with_its_place(text: str, expected: str) -> None:
    assert expected == shown(_error(text.encode()))


def test_a_syntax_error_shows_its_line() -> None:
    assert _error(b"a: 1\nb: c: d\n").where == Where("x.yml", 2, 5, "b: c: d")


def test_bytes_that_are_no_utf8_have_a_place() -> None:
    error = _error(b"a: 1\nb: x\xffy\n")

    assert shown(error) == "2:5 expected UTF-8 text, got the byte 0xff (save the file as UTF-8)"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_unicode_with_a_byte_order_mark_is_read(encoding: str) -> None:
    document = parse("a: é\n".encode(encoding), "x.yml")

    assert document.value == {"a": "é"}
    assert document.where(("a",)).column == 4


def test_more_than_the_largest_size_is_refused() -> None:
    error = _error(b"#" * (MAX_BYTES + 1))

    assert error.message == "expected at most 4 MiB, got more"


@pytest.mark.parametrize("depth", [101, 300_000])
def test_deep_nesting_is_refused(depth: int) -> None:
    assert _error(b"a: " + b"[" * depth).message == "expected at most 100 levels, got more"


def test_an_alias_that_holds_itself_is_refused() -> None:
    error = _error(b"a: &a [*a]\n")

    assert shown(error) == (
        "1:4 expected at most 100 levels, got more (look for an alias that holds itself or multiplies)"
    )


def test_too_many_values_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kitbuild.config.yaml._MAX_VALUES", 20)

    assert parse(b"[" + b"x," * 18 + b"]", "x.yml").value == ["x"] * 18
    assert _error(b"[" + b"x," * 20 + b"]").message == "expected at most 20 values, got more"


def test_aliases_that_multiply_are_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]

    assert _error("\n".join(lines).encode()).message == "expected at most 100000 values, got more"


# Without what YAML takes for the end of a line or does not allow raw.
_texts = st.text(
    st.characters(categories=["L", "N", "P", "S"]) | st.sampled_from("\x00\t\n\r\x1b "), max_size=6
)
_plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | _texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_texts, inner, max_size=4),
    max_leaves=12,
)


@given(_plain)
def test_json_reads_as_what_it_says(value: object) -> None:
    document = parse(json.dumps(value, ensure_ascii=False).encode(), "label")

    assert value == document.value
