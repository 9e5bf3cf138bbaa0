"""kitbuild schema: what a config may say, for editors, and what a build tells programs."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import _SubParsersAction

_DESCRIPTION = """\
Writes the JSON Schema of configs (draft 7), by which an editor completes and explains keys and underlines mistakes.

  kitbuild schema >linuxkit.schema.json

A config names it in its first line: # yaml-language-server: $schema=linuxkit.schema.json

  kitbuild schema --events >events.schema.json    the same of the lines that `kitbuild build --json` writes
"""


def add(subparsers: _SubParsersAction[ArgumentParser]) -> None:
    """Registers the command."""
    parser = subparsers.add_parser(
        "schema",
        help="write the JSON Schema of configs, for editors",
        description=_DESCRIPTION,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--events", action="store_true", help="write the schema of the events of `build --json` instead"
    )
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Writes the schema."""
    if arguments.events:
        from kitbuild.report.schema import event_schema_text

        sys.stdout.write(event_schema_text())
        return 0
    from kitbuild.config.json_schema import json_schema_text

    sys.stdout.write(json_schema_text())
    return 0
