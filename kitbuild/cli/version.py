"""kitbuild version: which kitbuild this is."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from kitbuild import __version__

if TYPE_CHECKING:
    from argparse import _SubParsersAction


def add(subparsers: _SubParsersAction[ArgumentParser]) -> None:
    """Registers the command."""
    parser = subparsers.add_parser("version", help="show the version", description=__doc__)
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Writes the version and the Python it runs on."""
    python = ".".join(map(str, sys.version_info[:3]))
    sys.stdout.write(f"kitbuild {__version__} (Python {python})\n")
    return 0
