"""Pages of help, for a terminal and as roff."""

from __future__ import annotations

import pytest

from kitbuild.cli.commands import SUMMARIES
from kitbuild.cli.help import manual, text_of
from kitbuild.cli.page import Heading, Page, Prose, Rows, Verbatim, plain, roff
from kitbuild.cli.topics import EXIT_STATUSES, OTHER_VARIABLES, TOPICS
from kitbuild.errors import UsageError
from kitbuild.registry import formats
from kitbuild.settings import TABLE


def test_page_is_wrapped_to_the_terminal() -> None:
    page: Page = [
        Heading("title"),
        Prose("one two three four five six seven eight nine ten"),
        Rows([("a", "short"), ("longer", "words that go on and on and on and on"), ("x" * 31, "below")]),
        Verbatim("as  it is\n  indented\n"),
    ]

    assert plain(page, 40) == (
        "title:\n"
        "\n"
        "one two three four five six seven eight\n"
        "nine ten\n"
        "\n"
        "  a       short\n"
        "  longer  words that go on and on and on\n"
        "          and on\n"
        f"  {'x' * 31}\n"
        "          below\n"
        "\n"
        "  as  it is\n"
        "    indented\n"
    )


def test_roff_starts_no_request_by_accident_and_keeps_what_is_copied() -> None:
    page: Page = [Prose(".so /etc/passwd"), Prose("'quoted' --flag \\n `x` ~"), Verbatim(".dot\n\nend")]

    lines = roff([("name", page)], name="kitbuild", version="1", manual="manual").splitlines()

    assert lines == [
        '.TH KITBUILD 1 "" "kitbuild 1" "manual"',
        '.SH "NAME"',
        ".PP",
        "\\&.so /etc/passwd",
        ".PP",
        "\\(aqquoted\\(aq \\-\\-flag \\en \\(gax\\(ga \\(ti",
        ".PP",
        ".RS 4",
        ".EX",
        "\\&.dot",
        "",
        "end",
        ".EE",
        ".RE",
    ]


@pytest.mark.parametrize("name", TOPICS)
def test_every_topic_is_explained_shortly(name: str) -> None:
    text = text_of([name])

    assert len(plain(TOPICS[name].page(), 80).splitlines()) <= 80
    assert plain(TOPICS[name].page(), 80) in text


@pytest.mark.parametrize("name", SUMMARIES)
def test_every_command_is_explained_and_has_a_man_page(name: str) -> None:
    assert f"usage: kitbuild {name}" in text_of([name])
    assert f".TH KITBUILD-{name.upper()} 1" in manual([name])


def test_what_is_generated_is_complete() -> None:
    assert all(setting.variable in text_of(["environment"]) for setting in TABLE)
    assert all(name in text_of(["environment"]) for name in OTHER_VARIABLES)
    assert all(setting.flag in text_of(["settings"]) for setting in TABLE)
    assert all(name in text_of(["formats"]) for name in formats())
    assert all(f"\n  {status} " in f"\n{text_of(['exit-status'])}" for status, _ in EXIT_STATUSES)
    assert all(name in text_of([]) for name in (*TOPICS, *SUMMARIES))


def test_command_of_a_command_is_explained() -> None:
    assert "usage: kitbuild cache gc" in text_of(["cache", "gc"])


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["grph"], "did you mean `graph`?"),
        (["exitstatus"], "did you mean `exit-status`?"),
        (["cache", "nothing"], "`kitbuild help` lists what there is"),
    ],
)
def test_what_there_is_no_help_for_is_refused(words: list[str], hint: str) -> None:
    with pytest.raises(UsageError) as raised:
        text_of(words)

    assert raised.value.hint == hint


def test_variables_say_what_stands_between_several_values() -> None:
    text = " ".join(plain(TOPICS["environment"].page(), 80).split())

    assert "repeatable" not in text
    assert "to look images up in first (several with `:` between)" in text
    assert "(several with line breaks between; VALUE may be $VARIABLE)" in text
