"""EFI programs: what the headers of a PE file say, and how sections are appended to one.

    "MZ", at 60 the offset of what follows | "PE\\0\\0", COFF header, optional header, section table | sections

Source: Microsoft, "PE Format"; UEFI specification 2.10, section 2.1.1, "UEFI Images".
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from kitbuild.errors import RuleError
from kitbuild.extents import Extents, Literal, Part, Zeros

# What the contents of sections may be.
CODE = 0x20
DATA = 0x40
_READABLE = 0x4000_0000
# Contents start at multiples of a page in file and memory, so that they need not be copied to be shared.
_PAGE = 4096
# Offsets, addresses and the size of the whole program have 32 bits.
_LIMIT = 1 << 32
# "PE\0\0" and the COFF header.
_COFF_BYTES = 24
# name, size and address in memory, size and offset in the file, relocations and line numbers (none), kind
_SECTION = struct.Struct("<8sIIIIIIHHI")
# PE32+, the kind of 64-bit programs.
_PE32_PLUS = 0x20B
# Offsets in the optional header, and the number of the directory that says where a signature lies.
_CODE_BYTES, _DATA_BYTES, _ALIGNMENTS, _SIZES, _CHECKSUM, _DIRECTORIES = 4, 8, 32, 56, 64, 108
_SIGNATURE = 4


class Program(NamedTuple):
    """What the headers of a 64-bit EFI program say.

    `coff`, `optional` and `table` are where the headers and the table of the `sections` start in the file.
    `image_bytes` is what the program takes in memory, `header_bytes` the headers' share of the file.
    """

    coff: int
    optional: int
    table: int
    sections: int
    section_alignment: int
    file_alignment: int
    image_bytes: int
    header_bytes: int


class Section(NamedTuple):
    """A section to append; it takes `memory_bytes` of memory if that is more than its content."""

    name: str
    content: Extents
    kind: int = DATA
    memory_bytes: int = 0


class _Place(NamedTuple):
    """Where an appended section lies, in bytes from the start of the file and of the program in memory."""

    section: Section
    offset: int
    file_bytes: int
    address: int

    @property
    def memory_bytes(self) -> int:
        return max(self.section.content.size, self.section.memory_bytes)


def machine(head: bytes) -> int | None:
    """The number of the processor a PE file is for, by its first bytes; None if they are not those of one."""
    if len(head) < 64 or head[:2] != b"MZ":
        return None
    (coff,) = struct.unpack_from("<I", head, 60)
    if head[coff : coff + 4] != b"PE\0\0" or len(head) < coff + _COFF_BYTES:
        return None
    (found,) = struct.unpack_from("<H", head, coff + 4)
    return int(found)


def program(head: bytes) -> Program | None:
    """A 64-bit EFI program by its first bytes; None if they are not those of one."""
    if machine(head) is None:
        return None
    (coff,) = struct.unpack_from("<I", head, 60)
    optional = coff + _COFF_BYTES
    if len(head) < optional + _DIRECTORIES + 4 or head[optional : optional + 2] != _PE32_PLUS.to_bytes(
        2, "little"
    ):
        return None
    sections, optional_bytes = struct.unpack_from("<H12xH", head, coff + 6)
    alignments = struct.unpack_from("<II", head, optional + _ALIGNMENTS)
    if not all(alignments):
        return None
    sizes = struct.unpack_from("<II", head, optional + _SIZES)
    return Program(coff, optional, optional + optional_bytes, sections, *alignments, *sizes)


def append(file: Extents, sections: Sequence[Section], *, head: bytes) -> Extents:
    """The program `file`, which begins with `head`, with more sections after all it has in file and memory.

    Every content but the first starts on a page of the file. No byte lies between sections, as those who sign
    programs want it; so what follows the last section of `file` (symbols, a signature) is left out. The time in
    the header stays. Raises RuleError for what is no 64-bit EFI program, has no room in its header or a section of
    that name already, and if the whole reaches 4 GiB in file or memory.
    """
    found = program(head)
    table_end = found.table + (found.sections + len(sections)) * _SECTION.size if found else 0
    if found is None or len(head) < table_end:
        raise RuleError("expected a boot stub that is a 64-bit EFI program, got another file")
    rows = [
        _SECTION.unpack_from(head, found.table + number * _SECTION.size) for number in range(found.sections)
    ]
    _check_room(found, {row[0].rstrip(b"\0").decode("latin-1") for row in rows}, sections)
    end = max([found.header_bytes, *(row[4] + row[3] for row in rows if row[3])])
    if file.size < end:
        raise RuleError(f"expected a boot stub of at least {end} bytes, got {file.size}")
    memory_end = max([found.image_bytes, *(row[2] + max(row[1], row[3]) for row in rows)])
    places = _placed(found, sections, offset=_up(end, found.file_alignment), address=memory_end)
    parts: list[Part] = [Literal(_headers(found, head[:table_end], places))]
    parts += file.cut(table_end, end - table_end).parts
    parts.append(Zeros(places[0].offset - end))
    for place in places:
        parts += [*place.section.content.parts, Zeros(place.file_bytes - place.section.content.size)]
    return Extents.of(parts)


def _check_room(found: Program, names: set[str], sections: Sequence[Section]) -> None:
    for section in sections:
        if section.name in names:
            raise RuleError(
                f"expected a boot stub without a kernel, got one with a section `{section.name}`",
                hint="give the stub itself (`linuxx64.efi.stub`), not an image made with it",
            )
    room = (found.header_bytes - found.table) // _SECTION.size - found.sections
    if room < len(sections):
        raise RuleError(
            f"expected room for {len(sections)} more sections in the header of the boot stub, got {room}",
            hint="take the stub of another version of systemd",
        )


def _placed(found: Program, sections: Sequence[Section], *, offset: int, address: int) -> list[_Place]:
    places: list[_Place] = []
    for section in sections:
        address = _up(address, _page(found))
        # Up to the next one, which starts on a page; the last has no more behind it than it must have.
        unit = found.file_alignment if len(places) + 1 == len(sections) else max(_PAGE, found.file_alignment)
        file_bytes = _up(offset + section.content.size, unit) - offset
        place = _Place(section, offset, file_bytes, address)
        offset += file_bytes
        address += max(place.memory_bytes, file_bytes)
        places.append(place)
    if max(offset, address) >= _LIMIT:
        total = sum(section.content.size for section in sections)
        raise RuleError(
            f"expected kernel and initrd of less than 4 GiB in all, for they are one EFI program, got {total} bytes",
            hint="leave an image out, or choose a format with a root file system instead of an initrd",
        )
    return places


def _headers(found: Program, head: bytes, places: Sequence[_Place]) -> bytes:
    headers = bytearray(head)
    struct.pack_into("<H", headers, found.coff + 6, found.sections + len(places))
    # No table of symbols, and so none of them.
    struct.pack_into("<II", headers, found.coff + 12, 0, 0)
    for kind, field in ((CODE, _CODE_BYTES), (DATA, _DATA_BYTES)):
        (before,) = struct.unpack_from("<I", headers, found.optional + field)
        more = sum(place.file_bytes for place in places if place.section.kind == kind)
        struct.pack_into("<I", headers, found.optional + field, before + more)
    image_bytes = _up(places[-1].address + places[-1].memory_bytes, _page(found))
    struct.pack_into("<I", headers, found.optional + _SIZES, image_bytes)
    struct.pack_into("<I", headers, found.optional + _CHECKSUM, 0)
    (directories,) = struct.unpack_from("<I", headers, found.optional + _DIRECTORIES)
    if directories > _SIGNATURE:
        struct.pack_into("<II", headers, found.optional + _DIRECTORIES + 4 + 8 * _SIGNATURE, 0, 0)
    for number, (section, offset, file_bytes, address) in enumerate(places, found.sections):
        row = (
            section.name.encode(),
            places[number - found.sections].memory_bytes,
            address,
            file_bytes,
            offset,
        )
        kind = section.kind | _READABLE
        _SECTION.pack_into(headers, found.table + number * _SECTION.size, *row, 0, 0, 0, 0, kind)
    return bytes(headers)


def _page(found: Program) -> int:
    return max(_PAGE, found.section_alignment)


def _up(number: int, alignment: int) -> int:
    return number + -number % alignment
