from __future__ import annotations

import math

import pytest

from kitbuild.config.yaml import parse
from tests.unit.config.configs import mistakes

_TEXT = [
    *("yes", "Yes", "YES", "no", "No", "NO", "on", "On", "ON", "off", "Off", "OFF", "y", "Y", "n", "N"),
    *("tRUE", "nULL", "none", "None", "~~", "nan", "inf", "Infinity"),
    *("1:30", "22:22", "190:20:30", "0x", "0xg", "0o8", "0b2", "0o", "0b", "1.2.3", "1e", "--1", "+"),
    *("_1", "1-2", ".", "..", "v1", "+-1", "0x1.8", "1,000"),
    *("2001-12-14", "2001-12-14t21:59:43.10-05:00", "2001-12-14 21:59:43", "0x1ffffffffffffffff"),
    *("1e999", "9" * 5000, "0x" + "f" * 5000),
    *("a#b", "a:b", "/x:/y:ro", "<", "<<<", "-x", "?x", ":x"),
]


@pytest.mark.parametrize("text", _TEXT, ids=[text[:20] for text in _TEXT])
def test_what_go_does_not_resolve_stays_the_text_that_was_written(text: str) -> None:
    assert text == parse(f"key: {text}\n".encode(), "x.yml").value["key"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((text, True) for text in ("true", "True", "TRUE")),
        *((text, False) for text in ("false", "False", "FALSE")),
        *((text, None) for text in ("", "~", "null", "Null", "NULL")),
        ("0", 0),
        ("-0", 0),
        ("12", 12),
        ("+12", 12),
        ("-12", -12),
        ("0644", 420),
        ("-0644", -420),
        ("00", 0),
        ("0o644", 420),
        ("0O17", 15),
        ("0x1F", 31),
        ("-0X1f", -31),
        ("0b101", 5),
        ("1_000", 1000),
        ("0x_ff", 255),
        ("0_644", 420),
        ("9223372036854775807", (1 << 63) - 1),
        ("18446744073709551615", (1 << 64) - 1),
        ("-9223372036854775808", -(1 << 63)),
        ("18446744073709551616", 1.8446744073709552e19),
        ("08", 8.0),
        ("1.5", 1.5),
        (".5", 0.5),
        ("5.", 5.0),
        ("-1.5e3", -1500.0),
        ("1e3", 1000.0),
        ("1_000.5", 1000.5),
        (".inf", math.inf),
        ("+.INF", math.inf),
        ("-.Inf", -math.inf),
    ],
)
def test_plain_scalars_resolve_as_in_go(text: str, value: object) -> None:
    read = parse(f"key: {text}\n".encode(), "x.yml").value["key"]

    assert value == read
    assert type(value) is type(read)


@pytest.mark.parametrize("text", [".nan", ".NaN", ".NAN"])
def test_nan_is_a_float(text: str) -> None:
    assert math.isnan(parse(f"key: {text}\n".encode(), "x.yml").value["key"])


@pytest.mark.parametrize("text", ['"true"', "'12'", "|-\n  null", ">-\n  0644", '""', "'<<'"])
def test_quoted_and_block_scalars_are_text(text: str) -> None:
    assert isinstance(parse(f"key: {text}\n".encode(), "x.yml").value["key"], str)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("!!str 12", "12"),
        ("!!str", ""),
        ("!!int '12'", 12),
        ("!!int 0x_1f", 31),
        ("!!float 3", 3.0),
        ("!!float .inf", math.inf),
        ("!!float 0x10", 16.0),
        ("!!float 1_0.5", 10.5),
        ("!!bool 'true'", True),
        ("!!null ''", None),
        ("!!binary aGVsbG8=", "hello"),
        ("!!timestamp 2001-12-14", "2001-12-14"),
        ("! 12", 12),
        ("!!merge <<", "<<"),
    ],
)
def test_an_explicit_tag_decides(text: str, value: object) -> None:
    read = parse(f"key: {text}\n".encode(), "x.yml").value["key"]

    assert value == read
    assert type(value) is type(read)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("!!int x", "expected a value that fits its tag, got `!!int x`"),
        ("!!bool yes", "expected a value that fits its tag, got `!!bool yes`"),
        ("!include x.yml", "expected a value that fits its tag, got `!include x.yml`"),
        ("!!binary gGFi", "expected base64 of UTF-8 text for the tag `!!binary`"),
    ],
)
def test_a_tag_that_does_not_fit_is_a_mistake(text: str, message: str) -> None:
    found = mistakes(f"kernel:\n  cmdline: {text}\n")

    assert found == [f"2:12 {message} (remove the tag or correct the value)"]
