"""The text of every error: what is wrong and where, the line with a caret, what to do."""

from __future__ import annotations

from kitbuild.errors import BuildError, ConfigErrors, KitbuildError, Where
from kitbuild.report.text import painted, plural, printable

_RED, _CYAN, _BOLD = "1;31", "1;36", "1"
_INDENT = "    "
# A line of a config can be a whole file on one line; this much of it is shown around the column.
_LONGEST_LINE = 160
_TAB_WIDTH = 8


def format_error(error: BaseException, *, color: bool) -> str:
    """The whole text for `error`, without a newline at the end.

    One error is `error: file:line:column: message`, the line and a caret below the column if the place has a
    line, and `hint: ...` on a line of its own. Collections list each of their errors, then a count.
    """
    if isinstance(error, ConfigErrors):
        each = [_one(mistake, "", color) for mistake in error.errors]
        return "\n".join([*each, plural(len(each), error.noun)])
    if isinstance(error, BuildError):
        each = [format_failure(node, failure, color=color) for node, failure in error.failures]
        return "\n".join([*each, f"{plural(len(each), 'node')} failed"])
    return _one(error, "", color)


def format_failure(node: str, error: KitbuildError, *, color: bool) -> str:
    """The text for an error that ended the node of this name."""
    return _one(error, f"{node}: ", color)


def format_warning(message: str, node: str = "", *, color: bool) -> str:
    """The text for something that does not stop the build, said by the node of this name if there is one."""
    place = f"{node}: " if node else ""
    return f"{painted('warning:', '1;33', color=color)} {printable(place + message)}"


def _one(error: BaseException, prefix: str, color: bool) -> str:
    where, hint = None, None
    if isinstance(error, KitbuildError):
        message, where, hint = error.message, error.where, error.hint
    elif isinstance(error, KeyboardInterrupt):
        message = "interrupted"
    elif isinstance(error, OSError) and error.strerror:
        place = "" if error.filename is None else f"{_file_name(error.filename)}: "
        message = f"{place}{error.strerror[:1].lower()}{error.strerror[1:]}"
    else:
        message = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    place = f"{painted(printable(str(where)), _BOLD, color=color)}: " if where else ""
    lines = [f"{painted('error:', _RED, color=color)} {place}{printable(prefix + message)}"]
    if where and where.text:
        lines += _pointed_at(where, color)
    if hint:
        lines.append(f"{painted('hint:', _CYAN, color=color)} {printable(hint)}")
    return "\n".join(lines)


def _file_name(name: object) -> str:
    return name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else str(name)


def _pointed_at(where: Where, color: bool) -> list[str]:
    """The line and the caret line; both indented alike, tabs as the spaces they stand for."""
    line = where.text.rstrip("\r\n")
    column = min(max(where.column, 1), len(line) + 1) - 1
    if len(line) > _LONGEST_LINE:
        start = max(0, min(column - _LONGEST_LINE // 2, len(line) - _LONGEST_LINE))
        end = start + _LONGEST_LINE
        before, after = "..." if start else "", "..." if end < len(line) else ""
        line, column = f"{before}{line[start:end]}{after}", column - start + len(before)
    left = _spaced(line[:column])
    caret = " " * _cells(left) + "^"
    shown = left + _spaced(line[column:], _cells(left))
    return [f"{_INDENT}{shown}".rstrip(), f"{_INDENT}{painted(caret, _RED, color=color)}"]


def _spaced(text: str, start: int = 0) -> str:
    """`text` made printable, tabs as spaces, when its first character stands in cell `start`."""
    cell, pieces = start, []
    for character in text:
        piece = " " * (_TAB_WIDTH - cell % _TAB_WIDTH) if character == "\t" else printable(character)
        pieces.append(piece)
        cell += _cells(piece)
    return "".join(pieces)


def _cells(text: str) -> int:
    """How many cells of a terminal `text` takes. Source: Unicode Standard Annex 11, East Asian Width."""
    if text.isascii():
        return len(text)
    # Only lines with other letters pay for the Unicode tables.
    import unicodedata

    def width(character: str) -> int:
        if unicodedata.category(character) in ("Mn", "Me", "Cf"):
            return 0
        return 2 if unicodedata.east_asian_width(character) in "WF" else 1

    return sum(map(width, text))
