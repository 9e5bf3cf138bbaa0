"""kitbuild formats: what can be made."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from kitbuild.registry import formats

if TYPE_CHECKING:
    from argparse import _SubParsersAction


def add(subparsers: _SubParsersAction[ArgumentParser]) -> None:
    """Registers the command."""
    parser = subparsers.add_parser("formats", help="list the output formats", description=__doc__)
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Writes a line a format."""
    known = formats()
    width = max(map(len, known))
    for name, output_format in known.items():
        sys.stdout.write(f"{name.ljust(width)}  {output_format.summary}\n")
    return 0
