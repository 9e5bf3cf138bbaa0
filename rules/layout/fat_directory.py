"""Directories of a FAT file system: entries, short names and long names.

Source: Microsoft "FAT: General Overview of On-Disk Format" 1.03, "FAT Directory Structure" and "FAT Long Directory
Entries".
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from time import gmtime
from typing import NamedTuple

from kitbuild.errors import RuleError
from kitbuild.system import MTIME

ENTRY_BYTES = 32
READ_ONLY, HIDDEN, SYSTEM, DIRECTORY, ARCHIVE = 0x01, 0x02, 0x04, 0x10, 0x20

# A date of seven bits for years from 1980, four and five for month and day; a time of five, six and five bits with
# seconds by two.
_WHEN = gmtime(MTIME // 1_000_000_000)
_DATE = (_WHEN.tm_year - 1980) << 9 | _WHEN.tm_mon << 5 | _WHEN.tm_mday
_TIME = _WHEN.tm_hour << 11 | _WHEN.tm_min << 5 | _WHEN.tm_sec // 2

_LONG_NAME = 0x0F
_LAST_PIECE = 0x40
_UNITS_A_PIECE = 13
_MAX_UNITS = 255
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f"*/:<>?\\|\ud800-\udfff]')
_SHORT_FORBIDDEN = re.compile(r"[^A-Z0-9!#$%&'()@^_`{}~-]")
_SHORT = re.compile(r"[A-Z0-9!#$%&'()@^_`{}~-]{1,8}(\.[A-Z0-9!#$%&'()@^_`{}~-]{1,3})?")


class Child(NamedTuple):
    """What a directory says of one of its files or directories; `cluster` is 0 for an empty file."""

    attributes: int
    cluster: int
    size: int


def check_names(folder: str, names: Iterable[str]) -> None:
    """Raises RuleError for a name that FAT cannot hold, and for two that it takes for one."""
    seen: dict[str, str] = {}
    for name in names:
        path = f"{folder}/{name}" if folder else name
        if name in ("", ".", "..") or _FORBIDDEN.search(name) or name[-1] in ". ":
            shown = path.encode("utf-8", "backslashreplace").decode()
            raise RuleError(f"a FAT file system cannot hold the name `{shown}`", hint="rename the file")
        if len(name.encode("utf-16-le")) // 2 > _MAX_UNITS:
            raise RuleError(
                f"a name of more than {_MAX_UNITS} characters in a FAT file system: `{path[:60]}...`",
                hint="shorten the name",
            )
        folded = _folded(name)
        if folded in seen:
            raise RuleError(
                f"`{path}` and `{seen[folded]}` beside it are one name in a FAT file system",
                hint="rename one of them",
            )
        seen[folded] = name


def entries(children: Mapping[str, Child]) -> bytes:
    """The entries of the names in their order, each after the pieces of its long name if it needs one."""
    pieces: list[bytes] = []
    for (name, short), child in zip(short_names(children).items(), children.values(), strict=True):
        packed = _packed(short)
        if name != short:
            pieces.extend(_long_name(name, packed))
        pieces.append(_entry(packed, child))
    return b"".join(pieces)


def entry_count(names: Iterable[str]) -> int:
    """How many entries `entries` makes of these names."""
    return sum(1 if _SHORT.fullmatch(name) else 1 - (-_units(name) // _UNITS_A_PIECE) for name in names)


def dots(cluster: int, parent: int) -> bytes:
    """The first two entries of any directory but the root: itself, and its parent (0 if that is the root)."""
    return b"".join(
        _entry(name, Child(DIRECTORY, number, 0))
        for name, number in ((b".".ljust(11), cluster), (b"..".ljust(11), parent))
    )


def short_names(names: Iterable[str]) -> dict[str, str]:
    """For each name of a directory a distinct one of at most eight characters, a dot and three more."""
    every = list(names)
    taken = {_folded(name) for name in every}
    found = {}
    # How far each stem was counted, so that ten thousand similar names are not tried ten thousand times each.
    counts: dict[tuple[str, str], int] = {}
    for name in every:
        if _SHORT.fullmatch(name):
            found[name] = name
        elif _SHORT.fullmatch(upper := name.upper()) and name.isascii():
            found[name] = upper
        else:
            found[name] = _numbered(name, taken, counts)
    return found


def _numbered(name: str, taken: set[str], counts: dict[tuple[str, str], int]) -> str:
    upper = _folded(name).replace(" ", "").lstrip(".")
    base, _, extension = upper.rpartition(".") if "." in upper else (upper, "", "")
    base = _SHORT_FORBIDDEN.sub("_", base.replace(".", ""))
    extension = _SHORT_FORBIDDEN.sub("_", extension)[:3]
    key = (base[:2], extension)
    while True:
        counts[key] = number = counts.get(key, 0) + 1
        tail = f"~{number}"
        short = f"{base[: 8 - len(tail)]}{tail}" + (f".{extension}" if extension else "")
        if short not in taken:
            taken.add(short)
            return short


def _folded(name: str) -> str:
    # One character for one, as FAT folds: what would become two stays as it is.
    return "".join(upper if len(upper := character.upper()) == 1 else character for character in name)


def _packed(short: str) -> bytes:
    base, _, extension = short.partition(".")
    return (base.ljust(8) + extension.ljust(3)).encode("ascii")


def _entry(packed: bytes, child: Child) -> bytes:
    return struct.pack(
        "<11sBBBHHHHHHHI",
        packed,
        child.attributes,
        0,
        0,  # tenths of a second
        _TIME,
        _DATE,
        _DATE,
        child.cluster >> 16,
        _TIME,
        _DATE,
        child.cluster & 0xFFFF,
        child.size,
    )


def _units(name: str) -> int:
    return len(name.encode("utf-16-le")) // 2


def _long_name(name: str, packed: bytes) -> Iterator[bytes]:
    check = 0
    for byte in packed:
        check = ((check >> 1 | check << 7) + byte) & 0xFF
    units = name.encode("utf-16-le")
    count = -(-_units(name) // _UNITS_A_PIECE)
    if _units(name) % _UNITS_A_PIECE:
        units = (units + b"\0\0").ljust(count * _UNITS_A_PIECE * 2, b"\xff")
    for number in range(count, 0, -1):
        piece = units[(number - 1) * 26 : number * 26]
        order = number | (_LAST_PIECE if number == count else 0)
        yield struct.pack(
            "<B10sBBB12sH4s", order, piece[:10], _LONG_NAME, 0, check, piece[10:22], 0, piece[22:]
        )
