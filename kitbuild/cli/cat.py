"""kitbuild cat: write a file of an output to stdout."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from kitbuild.reading.entries import Area

_DESCRIPTION = """\
Writes files of an output to stdout, one behind the other, byte for byte. Symlinks are followed inside the output.

  kitbuild cat linuxkit.qcow2 init | file -                   a file of the system that boots
  kitbuild cat linuxkit-initrd.img containers/services/getty/config.json | jq .process
  kitbuild cat --medium linuxkit-bios.img p1/syslinux.cfg     a file of the medium itself
"""
_CHUNK_BYTES = 1 << 20


def add(subparsers: _SubParsersAction[ArgumentParser]) -> None:
    """Registers the command."""
    parser = subparsers.add_parser(
        "cat",
        help="write a file of an output to stdout",
        description=_DESCRIPTION,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "output", metavar="OUTPUT", help="a file kitbuild wrote, or a folder with an OCI image"
    )
    parser.add_argument("paths", nargs="+", metavar="PATH", help="a file in it")
    parser.add_argument(
        "--medium", action="store_true", help="of the medium itself, not of the system that boots"
    )
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Writes them, after looking for all of them."""
    import sys
    from pathlib import Path

    from kitbuild.reading import open_output
    from kitbuild.reading.output import not_a_file

    area: Area = "medium" if arguments.medium else "system"
    with open_output(Path(arguments.output)) as output:
        entries = []
        for path in arguments.paths:
            entry = output.find(path, area)
            if entry is None or entry.kind not in ("file", "hardlink"):
                raise not_a_file(path, output.path, "directory" if entry is None else entry.kind)
            entries.append(entry)
        sys.stdout.flush()
        for entry in entries:
            with output.open(entry) as stream:
                while piece := stream.read(_CHUNK_BYTES):
                    sys.stdout.buffer.write(piece)
    return 0
