"""The list of commands: what help says without importing them, and what they say themselves."""

from __future__ import annotations

import re
import shlex
from argparse import ArgumentParser, RawDescriptionHelpFormatter, _SubParsersAction
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kitbuild.cli.color import take_color
from kitbuild.cli.commands import GROUPS, SUMMARIES, listing
from kitbuild.cli.linuxkit import rewritten
from kitbuild.cli.main import main, parser_of_all
from kitbuild.cli.page import plain
from kitbuild.cli.topics import TOPICS

# Those that do one thing, and take nothing that would want an example.
_PLAIN = {"version", "worker", "worker run", "cache info", "cache verify", "cache gc", "cache clear"}


def commands_of(parser: ArgumentParser) -> Any:
    return next(action for action in parser._actions if isinstance(action, _SubParsersAction))


def every_command(parser: ArgumentParser, *names: str) -> Iterator[tuple[str, ArgumentParser]]:
    for action in parser._actions:
        if isinstance(action, _SubParsersAction):
            for name, child in action.choices.items():
                yield " ".join([*names, name]), child
                yield from every_command(child, *names, name)


def test_summaries_are_those_of_the_commands() -> None:
    said = {choice.dest: choice.help for choice in commands_of(parser_of_all())._choices_actions}

    assert said == SUMMARIES


def test_every_module_with_a_command_is_listed() -> None:
    folder = Path(__file__).parents[3] / "kitbuild/cli"
    modules = [
        path.stem
        for path in folder.glob("*.py")
        if "\ndef add(subparsers: _SubParsersAction" in path.read_text()
    ]

    assert set(modules) - {"cache_serve", "cache_keygen"} <= set(SUMMARIES)


def test_help_shows_every_command_in_its_group_and_imports_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("kitbuild.cli.main.import_module", lambda name: pytest.fail(f"imported {name}"))

    assert main(["--help"]) == 0

    text = capsys.readouterr().out
    assert listing() in text
    positions = [text.index(f"\n{title}:") for title in GROUPS]
    assert positions == sorted(positions)
    assert list(GROUPS) == ["build", "look", "share", "look after"]


@pytest.mark.parametrize(("name", "parser"), list(every_command(parser_of_all())))
def test_help_of_a_command_teaches_with_examples(name: str, parser: ArgumentParser) -> None:
    if name not in _PLAIN:
        assert parser.formatter_class is RawDescriptionHelpFormatter
        assert f"  kitbuild {name}" in (parser.description or "")
    for action in parser._actions:
        assert action.help or isinstance(action, _SubParsersAction), action.option_strings or action.dest
    parser.format_help()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("biuld x.yml", "error: unknown command `biuld`\nhint: did you mean `build`?\n"),
        ("frobnicate", "error: unknown command `frobnicate`\nhint: `kitbuild --help` lists the commands\n"),
        ("", "error: expected COMMAND, got none\nhint: `kitbuild --help` lists the commands\n"),
        ("cache frob", "error: unknown command `frob`\nhint: `kitbuild cache --help` lists the commands\n"),
        (
            "completion tcsh",
            "error: `SHELL`: expected one of bash, zsh, fish, got `tcsh`\nhint: did you mean `bash`?\n",
        ),
    ],
)
def test_what_is_misspelt_is_told(line: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line.split()) == 2

    assert capsys.readouterr().err.endswith(message)


def examples(text: str) -> Iterator[str]:
    """The command lines in a text, without what is said of them behind, and without the pipe they go into."""
    for line in text.splitlines():
        found = re.match(r"\s*(?:\$ )?kitbuild (?P<rest>.*)", line)
        if found and line.startswith(" "):
            yield re.split(r"\s{2,}|\s#\s| \| | ?>|;| && ", found["rest"])[0]


EXAMPLES = [
    *(
        example
        for _, parser in [("", parser_of_all()), *every_command(parser_of_all())]
        for example in examples(parser.description or "")
    ),
    *(example for topic in TOPICS.values() for example in examples(plain(topic.page(), 200))),
]


@pytest.mark.parametrize("example", EXAMPLES)
def test_example_of_a_help_text_is_a_command_line(example: str) -> None:
    words = take_color(rewritten(shlex.split(example)), {})

    parser_of_all().parse_args(words)
