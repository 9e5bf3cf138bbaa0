from __future__ import annotations

import pytest

from kitbuild.errors import (
    BuildError,
    ConfigError,
    ConfigErrors,
    ImageError,
    KitbuildError,
    RuleError,
    UsageError,
    Where,
)
from kitbuild.report.errors import format_error, format_failure, format_warning


def shown(line: str, column: int) -> list[str]:
    """The line and the caret line for a place, without what all lines are indented by."""
    error = ConfigError("wrong", where=Where("x.yml", 1, column, line))
    _, *rest = format_error(error, color=False).split("\n")
    assert all(text.startswith("    ") for text in rest if text)
    return [text[4:] for text in rest]


def test_error_without_a_place_is_one_line() -> None:
    assert format_error(UsageError("no such format"), color=False) == "error: no such format"


def test_whole_error_has_place_line_caret_and_hint() -> None:
    where = Where("examples/x.yml", 7, 9, "  mode: 420")
    error = ConfigError(
        '`mode` is an octal string such as "0644", got 420', where=where, hint="put it in quotes"
    )

    expected = (
        'error: examples/x.yml:7:9: `mode` is an octal string such as "0644", got 420\n'
        "      mode: 420\n"
        "            ^\n"
        "hint: put it in quotes"
    )
    assert expected == format_error(error, color=False)


def test_place_without_a_line_has_no_caret() -> None:
    error = ConfigError("nothing in it", where=Where("x.yml", 1, 1))

    assert format_error(error, color=False) == "error: x.yml:1:1: nothing in it"


@pytest.mark.parametrize(
    ("line", "column", "expected"),
    [
        pytest.param("abc", 1, ["abc", "^"], id="first"),
        pytest.param("abc", 3, ["abc", "  ^"], id="last"),
        pytest.param("abc", 4, ["abc", "   ^"], id="just after the end"),
        pytest.param("abc", 99, ["abc", "   ^"], id="far after the end"),
        pytest.param("abc", 0, ["abc", "^"], id="before the start"),
        pytest.param("\tabc", 2, ["        abc", "        ^"], id="tab"),
        pytest.param("a\tb\tc", 5, ["a       b       c", "                ^"], id="two tabs"),
        pytest.param("a\tb\tc", 3, ["a       b       c", "        ^"], id="tab after the column"),
        pytest.param("\u6587\u5b57: x", 5, ["\u6587\u5b57: x", "      ^"], id="wide"),
        pytest.param("\uff21b", 2, ["\uff21b", "  ^"], id="full width"),
        pytest.param("\u6587\tx", 3, ["\u6587      x", "        ^"], id="tab after wide"),
        pytest.param("e\u0301x", 3, ["e\u0301x", " ^"], id="combining"),
        pytest.param("caf\u00e9 x", 6, ["caf\u00e9 x", "     ^"], id="narrow letters"),
        pytest.param("a\x1bb", 3, ["a\\x1bb", "     ^"], id="control character"),
        pytest.param("abc\r", 2, ["abc", " ^"], id="carriage return at the end"),
    ],
)
def test_caret_stands_below_the_column(line: str, column: int, expected: list[str]) -> None:
    assert expected == shown(line, column)


@pytest.mark.parametrize(
    ("column", "before", "after"),
    [
        pytest.param(1, "", "...", id="start"),
        pytest.param(500, "...", "...", id="middle"),
        pytest.param(1000, "...", "", id="end"),
    ],
)
def test_long_line_is_cut_around_the_column(column: int, before: str, after: str) -> None:
    line = "a" * (column - 1) + "X" + "b" * (1000 - column)

    text, caret = shown(line, column)

    assert text[caret.index("^")] == "X"
    assert text.startswith(before + ("X" if column == 1 else "a"))
    assert text.endswith(("X" if column == 1000 else "b") + after)
    assert len(text) <= 166


def test_all_mistakes_of_a_config_are_listed_and_counted() -> None:
    first = ConfigError("one", where=Where("x.yml", 1, 1, "a"))
    second = ConfigError("two", where=Where("x.yml", 2, 2), hint="mend it")

    expected = "error: x.yml:1:1: one\n    a\n    ^\nerror: x.yml:2:2: two\nhint: mend it\n2 mistakes"
    assert expected == format_error(ConfigErrors([first, second]), color=False)


def test_one_mistake_is_one_mistake() -> None:
    text = format_error(ConfigErrors([ConfigError("one")]), color=False)

    assert text == "error: one\n1 mistake"


def test_all_failed_nodes_are_listed_and_counted() -> None:
    failures: list[tuple[str, KitbuildError]] = [
        (
            "kernel: image",
            ImageError("no such image", where=Where("x.yml", 2, 3, "  image: a"), hint="import it"),
        ),
        ("initrd", RuleError("too large")),
    ]

    expected = (
        "error: x.yml:2:3: kernel: image: no such image\n      image: a\n      ^\nhint: import it\n"
        "error: initrd: too large\n"
        "2 nodes failed"
    )
    assert expected == format_error(BuildError(failures), color=False)


def test_one_failure_names_its_node() -> None:
    assert format_failure("initrd", RuleError("too large"), color=False) == "error: initrd: too large"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        pytest.param(KeyboardInterrupt(), "error: interrupted", id="interrupt"),
        pytest.param(
            OSError(28, "No space left on device", "out/initrd"),
            "error: out/initrd: no space left on device",
            id="system error of a file",
        ),
        pytest.param(
            FileNotFoundError(2, "No such file or directory", b"caf\xff"),
            "error: caf\\xff: no such file or directory",
            id="system error of a file named in bytes",
        ),
        pytest.param(
            OSError(28, "No space left on device"), "error: no space left on device", id="system error"
        ),
        pytest.param(OSError("odd"), "error: OSError: odd", id="system error without a number"),
        pytest.param(
            ZeroDivisionError("division by zero"), "error: ZeroDivisionError: division by zero", id="bug"
        ),
        pytest.param(AssertionError(), "error: AssertionError", id="bug without a text"),
    ],
)
def test_other_errors_have_a_text_too(error: BaseException, expected: str) -> None:
    assert expected == format_error(error, color=False)


def test_colours_mark_what_is_not_the_message() -> None:
    error = ConfigError("wrong", where=Where("x.yml", 1, 2, "abc"), hint="mend it")

    expected = (
        "\x1b[1;31merror:\x1b[0m \x1b[1mx.yml:1:2\x1b[0m: wrong\n"
        "    abc\n"
        "    \x1b[1;31m ^\x1b[0m\n"
        "\x1b[1;36mhint:\x1b[0m mend it"
    )
    assert expected == format_error(error, color=True)


def test_names_cannot_speak_to_the_terminal() -> None:
    error = RuleError("bad entry `\x1b[2J`", where=Where("\x1b]0;x.yml", 1, 1), hint="remove `\x07`")

    text = format_error(error, color=False)

    assert text == "error: \\x1b]0;x.yml:1:1: bad entry `\\x1b[2J`\nhint: remove `\\x07`"


def test_warning_names_its_node_if_it_has_one() -> None:
    assert format_warning("odd", color=False) == "warning: odd"
    assert format_warning("odd", "initrd", color=False) == "warning: initrd: odd"
