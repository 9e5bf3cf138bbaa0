"""Parser: how every command reads its flags.

Flags and other arguments may stand in any order. A flag is never abbreviated: `--no` must not turn into whatever
flag begins so today. What cannot be read is a UsageError, below one line of usage.
"""

from __future__ import annotations

import re
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NoReturn

from kitbuild.cli.color import add_color_flag
from kitbuild.errors import UsageError
from kitbuild.suggest import did_you_mean, nearest

# What argparse says, and how it is said here.
_WORDS = (
    (re.compile(r"the following arguments are required: (.*)"), r"expected \1, got none"),
    (re.compile(r"argument (?:\S*/)?(\S+): expected one argument"), r"`\1`: expected a value, got none"),
    (
        re.compile(r"argument (?:\S*/)?(\S+): ignored explicit argument '(.*)'"),
        r"`\1`: expected no value, got `\2`",
    ),
    (re.compile(r"argument (?:\S*/)?(\S+): (expected )"), r"`\1`: \2"),
)
_WRONG_CHOICE = re.compile(
    r"argument (?:\S*/)?(?P<flag>\S+): invalid choice: '(?P<word>.*?)' \(choose from (?P<names>.*)\)"
)
# Commands of LinuxKit that kitbuild has no counterpart of.
_ONLY_LINUXKIT = ("metadata", "pkg", "push", "run", "serve")


class Parser(ArgumentParser):
    """argparse without abbreviations, whose commands take their `configs` before, between and behind flags."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **options})
        if self.add_help:
            add_color_flag(self)

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Namespace | None = None
    ) -> tuple[Namespace, list[str]]:
        """Everything, or a UsageError: nothing is left unknown."""
        arguments = sys.argv[1:] if args is None else list(args)
        self._refuse_single_dashes(arguments)
        found, rest = super().parse_known_args(arguments, namespace)
        if rest:
            self._take(rest, found)
        return found, []

    def _print_message(self, message: str, file: Any = None) -> None:
        # argparse loses what it cannot write; help that went nowhere is no success.
        if file is sys.stdout:
            file.write(message)
        else:
            super()._print_message(message, file)

    def error(self, message: str) -> NoReturn:
        hint = None
        wrong = _WRONG_CHOICE.match(message)
        if wrong:
            # With quotes until Python 3.13, without them since.
            names = [name.strip("'") for name in wrong["names"].split(", ")]
            hint = did_you_mean(wrong["word"], names)
            message = f"`{wrong['flag']}`: expected one of {', '.join(names)}, got `{wrong['word']}`"
        if "COMMAND" in message:
            if wrong and wrong["word"] in _ONLY_LINUXKIT:
                hint = f"kitbuild only builds: keep `linuxkit {wrong['word']}` for that"
            hint = hint or f"`{self.prog} --help` lists the commands"
            message = f"unknown command `{wrong['word']}`" if wrong else message
        for pattern, words in _WORDS:
            message = pattern.sub(words, message)
        self._refuse(message, hint)

    def _take(self, rest: Sequence[str], found: Namespace) -> None:
        """Adds what argparse left to the configs; a flag among it is one that nobody knows."""
        given: list[str] = []
        for position, text in enumerate(rest):
            if text == "--":
                given += rest[position + 1 :]
                break
            if text.startswith("-") and text != "-":
                self._refuse_unknown(text)
            given.append(text)
        configs: list[str] | None = getattr(found, "configs", None)
        if configs is None:
            self._refuse(f"expected no more arguments, got `{given[0]}`", None)
        configs += given

    def _refuse_unknown(self, text: str) -> NoReturn:
        flag = text.partition("=")[0]
        # Dashes are no letters: one that all flags have makes no two of them alike.
        known = {name.lstrip("-"): name for name in self._flags()}
        near = nearest(flag.lstrip("-"), known)
        self._refuse(
            f"unknown flag `{flag}`",
            f"did you mean `{known[near]}`?" if near else f"`{self.prog} --help` lists the flags",
        )

    def _refuse_single_dashes(self, arguments: Sequence[str]) -> None:
        # `-output x` would be `-o utput`: a file of that name, and a config `x`.
        for text in arguments:
            if text == "--":
                break
            flag = text.partition("=")[0]
            if len(flag) > 2 and flag[1] != "-" and f"-{flag}" in self._flags():
                self._refuse(f"unknown flag `{flag}`", f"write it with two dashes: `-{flag}`")

    def _refuse(self, message: str, hint: str | None) -> NoReturn:
        with suppress(OSError):
            self.print_usage(sys.stderr)
        raise UsageError(message, hint=hint)

    def _flags(self) -> list[str]:
        # argparse has no public way to ask; the name has been the same since it became part of Python.
        return list(self._option_string_actions)
