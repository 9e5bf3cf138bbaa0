"""kitbuild help: explain a command or a topic."""

from __future__ import annotations

import shutil
import sys
from argparse import SUPPRESS, ArgumentParser, Namespace, RawDescriptionHelpFormatter, _SubParsersAction
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from kitbuild.errors import UsageError
from kitbuild.suggest import did_you_mean

if TYPE_CHECKING:
    from kitbuild.cli.page import Block, Page

_DESCRIPTION = """\
Explains a command or a topic; alone, lists both.

  kitbuild help build          flags and examples of a command
  kitbuild help cache gc       of a command of a command
  kitbuild help exit-status    a topic
  kitbuild help --man >kitbuild.1 && man -l kitbuild.1
  kitbuild help --man build    the man page of one command
"""
_MANUAL = "kitbuild manual"


def add(subparsers: _SubParsersAction[ArgumentParser]) -> None:
    """Registers the command."""
    parser = subparsers.add_parser(
        "help",
        help="explain a command or a topic",
        description=_DESCRIPTION,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("topics", nargs="*", metavar="TOPIC", help="a command or a topic")
    parser.add_argument("--man", action="store_true", help="write it as a man page (roff) to stdout")
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Shows the page; raises UsageError for what is neither command nor topic."""
    from kitbuild.cli.pager import show

    if arguments.man:
        sys.stdout.write(manual(arguments.topics))
    else:
        show(text_of(arguments.topics))
    return 0


def text_of(words: Sequence[str]) -> str:
    """What is known of a command or a topic, of both if both have the name; without words: what there is."""
    from kitbuild.cli.page import plain
    from kitbuild.cli.topics import TOPICS

    if not words:
        return _listing()
    parser = parser_of(words)
    topic = TOPICS.get(words[0]) if len(words) == 1 else None
    if parser is None and topic is None:
        raise _unknown(words)
    parts = [parser.format_help()] if parser else []
    if topic:
        parts.append(plain(topic.page(), shutil.get_terminal_size().columns))
    return "\n".join(parts)


def parser_of(words: Sequence[str]) -> ArgumentParser | None:
    """The parser of a command, or of a command of a command; None if there is none of this name."""
    from kitbuild.cli.main import parser_for

    parser: ArgumentParser = parser_for(words[:1])
    for word in words:
        inner = _commands_of(parser)
        if word not in inner:
            return None
        parser = inner[word]
    return parser


def manual(words: Sequence[str]) -> str:
    """The man page of kitbuild, or of one command, as roff."""
    from kitbuild import __version__
    from kitbuild.cli.main import parser_for
    from kitbuild.cli.page import roff

    if words:
        parser = parser_of(words)
        if parser is None:
            raise _unknown(words)
        name, sections = "-".join(["kitbuild", *words]), list(_command_sections(parser, words))
    else:
        name, sections = "kitbuild", list(_sections(parser_for(())))
    return roff(sections, name=name, version=__version__, manual=_MANUAL)


def _unknown(words: Sequence[str]) -> UsageError:
    from kitbuild.cli.commands import SUMMARIES
    from kitbuild.cli.topics import TOPICS

    word = " ".join(words)
    hint = did_you_mean(word, [*SUMMARIES, *TOPICS]) or "`kitbuild help` lists what there is"
    return UsageError(f"expected a command or a topic, got `{word}`", hint=hint)


def _listing() -> str:
    from kitbuild.cli.commands import listing
    from kitbuild.cli.page import Heading, Rows, plain
    from kitbuild.cli.topics import TOPICS

    rows = Rows([(name, topic.summary) for name, topic in TOPICS.items()])
    topics = plain([rows]).rstrip("\n")
    title = plain([Heading("topics")]).strip()
    return f"{listing()}\n\n{title}\n{topics}\n\n`kitbuild help NAME` explains one of them.\n"


def _commands_of(parser: ArgumentParser) -> dict[str, ArgumentParser]:
    # argparse has no public way to ask; the names have been the same since it became part of Python.
    for action in parser._actions:
        if isinstance(action, _SubParsersAction):
            return dict(action.choices)
    return {}


# -- man pages


def _sections(parser: ArgumentParser) -> Iterator[tuple[str, Page]]:
    from kitbuild.cli.commands import GROUPS
    from kitbuild.cli.page import Heading, Prose, Rows, Verbatim
    from kitbuild.cli.topics import TOPICS

    yield "name", [Prose("kitbuild - builds bootable, immutable Linux systems from LinuxKit configs")]
    yield "synopsis", [Verbatim("kitbuild COMMAND [flags] ...")]
    summary, _, examples = (parser.description or "").partition("\n")
    yield "description", [Prose(summary), Verbatim(examples.partition("\nbuild:")[0])]
    commands: list[Block] = []
    for title, group in GROUPS.items():
        commands += [Heading(title), Rows(tuple(group.items()))]
    yield "commands", [*commands, Prose("Each has a page of its own: kitbuild help --man COMMAND.")]
    yield "options", [Rows(list(_flags(parser)))]
    for name, topic in TOPICS.items():
        yield name.replace("-", " "), list(topic.page())


def _command_sections(parser: ArgumentParser, words: Sequence[str]) -> Iterator[tuple[str, Page]]:
    from kitbuild.cli.commands import SUMMARIES
    from kitbuild.cli.page import Prose, Rows, Verbatim
    from kitbuild.cli.topics import EXIT_STATUSES

    description = (parser.description or "").strip()
    said = SUMMARIES[words[0]] if len(words) == 1 else description.partition("\n")[0]
    yield "name", [Prose(f"{'-'.join(['kitbuild', *words])} - {said}")]
    yield "synopsis", [Verbatim(" ".join(parser.format_usage().removeprefix("usage: ").split()))]
    yield "description", [_described(paragraph) for paragraph in description.split("\n\n")]
    rows = list(_flags(parser))
    if rows:
        yield "options", [Rows(rows)]
    inner = _commands_of(parser)
    if inner:
        yield (
            "commands",
            [Rows([(name, (one.description or "").partition("\n")[0]) for name, one in inner.items()])],
        )
    yield "exit status", [Rows(EXIT_STATUSES)]
    yield "see also", [Prose("kitbuild(1)")]


def _described(paragraph: str) -> Block:
    from kitbuild.cli.page import Prose, Verbatim

    indented = any(line.startswith(" ") for line in paragraph.splitlines())
    return Verbatim(paragraph) if indented else Prose(" ".join(paragraph.split()))


def _flags(parser: ArgumentParser) -> Iterator[tuple[str, str]]:
    for action in parser._actions:
        if action.help == SUPPRESS or isinstance(action, _SubParsersAction):
            continue
        metavar = action.metavar or (action.dest.upper() if action.nargs != 0 else "")
        value = " ".join(metavar) if isinstance(metavar, tuple) else metavar
        if action.choices and not action.metavar:
            value = "|".join(map(str, action.choices))
        name = ", ".join(action.option_strings)
        term = f"{name} {value}".strip() if action.nargs != 0 else name
        yield term or value, (action.help or "").replace("%%", "%")
