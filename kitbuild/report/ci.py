"""What machines that build for others understand besides text: folds, and marks at lines of files.

Source: GitHub Actions, "Workflow commands"; GitLab CI/CD, "Job logs: Custom collapsible sections".
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Protocol, TextIO

from kitbuild.errors import BuildError, ConfigErrors, KitbuildError, Where
from kitbuild.report.errors import format_error
from kitbuild.report.text import printable, use_color


class Dialect(Protocol):
    """How lines are written so that whoever shows them does more than that, and never what strangers say."""

    folds: bool

    def plain(self, text: str) -> str:
        """Lines of text as they are to be written: nothing in them is obeyed."""

    def fold(self, title: str, number: int) -> str:
        """What begins the fold of this number; empty if there are none."""

    def unfold(self, number: int) -> str:
        """What ends it."""

    def mark(self, level: str, message: str, where: Where | None, hint: str | None) -> str:
        """A line that marks an `error` or `warning` where it belongs, empty if there is no such thing."""


class Plain:
    """Text alone."""

    folds = False

    def plain(self, text: str) -> str:
        return text

    def fold(self, title: str, number: int) -> str:
        return ""

    def unfold(self, number: int) -> str:
        return ""

    def mark(self, level: str, message: str, where: Where | None, hint: str | None) -> str:
        return ""


class Gitlab(Plain):
    """A GitLab job: folds, closed at first."""

    folds = True

    def fold(self, title: str, number: int) -> str:
        return f"section_start:{int(time.time())}:kitbuild_{number}[collapsed=true]\r\x1b[0K{title}"

    def unfold(self, number: int) -> str:
        return f"section_end:{int(time.time())}:kitbuild_{number}\r\x1b[0K"


class Github:
    """A GitHub Actions job: folds, and marks at the lines of a pull request."""

    folds = True

    def plain(self, text: str) -> str:
        return "\n".join(map(_disarmed, text.split("\n")))

    def fold(self, title: str, number: int) -> str:
        return f"::group::{_data(title)}"

    def unfold(self, number: int) -> str:
        return "::endgroup::"

    def mark(self, level: str, message: str, where: Where | None, hint: str | None) -> str:
        properties = {"title": "kitbuild"}
        if where is not None and (path := _in_repository(where.file)):
            properties = {"file": path, "line": str(where.line), "col": str(where.column), **properties}
        named = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
        text = printable(f"{message}\nhint: {hint}" if hint else message)
        return f"::{level} {named}::{_data(text)}"


def dialect_of() -> Dialect:
    """That of the machine this runs on, by its environment."""
    if os.environ.get("GITHUB_ACTIONS") == "true":
        return Github()
    return Gitlab() if os.environ.get("GITLAB_CI") == "true" else Plain()


def complaint(error: Exception, stream: TextIO) -> str:
    """The whole text for an error that goes to `stream`: what format_error says, and marks at its places."""
    dialect = dialect_of()
    lines = [dialect.plain(format_error(error, color=use_color(stream)))]
    for mistake in each(error):
        if isinstance(mistake, KitbuildError):
            lines.append(dialect.mark("error", mistake.message, mistake.where, mistake.hint))
    return "\n".join(filter(None, lines))


def each(error: Exception) -> tuple[Exception, ...]:
    """The errors in one that collects them, else itself; none of failed nodes, each of which was told."""
    if isinstance(error, BuildError):
        return ()
    return error.errors if isinstance(error, ConfigErrors) else (error,)


def _disarmed(line: str) -> str:
    """A line that no runner obeys: it takes `::` for a command behind any spaces, and `##[` anywhere."""
    text = line.lstrip()
    if text.startswith("::"):
        line = f"{line[: len(line) - len(text)]}\\x3a{text[1:]}"
    return line.replace("##[", "#\\x23[")


def _in_repository(file: str) -> str:
    """The path from the top of the repository, as marks want it; empty if it is not in there, or no file."""
    top = Path(os.environ.get("GITHUB_WORKSPACE") or ".").absolute()
    path = Path(os.path.normpath(Path(file).absolute()))
    return str(path.relative_to(top)) if path.is_relative_to(top) and "://" not in file else ""


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(printable(text)).replace(":", "%3A").replace(",", "%2C")
