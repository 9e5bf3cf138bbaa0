"""kitbuild worker: what runs on the workers of a cluster that builds with `--executor`."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import _SubParsersAction

_DESCRIPTION = """\
Runs one node in a folder that holds its inputs. A cluster's workers call it; nobody else need.
It ends with 0 if out/ holds the result, 70 if this kitbuild or its libraries are not those asked for, 71 if the rule
refuses its inputs, 72 if the folder cannot be read or written.
"""


def add(subparsers: _SubParsersAction[ArgumentParser]) -> None:
    """Registers the command."""
    parser = subparsers.add_parser("worker", help="run one node for a cluster", description=_DESCRIPTION)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    run_parser = commands.add_parser("run", help="run what a folder says", description=_DESCRIPTION)
    run_parser.add_argument(
        "folder", nargs="?", type=Path, default=Path(), help="where request.json lies (default: here)"
    )
    run_parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Runs the node; says on stderr, in one line, what went wrong."""
    from kitbuild import worker
    from kitbuild.cache.execution_request import BROKEN, REFUSED, UNFIT
    from kitbuild.errors import KitbuildError

    try:
        worker.run(arguments.folder)
    except worker.UnfitError as error:
        return _ended(UNFIT, error.message)
    except KitbuildError as error:
        return _ended(REFUSED, str(error))
    except OSError as error:
        place = f"`{error.filename}`: " if error.filename else ""
        return _ended(BROKEN, f"{place}{error.strerror or error}")
    return 0


def _ended(status: int, message: str) -> int:
    sys.stderr.write(f"error: {message}\n")
    return status
