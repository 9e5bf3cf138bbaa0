"""Pages of help: written once as values, shown on a terminal or as a man page.

Source of roff: man-pages(7), groff_man(7).
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

# Lines longer than this are hard to read, whatever the terminal.
_WIDEST = 100
_MOST_TERM = 30


class Prose(NamedTuple):
    """A paragraph."""

    text: str


class Rows(NamedTuple):
    """Terms, each with what it means."""

    rows: Sequence[tuple[str, str]]


class Verbatim(NamedTuple):
    """Lines that stay as they are: commands, files."""

    text: str


class Heading(NamedTuple):
    """What the following is about."""

    text: str


Block = Prose | Rows | Verbatim | Heading
Page = Sequence[Block]


def plain(page: Iterable[Block], width: int = 80) -> str:
    """A page for a terminal of `width` columns."""
    width = max(40, min(width, _WIDEST))
    return "\n\n".join("\n".join(_plain(block, width)) for block in page) + "\n"


def _plain(block: Block, width: int) -> Iterator[str]:
    match block:
        case Heading(text):
            yield f"{text}:"
        case Prose(text):
            yield from textwrap.wrap(text, width)
        case Verbatim(text):
            yield from (f"  {line}".rstrip() for line in text.strip("\n").splitlines())
        case Rows(rows):
            column = 4 + max((len(term) for term, _ in rows if len(term) <= _MOST_TERM), default=0)
            for term, text in rows:
                lines = textwrap.wrap(text, width - column) or [""]
                if len(term) > _MOST_TERM:
                    yield f"  {term}"
                    yield from (" " * column + line for line in lines)
                    continue
                yield f"  {term}".ljust(column) + lines[0]
                yield from (" " * column + line for line in lines[1:])


def roff(sections: Iterable[tuple[str, Page]], *, name: str, version: str, manual: str) -> str:
    """A man page of section 1, from its sections by title; `name` is the page's, such as kitbuild-build."""
    lines = [f'.TH {name.upper()} 1 "" "kitbuild {_escaped(version)}" "{manual}"']
    for title, page in sections:
        lines.append(f'.SH "{_escaped(title.upper())}"')
        for block in page:
            lines += _roff(block)
    return "\n".join(lines) + "\n"


def _roff(block: Block) -> Iterator[str]:
    match block:
        case Heading(text):
            yield f'.SS "{_escaped(text)}"'
        case Prose(text):
            yield from (".PP", _line(text))
        case Verbatim(text):
            yield from (".PP", ".RS 4", ".EX")
            yield from (_line(line) if line else "" for line in text.strip("\n").splitlines())
            yield from (".EE", ".RE")
        case Rows(rows):
            for term, text in rows:
                yield from (".TP", f"\\fB{_line(term)}\\fP", _line(text))


def _line(text: str) -> str:
    """Text that starts no request of roff."""
    escaped = _escaped(text)
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped


def _escaped(text: str) -> str:
    # A plain hyphen would become another character in UTF-8, which cannot be copied into a shell.
    for character, name in (
        ("\\", "\\e"),
        ("-", "\\-"),
        ("`", "\\(ga"),
        ("'", "\\(aq"),
        ("^", "\\(ha"),
        ("~", "\\(ti"),
        ('"', "\\(dq"),
    ):
        text = text.replace(character, name)
    return text
