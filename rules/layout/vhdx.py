"""Dynamic VHDX disks for Hyper-V: sizes up to 64 TiB, blocks of 1 MiB.

    file type | header, twice | region table, twice | log (1 MiB, empty) | metadata | block table | blocks

Each part starts on 1 MiB. Blocks of zeros are left out. Source: [MS-VHDX] "Virtual Hard Disk v2 (VHDX) File Format".
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from kitbuild.errors import RuleError
from kitbuild.extents import Extents, Literal, Part, Zeros, concat, padding
from kitbuild.rules.layout.crc import crc32c
from kitbuild.rules.layout.gpt import guid

_MIB = 1 << 20
# The least a block can have: what Microsoft recommends for Linux, whose file systems scatter their metadata.
_BLOCK = _MIB
_SECTOR = 512
# The table has one more entry, empty without a parent disk, after as many blocks as one bitmap could describe.
_CHUNK_BLOCKS = (1 << 23) * _SECTOR // _BLOCK
_LOG, _METADATA, _TABLE = 1 * _MIB, 2 * _MIB, 3 * _MIB
_PRESENT = 6
_MAX_BYTES = 64 << 40
_STRUCTURE_BYTES = 1 << 16
_HEADER_BYTES = 4096

_TABLE_REGION = "2dc27766-f623-4200-9d64-115e9bfd4a08"
_METADATA_REGION = "8b7ca206-4790-4b9a-b8fe-575f050f886e"
_REQUIRED = 1

_FILE_PARAMETERS = "caa16737-fa36-4d43-b3b6-33f0aa44e76b"
_DISK_SIZE = "2fa54224-cd1b-4876-b211-5dbed83bf4b8"
_DISK_IDENTITY = "beca12ab-b2e6-4523-93ef-c309e000c746"
_LOGICAL_SECTOR = "8141bf1d-a96f-4709-ba47-f233a8faab5f"
_PHYSICAL_SECTOR = "cda348c7-445d-4471-9cc9-e9885251c556"
# An item one must understand; and one of the disk, not of the file.
_ITEM_REQUIRED, _ITEM_OF_DISK = 4, 2


def image(disk: Extents) -> Extents:
    """The VHDX of a raw disk of whole sectors; its blocks stay slices. Raises RuleError above 64 TiB."""
    if disk.size > _MAX_BYTES:
        raise RuleError(
            f"expected a disk of at most 64 TiB for a VHDX, got {disk.size} bytes",
            hint="choose a smaller `--size`",
        )
    used = disk.used(_BLOCK)
    blocks = -(-disk.size // _BLOCK)
    entries = blocks + max(0, blocks - 1) // _CHUNK_BLOCKS
    table_bytes = -(-8 * entries // _MIB) * _MIB
    regions = _regions(table_bytes)
    front = [
        _page(b"vhdxfile" + "kitbuild".encode("utf-16-le")),
        # The one with the higher number counts.
        *(_page(_header(disk, number)) for number in (1, 2)),
        _page(regions),
        _page(regions),
        Extents.of([Zeros(_METADATA - 5 * _STRUCTURE_BYTES)]),
        _metadata(disk),
    ]
    table = Extents.of(_table(used, (_TABLE + table_bytes) // _MIB))
    return concat([*front, _padded(table, table_bytes), Extents.of(_blocks(disk, used))])


def _page(content: bytes) -> Extents:
    return _padded(Extents.of([Literal(content.rstrip(b"\0"))]), _STRUCTURE_BYTES)


def _padded(content: Extents, size: int) -> Extents:
    return Extents.of([*content.parts, Zeros(size - content.size)])


def _header(disk: Extents, number: int) -> bytes:
    header = struct.pack(
        "<4sIQ16s16s16sHHIQ",
        b"head",
        0,  # the checksum's place
        number,
        _identity(disk, "vhdx file"),
        _identity(disk, "vhdx data"),
        bytes(16),  # no log to replay
        0,
        1,  # version of the format
        _MIB,
        _LOG,
    )
    return _checked(header.ljust(_HEADER_BYTES, b"\0"))


def _regions(table_bytes: int) -> bytes:
    regions = ((_TABLE_REGION, _TABLE, table_bytes), (_METADATA_REGION, _METADATA, _MIB))
    content = struct.pack("<4sIII", b"regi", 0, len(regions), 0)
    for name, offset, size in regions:
        content += struct.pack("<16sQII", _guid(name), offset, size, _REQUIRED)
    return _checked(content.ljust(_STRUCTURE_BYTES, b"\0"))


def _metadata(disk: Extents) -> Extents:
    of_disk = _ITEM_OF_DISK | _ITEM_REQUIRED
    items = (
        (_FILE_PARAMETERS, _ITEM_REQUIRED, struct.pack("<II", _BLOCK, 0)),
        (_DISK_SIZE, of_disk, struct.pack("<Q", disk.size)),
        (_DISK_IDENTITY, of_disk, _identity(disk, "vhdx disk")),
        (_LOGICAL_SECTOR, of_disk, struct.pack("<I", _SECTOR)),
        (_PHYSICAL_SECTOR, of_disk, struct.pack("<I", 4096)),
    )
    table = struct.pack("<8sHH20x", b"metadata", 0, len(items))
    content = b""
    for name, flags, item in items:
        table += struct.pack("<16sIIII", _guid(name), _STRUCTURE_BYTES + len(content), len(item), flags, 0)
        content += item
    return concat([_page(table), _padded(Extents.of([Literal(content)]), _MIB - _STRUCTURE_BYTES)])


def _table(used: list[range], place: int) -> Iterator[Part]:
    position = 0
    for each in used:
        for number in each:
            entry = number + number // _CHUNK_BLOCKS
            yield Zeros(8 * (entry - position))
            yield Literal(struct.pack("<Q", place << 20 | _PRESENT))
            position, place = entry + 1, place + 1


def _blocks(disk: Extents, used: list[range]) -> Iterator[Part]:
    for each in used:
        start, end = each.start * _BLOCK, min(each.stop * _BLOCK, disk.size)
        yield from disk.cut(start, end - start).parts
        yield padding(end, _BLOCK)


def _checked(content: bytes) -> bytes:
    """With its CRC-32C in the second four bytes, which count as zeros."""
    return content[:4] + struct.pack("<I", crc32c(content)) + content[8:]


def _guid(text: str) -> bytes:
    from uuid import UUID

    return UUID(text).bytes_le


def _identity(disk: Extents, purpose: str) -> bytes:
    return guid(disk.identity(purpose))
