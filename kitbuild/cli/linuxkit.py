"""LinuxKit's command line: `linuxkit build ...` runs here unchanged but for the program's name.

Flags kitbuild has of its own (`--format`, `--name`, `--cache`, ...) mean the same in both. Here is what is left: how
LinuxKit writes flags, and those flags whose work is not needed or not done here. docs/linuxkit-flags.md has them all.

Source: LinuxKit's `linuxkit build --help`; github.com/spf13/pflag.
"""

from __future__ import annotations

import re
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

from kitbuild.errors import UsageError

# Flags that may stand before the command; what follows these is a value, not the command.
_VALUES = ("--cache", "--mirror", "--cert-file")
_BEFORE_COMMAND = re.compile(r"(?:--(?:cache|mirror|cert-file|quiet|verbose)|-q|-v+)(?:=.*)?|-v[0-9]+")
_SWITCHES = re.compile(
    r"(-q|--(?:quiet|pull|docker|decompress-kernel|no-sbom|sbom-current-time|dry-run|disable-content-trust))=(.*)"
)
# As Go reads them.
_TRUE = ("1", "t", "T", "true", "TRUE", "True")
_FALSE = ("0", "f", "F", "false", "FALSE", "False")
_LEVEL = re.compile(r"(?:-v=?|--verbose=)([0-9]+)")
# LinuxKit's levels: nothing but errors, what it does, debug, trace. Its default is what kitbuild says without a flag.
_LEVELS = ("--quiet", "", "-v", "-vv")
_SIZE = re.compile(r"([0-9]+)([MG]?)")


def rewritten(arguments: Sequence[str]) -> list[str]:
    """The command line as kitbuild writes it; raises UsageError for a value LinuxKit would refuse too.

    Flags before the command go behind it; `-v 2` becomes `-v`, `--pull=false` nothing at all.
    """
    words: list[str] = []
    left = _with_command_first(arguments)
    while left:
        word = left.pop(0)
        if word == "--":
            return [*words, word, *left]
        switch = _SWITCHES.fullmatch(word)
        if word in ("-v", "--verbose") and left and left[0].isdecimal():
            words += _level(left.pop(0))
        elif found := _LEVEL.fullmatch(word):
            words += _level(found[1])
        elif switch and switch[2] in _FALSE:
            words = [given for given in words if given != switch[1]]
        elif switch:
            words.append(_switched_on(switch[1], switch[2]))
        else:
            words.append(word)
    return words


def _with_command_first(arguments: Sequence[str]) -> list[str]:
    position = 0
    while position < len(arguments) and _BEFORE_COMMAND.fullmatch(arguments[position]):
        word = arguments[position]
        following = arguments[position + 1 : position + 2]
        has_level = word in ("-v", "--verbose") and following and following[0].isdecimal()
        position += 2 if word in _VALUES or has_level else 1
    if position >= len(arguments) or arguments[position].startswith("-"):
        return list(arguments)
    return [arguments[position], *arguments[:position], *arguments[position + 1 :]]


def _level(text: str) -> list[str]:
    if int(text) >= len(_LEVELS):
        raise UsageError(
            f"expected a level from 0 to {len(_LEVELS) - 1} with `--verbose`, got `{text}`",
            hint="use 0 (only errors), 1 (the default), 2 (why each node runs) or 3 (what it gave)",
        )
    flag = _LEVELS[int(text)]
    return [flag] if flag else []


def _switched_on(flag: str, value: str) -> str:
    if value not in _TRUE:
        raise UsageError(f"`{flag}`: expected true or false, got `{value}`")
    return flag


def add_linuxkit_flags(parser: ArgumentParser) -> None:
    """Adds the flags of `linuxkit build` that `kitbuild build` has no use of its own for."""
    group = parser.add_argument_group("flags of LinuxKit")
    group.add_argument(
        "--size",
        help="size of disks: 512M, 2G (default: as small as can be; for clouds 1G, dynamic-vhd 25G)",
    )
    group.add_argument(
        "--docker",
        action="store_true",
        help="accepted; no Docker engine is asked (use `docker save`, `--images`)",
    )
    group.add_argument(
        "--input-tar", metavar="FILE", help="accepted; not read, for every build runs only what changed"
    )
    group.add_argument("--disable-content-trust", action="store_true", help="accepted, without effect")


def check_linuxkit_flags(arguments: Namespace) -> list[str]:
    """What the user should know of the flags given; raises UsageError for what LinuxKit refuses too."""
    if arguments.quiet and arguments.verbose:
        raise UsageError("expected either `--quiet` or `--verbose`, got both")
    if arguments.size is not None:
        disk_bytes(arguments.size)
    warnings = []
    if arguments.input_tar is not None:
        if arguments.pull:
            raise UsageError("expected either `--input-tar` or `--pull`, got both")
        if arguments.input_tar == arguments.output:
            raise UsageError(
                f"expected another file with `--input-tar` than with `--output`, got `{arguments.output}` twice",
                hint="remove `--input-tar`: it is not needed here",
            )
        warnings.append("`--input-tar` is not read: every build runs only what changed")
    # With --pull LinuxKit asks no engine either.
    if arguments.docker and not arguments.pull:
        warnings.append(
            "no Docker engine is asked: give images that only it has with `docker save` and `--images`"
        )
    return warnings


def disk_bytes(text: str) -> int:
    """The size of a disk as LinuxKit writes it: 512M, 2G, and a number alone counts GiB; raises UsageError."""
    found = _SIZE.fullmatch(text)
    if found is None or not int(found[1]):
        raise UsageError(f"`--size`: expected a size such as 512M or 2G, got `{text}`")
    return int(found[1]) << (20 if found[2] == "M" else 30)
