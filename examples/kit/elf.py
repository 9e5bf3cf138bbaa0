"""What the kit must know about ELF files: which libraries a program needs, what a kernel module says of itself.

Source: System V ABI, chapters 4 (object files) and 5 (dynamic linking).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

_DYNAMIC = 6  # section type SHT_DYNAMIC
_NEEDED = 1  # dynamic tag DT_NEEDED


class Section(NamedTuple):
    """One section header of a 64-bit little-endian ELF file; `link` is the index of a related section."""

    name: str
    kind: int
    offset: int
    size: int
    link: int


def sections(data: bytes) -> list[Section]:
    """The section headers in file order, with their names."""
    (table,) = struct.unpack_from("<Q", data, 40)
    size, count, names = struct.unpack_from("<HHH", data, 58)
    headers = [struct.unpack_from("<IIQQQQI", data, table + index * size) for index in range(count)]
    names_at = headers[names][4]
    return [
        Section(_text(data, names_at + name), kind, offset, length, link)
        for name, kind, _flags, _address, offset, length, link in headers
    ]


def needed(data: bytes) -> list[str]:
    """The shared libraries a program or library asks for, such as `libc.so.6`; none if it is static."""
    found: list[str] = []
    table = sections(data)
    for section in table:
        if section.kind == _DYNAMIC:
            strings = table[section.link].offset
            entries = struct.iter_unpack("<QQ", data[section.offset : section.offset + section.size])
            found += [_text(data, strings + value) for tag, value in entries if tag == _NEEDED]
    return found


def interpreter(data: bytes) -> str:
    """The loader a program is started by, as an absolute path; empty for libraries and static programs."""
    return next((_text(data, section.offset) for section in sections(data) if section.name == ".interp"), "")


def module_facts(data: bytes) -> Iterator[tuple[str, str]]:
    """The `name=value` pairs of a kernel module (`depends`, `alias`, ...), in file order."""
    for section in sections(data):
        if section.name == ".modinfo":
            for fact in data[section.offset : section.offset + section.size].split(b"\0"):
                name, _, value = fact.decode("utf-8", "replace").partition("=")
                if value or name:
                    yield name, value


def _text(data: bytes, start: int) -> str:
    return data[start : data.index(b"\0", start)].decode()
