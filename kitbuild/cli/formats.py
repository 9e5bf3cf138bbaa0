"""kitbuild formats: what can be made, and what each format needs."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from typing import TYPE_CHECKING, Any

from kitbuild.cli.format_outputs import output_names
from kitbuild.registry import formats
from kitbuild.system import Format

if TYPE_CHECKING:
    from argparse import _SubParsersAction

_DESCRIPTION = """\
Lists what can be made: the files of each format, NAME standing for the config's, and in brackets which boot loaders
it takes for which architecture.

  kitbuild formats
  kitbuild formats --json | jq -r '.[] | select(.boots) | .name'    what boots by itself
  kitbuild formats --json | jq '.[] | {name, outputs}'              what follows NAME in the names of its files
  kitbuild build --format iso,qcow2-efi linuxkit.yml                two of them, of one build
"""


def add(subparsers: _SubParsersAction[ArgumentParser]) -> None:
    """Registers the command."""
    parser = subparsers.add_parser(
        "formats",
        help="list the output formats",
        description=_DESCRIPTION,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="write one JSON array for programs")
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Writes a line a format, or an object a format."""
    known = formats()
    if arguments.json:
        import json

        sys.stdout.write(json.dumps(list(map(_plain, known.values())), indent=2) + "\n")
        return 0
    width = max(map(len, known))
    for name, output_format in known.items():
        sys.stdout.write(f"{name.ljust(width)}  {summary_of(output_format)}\n")
    return 0


def summary_of(output_format: Format) -> str:
    """Its summary, its files and what it needs: "the root as a tar -> NAME.tar"."""
    return (
        f"{output_format.summary} -> {', '.join(output_names(output_format, 'NAME'))}{_needs(output_format)}"
    )


def _needs(output_format: Format) -> str:
    """What it needs beyond the images of a config, in brackets: " [amd64: syslinux; arm64: systemd-boot]"."""
    needed = [
        f"{architecture}: {' and '.join(names)}" for architecture, names in output_format.loaders.items()
    ]
    return f" [{'; '.join(needed)}]" if needed else ""


def _plain(output_format: Format) -> dict[str, Any]:
    return {
        "name": output_format.name,
        "summary": output_format.summary,
        "outputs": list(output_names(output_format)),
        "stream": output_format.stream,
        "boots": output_format.boots,
        "architectures": list(output_format.loaders) or None,
        "loaders": {architecture: list(names) for architecture, names in output_format.loaders.items()},
    }
