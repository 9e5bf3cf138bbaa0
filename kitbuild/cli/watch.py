"""kitbuild watch: build again whenever something changes."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import _SubParsersAction


def add(subparsers: _SubParsersAction[ArgumentParser]) -> None:
    """Registers the command."""
    parser = subparsers.add_parser(
        "watch", help="build again whenever something changes", description=__doc__
    )
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Runs it and gives the exit status."""
    raise NotImplementedError
