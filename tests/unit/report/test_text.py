from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitbuild.report.text import (
    amount,
    encodable,
    human_seconds,
    human_size,
    one_line,
    painted,
    plural,
    printable,
    use_color,
)
from tests.unit.report.events import Terminal


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (102348, "99.9 KiB"),
        (102400, "100 KiB"),
        (1023948, "1.0 MiB"),
        (1024 * 1024 - 1, "1.0 MiB"),
        (250 * 1024**2, "250 MiB"),
        (4 * 1024**3, "4.0 GiB"),
        (3 * 1024**4, "3.0 TiB"),
        (5000 * 1024**4, "5000 TiB"),
    ],
)
def test_sizes_are_in_binary_units(size: int, expected: str) -> None:
    assert expected == human_size(size)


@given(st.integers(0, 1 << 50))
def test_sizes_are_short(size: int) -> None:
    assert len(human_size(size)) <= len("1023 TiB")


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.0, "0.00 s"),
        (0.424, "0.42 s"),
        (9.99, "9.99 s"),
        (9.996, "10.0 s"),
        (59.9, "59.9 s"),
        (59.96, "1 min 0 s"),
        (125.0, "2 min 5 s"),
        (3599.9, "60 min 0 s"),
    ],
)
def test_durations_are_in_seconds_and_minutes(seconds: float, expected: str) -> None:
    assert expected == human_seconds(seconds)


@pytest.mark.parametrize(("count", "expected"), [(0, "0 nodes"), (1, "1 node"), (2, "2 nodes")])
def test_nouns_follow_their_count(count: int, expected: str) -> None:
    assert expected == plural(count, "node")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("plain text", "plain text", id="plain"),
        pytest.param("a\tb\nc", "a\tb\nc", id="tab and newline"),
        pytest.param("caf\u00e9 \u6587\u3000\u00a0", "caf\u00e9 \u6587\u3000\u00a0", id="other letters"),
        pytest.param("\x1b[31mred", "\\x1b[31mred", id="escape"),
        pytest.param("\x9b31m", "\\x9b31m", id="eight-bit escape"),
        pytest.param("over\rwritten", "over\\x0dwritten", id="carriage return"),
        pytest.param("a\udcff", "a\\xff", id="byte that is no UTF-8"),
        pytest.param("a\u202eb", "a\\u202eb", id="turned writing direction"),
        pytest.param("\U000e0001", "\\U000e0001", id="tag character"),
    ],
)
def test_nothing_a_terminal_would_obey_is_printed(text: str, expected: str) -> None:
    assert expected == printable(text)


@given(st.text())
def test_printable_text_can_be_encoded_and_stays_as_it_is(text: str) -> None:
    once = printable(text)

    assert once == printable(once)
    assert once.encode() is not None


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [("ascii", "caf\\xe9 \\u6587"), ("latin-1", "caf\u00e9 \\u6587"), ("utf-8", "caf\u00e9 \u6587")],
)
def test_what_a_stream_cannot_write_is_escaped(encoding: str, expected: str) -> None:
    assert expected == encodable("caf\u00e9 \u6587", encoding)


def test_surrogates_are_always_escaped() -> None:
    assert encodable("\u6587\udcff", "utf-8") == "\u6587\\udcff"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        pytest.param({}, True, id="terminal"),
        pytest.param({"NO_COLOR": "1"}, False, id="NO_COLOR"),
        pytest.param({"NO_COLOR": ""}, True, id="empty NO_COLOR"),
        pytest.param({"TERM": "dumb"}, False, id="dumb terminal"),
    ],
)
def test_colours_are_for_terminals_that_want_them(
    environment: dict[str, str], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert expected is use_color(Terminal())
    assert use_color(io.StringIO()) is False


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        pytest.param({"FORCE_COLOR": "1"}, True, id="forced"),
        pytest.param({"CLICOLOR_FORCE": "1"}, True, id="forced in another way"),
        pytest.param({"FORCE_COLOR": "0"}, False, id="not forced"),
        pytest.param({"FORCE_COLOR": ""}, False, id="empty"),
        pytest.param({"FORCE_COLOR": "1", "TERM": "dumb"}, True, id="forced on a dumb terminal"),
        pytest.param({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False, id="forced and forbidden"),
    ],
)
def test_colours_can_be_forced(
    environment: dict[str, str], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert expected is use_color(io.StringIO())


@pytest.mark.parametrize(
    ("done", "size", "expected"),
    [
        (12 << 20, 300 << 20, "12.0 of 300 MiB"),
        (512, 300 << 20, "512 B of 300 MiB"),
        (3 << 30, 3 << 30, "3.0 of 3.0 GiB"),
        (1536, 0, "1.5 KiB"),
    ],
)
def test_amounts_share_their_unit(done: int, size: int, expected: str) -> None:
    assert expected == amount(done, size)


def test_painting_is_left_out_without_colour() -> None:
    assert painted("x", "1", color=False) == "x"
    assert painted("x", "1", color=True) == "\x1b[1mx\x1b[0m"


def test_a_name_with_a_line_break_is_one_line() -> None:
    assert one_line("web\n::warning::x\x1b") == "web\\n::warning::x\\x1b"
