"""--color: the one flag of every command, before or behind it.

It becomes NO_COLOR or FORCE_COLOR in the environment before anything else happens, so that whatever writes, a library
or a program that is started, has been told in the way it knows.
"""

from __future__ import annotations

import os
from argparse import ArgumentParser
from collections.abc import MutableMapping, Sequence

from kitbuild.errors import UsageError
from kitbuild.suggest import one_of

FLAG = "--color"
_WHEN = ("auto", "always", "never")


def add_color_flag(parser: ArgumentParser) -> None:
    """Has a parser tell of the flag; `take_color` reads it."""
    parser.add_argument(
        FLAG,
        choices=_WHEN,
        metavar="WHEN",
        help="colour output: auto (default: on terminals), always or never",
    )


def take_color(arguments: Sequence[str], environment: MutableMapping[str, str] = os.environ) -> list[str]:
    """The command line without the flag, whose wish is in the environment; raises UsageError for a wrong value."""
    left: list[str] = []
    words = iter(arguments)
    for word in words:
        flag, equals, value = word.partition("=")
        if word == "--":
            return [*left, word, *words]
        if flag != FLAG:
            left.append(word)
            continue
        given = value if equals else next(words, None)
        if given is None:
            raise UsageError(f"`{FLAG}`: expected a value, got none", hint="write `--color never`, for one")
        if given not in _WHEN:
            raise UsageError(f"`{FLAG}`: expected when to colour, got `{given}`", hint=one_of(given, _WHEN))
        _wish(given, environment)
    return left


def _wish(when: str, environment: MutableMapping[str, str]) -> None:
    if when == "auto":
        # What the user set for all programs stays as it is.
        return
    for name in ("NO_COLOR", "FORCE_COLOR"):
        environment.pop(name, None)
    environment["FORCE_COLOR" if when == "always" else "NO_COLOR"] = "1"
