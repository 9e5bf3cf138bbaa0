"""Names as ISO 9660 and Joliet allow them: each directory's are unique, and the same for the same tree.

Linux, GRUB and ISOLINUX read the true names from the Rock Ridge records beside them; these are for what does not.
Source: ECMA-119, 7.5 and 7.6 (file and directory identifiers); Joliet specification, "Relaxation of restrictions".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from kitbuild.tree import Entry, parent_of

_NOT_ISO = re.compile(rb"[^A-Z0-9_]")
# Interchange level 2: a name and its extension are 30 characters together, a directory's name is 31.
_ISO_FILE = 30
_ISO_DIRECTORY = 31
_ISO_EXTENSION = 10
# What Joliet forbids, and lone surrogates: bytes of a name that is not UTF-8.
_NOT_JOLIET = re.compile(r"[\0-\x1f*/:;?\\\x7f\ud800-\udfff]")
# UTF-16 units, not characters. LinuxKit allows 103, which the specification does not and pycdlib refuses.
_JOLIET = 64
_NONE: Mapping[str, int] = MappingProxyType({})

# A name as far as `room` lets it, `number` at its end if there is one.
_Fit = Callable[[str], str]


def iso_paths(entries: Iterable[Entry], least: Mapping[str, int] = _NONE) -> dict[str, str]:
    """The absolute ISO 9660 path of every entry by its path; the root's is empty.

    `least` are the lengths that the identifiers of some files must have at least.
    """
    return _paths(entries, lambda entry: _identifier(entry, least.get(entry.path, 0)))


def joliet_paths(entries: Iterable[Entry]) -> dict[str, str]:
    """The absolute Joliet path of every directory and file by its path; other kinds are left out, Joliet has none."""
    return _paths((entry for entry in entries if entry.kind in ("directory", "file", "hardlink")), _joliet)


def _paths(entries: Iterable[Entry], fitting: Callable[[Entry], _Fit]) -> dict[str, str]:
    paths = {"": ""}
    used: set[str] = set()
    last_numbers: dict[str, int] = {}
    for entry in entries:
        if not entry.path:
            continue
        parent = paths[parent_of(entry.path)]
        fit = fitting(entry)
        wanted = path = f"{parent}/{fit('')}"
        number = last_numbers.get(wanted, 0)
        while path in used:
            number += 1
            path = f"{parent}/{fit(f'{number:03}')}"
        last_numbers[wanted] = number
        used.add(path)
        paths[entry.path] = path
    return paths


def _identifier(entry: Entry, least: int) -> _Fit:
    name = entry.path.rpartition("/")[2]
    if entry.kind == "directory":
        directory = _iso(name)
        return lambda number: directory[: _ISO_DIRECTORY - len(number)] + number
    front, _, back = name.rpartition(".")
    # `.profile` has no extension, it begins with a dot.
    stem, extension = (_iso(front), _iso(back)[:_ISO_EXTENSION]) if front else (_iso(name), "")
    room = max(_ISO_FILE - len(extension), least)
    stem = stem.ljust(least, "_")
    return lambda number: f"{stem[: room - len(number)]}{number}.{extension};1"


def _iso(name: str) -> str:
    # Only ASCII is turned into capitals: what else has them changes from one Unicode version to the next.
    return _NOT_ISO.sub(b"_", name.encode("ascii", "replace").upper()).decode("ascii")


def _joliet(entry: Entry) -> _Fit:
    units = _NOT_JOLIET.sub("_", entry.path.rpartition("/")[2]).encode("utf-16-be")

    def fit(number: str) -> str:
        # What a cut leaves of a character goes too. pycdlib counts bytes of UTF-8, the specification UTF-16 units.
        room = _JOLIET - len(number)
        name = units[: 2 * room].decode("utf-16-be", "ignore")
        return name.encode()[:room].decode("utf-8", "ignore") + number

    return fit
