"""kitbuild schema: what a config may say, for editors."""

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
"""


def add(subparsers: _SubParsersAction[ArgumentParser]) -> None:
    """Registers the command."""
    parser = subparsers.add_parser(
        "schema",
        help="write the JSON Schema of configs, for editors",
        description=_DESCRIPTION,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Writes the schema."""
    from kitbuild.config.json_schema import json_schema_text

    sys.stdout.write(json_schema_text())
    return 0
