"""kitbuild extract: write files of an output to a folder."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import _SubParsersAction
    from collections.abc import Iterable

    from kitbuild.reading import Output, OutputEntry
    from kitbuild.reading.entries import Area

_DESCRIPTION = """\
Writes files of an output to a folder, without root: modes and times are kept, owners are not; devices, pipes and
sockets are left out. Symlinks are written as they are, and nothing is ever written through one.

  kitbuild extract linuxkit-hybrid.iso -C root       the whole system
  kitbuild extract linuxkit-initrd.img etc usr/lib   two folders, to here
  kitbuild extract --medium linuxkit-efi.img -C esp  kernel, initrd and boot loader
"""


def add(subparsers: _SubParsersAction[ArgumentParser]) -> None:
    """Registers the command."""
    parser = subparsers.add_parser(
        "extract",
        help="write files of an output to a folder",
        description=_DESCRIPTION,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "output", metavar="OUTPUT", help="a file kitbuild wrote, or a folder with an OCI image"
    )
    parser.add_argument(
        "paths", nargs="*", metavar="PATH", help="files, and folders with all below (default: all)"
    )
    parser.add_argument(
        "-C",
        "--directory",
        default=".",
        metavar="DIR",
        help="where to write (default: here); made if need be",
    )
    parser.add_argument("--force", action="store_true", help="replace files that are there already")
    parser.add_argument("--all-modes", action="store_true", help="keep setuid, setgid and sticky bits too")
    parser.add_argument(
        "--medium", action="store_true", help="of the medium itself, not of the system that boots"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="say nothing but errors")
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Writes them and says how many."""
    import sys
    from pathlib import Path

    from kitbuild.reading import open_output
    from kitbuild.reading.extraction import Extraction
    from kitbuild.report.text import human_size, plural, printable

    folder = Path(arguments.directory)
    with open_output(Path(arguments.output)) as output:
        entries = _chosen(output, arguments.paths, "medium" if arguments.medium else "system")
        extraction = Extraction(output, folder, force=arguments.force, all_modes=arguments.all_modes)
        extracted = extraction.run(entries)
    if not arguments.quiet:
        count = plural(sum(extracted.written.values()), "name")
        text = f"{count} ({human_size(extracted.bytes)}) written to {printable(str(folder))}"
        if skipped := [f"{number} {kind}" for kind, number in sorted(extracted.skipped.items())]:
            text += f"; left out, as only root makes them: {', '.join(skipped)}"
        sys.stderr.write(f"{text}\n")
    return 0


def _chosen(output: Output, paths: Iterable[str], area: Area) -> Iterable[OutputEntry]:
    """The entries of the paths and of everything below them, each once."""
    every = [found.entry for found in output.area(area).values()]
    tops = [output.find(path, area, follow=False) for path in paths]
    if not tops or None in tops:
        return every
    whole = {entry.path for entry in tops if entry}
    from kitbuild.reading.entries import folders_of

    return [entry for entry in every if entry.path in whole or not whole.isdisjoint(folders_of(entry.path))]
