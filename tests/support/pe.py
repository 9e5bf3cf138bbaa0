"""EFI programs for tests: a maker of small ones, and a reader that shares no code with what is tested.

Source: Microsoft, "PE Format".
"""

from __future__ import annotations

import struct
from itertools import pairwise
from typing import NamedTuple

HEADER_BYTES = 1024


def program(
    *,
    content: bytes = b"code",
    machine: int = 0x8664,
    magic: int = 0x20B,
    time: int = 0,
    section_alignment: int = 4096,
    image_bytes: int = 0x3000,
    room: int = 15,
    header_bytes: int = HEADER_BYTES,
    symbols: bytes = b"",
    signature: tuple[int, int] = (0, 0),
    check_sum: int = 0,
) -> bytes:
    """A program with one section `.text` at 0x1000, and room for `room` more in its header."""
    padded = content + bytes(-len(content) % 512)
    optional = struct.pack(
        "<HBBIIIIIQII6HIIIIHHQQQQII",
        *(magic, 2, 40, len(padded), 512, 0, 0x1000, 0x1000, 0, section_alignment, 512),
        *(0, 0, 0, 0, 0, 0, 0, max(image_bytes, 0x1000 + len(padded)), header_bytes, check_sum),
        *(10, 0, 0, 0, 0, 0, 0, 16),
    )
    directories = [(0, 0)] * 16
    directories[4] = signature
    optional += b"".join(struct.pack("<II", *directory) for directory in directories)
    section = struct.pack(
        "<8s6I2HI", b".text", len(content), 0x1000, len(padded), header_bytes, *[0] * 4, 0x6000_0020
    )
    # The header ends with the room for sections, so it starts where that leaves it to.
    start = header_bytes - 24 - len(optional) - 40 * (room + 1)
    at_symbols = header_bytes + len(padded) if symbols else 0
    coff = struct.pack("<4sHHIIIHH", b"PE", machine, 1, time, at_symbols, len(symbols), len(optional), 0x206)
    front = b"MZ".ljust(60, b"\0") + struct.pack("<I", start)
    return (
        (front.ljust(start, b"\0") + coff + optional + section).ljust(header_bytes, b"\0") + padded + symbols
    )


class Section(NamedTuple):
    """A section as it stands in the file; `content` has no padding behind it."""

    name: str
    memory_bytes: int
    address: int
    file_bytes: int
    offset: int
    kind: int
    content: bytes


class Program(NamedTuple):
    """What a program's headers say, and what its sections hold."""

    machine: int
    time: int
    symbols: tuple[int, int]
    code_bytes: int
    data_bytes: int
    entry: int
    image_bytes: int
    check_sum: int
    signature: tuple[int, int]
    sections: tuple[Section, ...]
    file_bytes: int

    @classmethod
    def read(cls, content: bytes) -> Program:
        """Reads a 64-bit program."""
        assert content[:2] == b"MZ"
        (start,) = struct.unpack_from("<I", content, 60)
        magic, machine, count, time, *symbols, optional_bytes, _ = struct.unpack_from(
            "<4sHHIIIHH", content, start
        )
        assert magic == b"PE\0\0"
        optional = start + 24
        assert struct.unpack_from("<H", content, optional) == (0x20B,)
        code_bytes, data_bytes, _, entry = struct.unpack_from("<4I", content, optional + 4)
        image_bytes, header_bytes, check_sum = struct.unpack_from("<3I", content, optional + 56)
        table = optional + optional_bytes
        assert table + 40 * count <= header_bytes
        return cls(
            machine,
            time,
            (symbols[0], symbols[1]),
            code_bytes,
            data_bytes,
            entry,
            image_bytes,
            check_sum,
            struct.unpack_from("<II", content, optional + 112 + 4 * 8),
            tuple(_section(content, table + 40 * number) for number in range(count)),
            len(content),
        )

    def section(self, name: str) -> Section:
        """The only section of this name."""
        (found,) = (section for section in self.sections if section.name == name)
        return found

    @property
    def overlaps(self) -> list[str]:
        """The names of sections that begin in memory before the one before them ends."""
        order = sorted(self.sections, key=lambda section: section.address)
        return [
            after.name
            for before, after in pairwise(order)
            if before.address + before.memory_bytes > after.address
        ]

    @property
    def gaps(self) -> list[str]:
        """The names of sections that do not begin in the file where the one before them ends."""
        order = sorted(self.sections, key=lambda section: section.offset)
        pairs = pairwise(order)
        return [after.name for before, after in pairs if before.offset + before.file_bytes != after.offset]


def _section(content: bytes, place: int) -> Section:
    name, memory_bytes, address, file_bytes, offset = struct.unpack_from("<8s4I", content, place)
    (kind,) = struct.unpack_from("<I", content, place + 36)
    found = content[offset : offset + min(memory_bytes, file_bytes)]
    return Section(name.rstrip(b"\0").decode(), memory_bytes, address, file_bytes, offset, kind, found)
