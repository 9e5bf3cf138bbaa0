"""kitbuild ls: list what is in an output."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from argparse import _SubParsersAction
    from collections.abc import Iterable, Mapping

    from kitbuild.reading import Output, OutputEntry
    from kitbuild.reading.entries import Area

_DESCRIPTION = """\
Lists what is in an output: the root file system that boots, whatever it lies in. Without root, without mounting.
Any format of `kitbuild formats`, the same files of LinuxKit, a kernel alone, or a folder with an OCI image layout.

  kitbuild ls linuxkit-hybrid.iso             the top of the root file system
  kitbuild ls -l linuxkit-initrd.img etc      modes, owners, sizes and times of what is in etc
  kitbuild ls -R --sort size linuxkit.qcow2   every file, the largest first
  kitbuild ls --medium -R linuxkit-efi.img    what the firmware sees: boot loader, kernel, initrd
  kitbuild ls --json -R linuxkit.tar          one JSON object with `entries`, for programs
"""
_LETTERS = {
    "file": "-",
    "hardlink": "-",
    "directory": "d",
    "symlink": "l",
    "character": "c",
    "block": "b",
    "fifo": "p",
    "socket": "s",
}
_NANO = 1_000_000_000


def add(subparsers: _SubParsersAction[ArgumentParser]) -> None:
    """Registers the command."""
    parser = subparsers.add_parser(
        "ls",
        help="list what is in an output",
        description=_DESCRIPTION,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "output", metavar="OUTPUT", help="a file kitbuild wrote, or a folder with an OCI image"
    )
    parser.add_argument("path", nargs="?", default="", metavar="PATH", help="what to list (default: the top)")
    parser.add_argument(
        "-l", "--long", action="store_true", help="modes, owners, sizes, times, and on stderr the format"
    )
    parser.add_argument("-R", "--recursive", action="store_true", help="everything below, with whole paths")
    parser.add_argument(
        "--medium", action="store_true", help="what is on the medium itself, not the system that boots"
    )
    parser.add_argument(
        "--sort",
        choices=("name", "size", "time"),
        default="name",
        help="by name, or the largest or newest first",
    )
    parser.add_argument("--json", action="store_true", help="write one JSON object for programs")
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Lists it."""
    import sys
    from pathlib import Path

    from kitbuild.reading import open_output
    from kitbuild.report.text import one_line, printable

    with open_output(Path(arguments.output)) as output:
        area: Area = "medium" if arguments.medium else "system"
        chosen = output.find(arguments.path, area) if arguments.path else None
        every = [found.entry for found in output.area(area).values()]
        top = chosen.path if chosen else ""
        entries = _listed(every, chosen, top, recursive=arguments.recursive)
        totals = _totals(every) if arguments.sort == "size" and not arguments.recursive else {}
        entries = _ordered(entries, arguments.sort, totals)
        if arguments.json:
            _write_json(output, area, entries, totals)
            return 0
        if arguments.long or not every:
            sys.stderr.write(f"{printable(str(output.path))}: {printable(output.summary)}\n")
        names = {entry: _name(entry, top, whole=arguments.recursive or entry is chosen) for entry in entries}
        for line in _long(names, totals) if arguments.long else names.values():
            sys.stdout.write(f"{one_line(line)}\n")
        for note in output.notes:
            sys.stderr.write(f"note: {one_line(note)}\n")
    return 0


def _listed(
    every: Iterable[OutputEntry], chosen: OutputEntry | None, top: str, *, recursive: bool
) -> list[OutputEntry]:
    """What is below the top, or the one thing itself that is no folder."""
    if chosen is not None and chosen.kind != "directory":
        return [chosen]
    inside = f"{top}/" if top else ""
    found = (entry for entry in every if entry.path.startswith(inside) and entry.path != top)
    if recursive:
        return list(found)
    return [entry for entry in found if "/" not in entry.path[len(inside) :]]


def _totals(every: Iterable[OutputEntry]) -> Mapping[str, int]:
    """By folder, the bytes of all files below it."""
    from kitbuild.reading.entries import folders_of

    totals: dict[str, int] = {}
    for entry in every:
        if entry.kind == "file":
            for folder in folders_of(entry.path):
                totals[folder] = totals.get(folder, 0) + entry.size
    return totals


def _ordered(entries: list[OutputEntry], order: str, totals: Mapping[str, int]) -> list[OutputEntry]:
    if order == "size":
        return sorted(entries, key=lambda entry: -_size(entry, totals))
    if order == "time":
        return sorted(entries, key=lambda entry: -entry.mtime)
    return entries


def _size(entry: OutputEntry, totals: Mapping[str, int]) -> int:
    return totals.get(entry.path, 0) if entry.kind == "directory" else entry.size


def _name(entry: OutputEntry, top: str, *, whole: bool) -> str:
    name = entry.path if whole or not top else entry.path[len(top) + 1 :]
    return f"{name}/" if entry.kind == "directory" else name


def _long(names: Mapping[OutputEntry, str], totals: Mapping[str, int]) -> list[str]:
    from datetime import UTC, datetime

    def time(entry: OutputEntry) -> str:
        try:
            return datetime.fromtimestamp(entry.mtime // _NANO, UTC).strftime("%Y-%m-%d %H:%M:%S")
        except (ValueError, OverflowError, OSError):
            return str(entry.mtime // _NANO).rjust(19)

    rows = []
    for entry, name in names.items():
        size = f"{entry.device[0]},{entry.device[1]}" if entry.device else str(_size(entry, totals))
        target = {"symlink": f" -> {entry.target}", "hardlink": f" link to {entry.target}"}.get(
            entry.kind, ""
        )
        rows.append((_mode(entry), f"{entry.uid}:{entry.gid}", size, time(entry), f"{name}{target}"))
    owners, sizes = (max((len(row[column]) for row in rows), default=0) for column in (1, 2))
    return [f"{row[0]} {row[1]:<{owners}} {row[2]:>{sizes}} {row[3]} {row[4]}" for row in rows]


def _mode(entry: OutputEntry) -> str:
    """`-rwsr-xr-x`."""
    import stat

    return _LETTERS[entry.kind] + stat.filemode(stat.S_IFREG | entry.mode)[1:]


def _write_json(output: Output, area: str, entries: Iterable[OutputEntry], totals: Mapping[str, int]) -> None:
    import json
    import sys

    document = {
        "output": str(output.path),
        "format": output.format,
        "area": area,
        "cmdline": output.cmdline(),
        "entries": [_plain(entry, totals) for entry in entries],
        "summary": output.summary,
    }
    sys.stdout.write(json.dumps(document, indent=1) + "\n")


def _plain(entry: OutputEntry, totals: Mapping[str, int]) -> dict[str, Any]:
    """What is written of an entry: only what its kind has."""
    plain: dict[str, Any] = {
        "path": entry.path,
        "kind": entry.kind,
        "mode": f"{entry.mode:04o}",
        "uid": entry.uid,
        "gid": entry.gid,
        "size": _size(entry, totals),
        "mtime": entry.mtime / _NANO if entry.mtime % _NANO else entry.mtime // _NANO,
    }
    if entry.target:
        plain["target"] = entry.target
    if entry.device:
        plain["device"] = list(entry.device)
    if entry.xattrs:
        from base64 import b64encode

        plain["xattrs"] = {name: b64encode(value).decode() for name, value in entry.xattrs}
    return plain
