"""Cause: one thing that changed outside a build and made nodes run."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

Kind = Literal[
    "first-build",
    "section-added",
    "section-removed",
    "section-renamed",
    "section-moved",
    "config",
    "file",
    "image",
    "boot-loader",
    "flag",
    "tool",
    "rule",
    "kitbuild",
    "dropped",
    "no-cache",
    "failed-before",
    "new",
    "other",
]


class Cause(NamedTuple):
    """One cause; two with the same sentence are the same.

    `sentence` says it all, for people: it begins with file and line if the cause is in a config. `subject` is what
    changed (a section, a path of one, an image, a file, a flag, a tool, a rule); `before` and `after` are JSON
    values, None where there is nothing to say.
    """

    kind: Kind
    sentence: str
    subject: str = ""
    file: str = ""
    line: int = 0
    before: Any = None
    after: Any = None


# Names in a record from elsewhere may be of any length.
_LONGEST_LINE = 500


def cut(text: str) -> str:
    """A line that a reader gets to the end of."""
    return text if len(text) <= _LONGEST_LINE else f"{text[:_LONGEST_LINE]}..."


def at(file: str, line: int, text: str) -> str:
    """A sentence with the place it is about, as far as that is known."""
    return f"{file}:{line}: {text}" if file and line else f"{file}: {text}" if file else text
