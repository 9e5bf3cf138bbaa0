"""GUID partition tables: a DOS table that keeps others away, the table, the partitions, and a copy of the table.

    sector 0: protective MBR   1: header   2..33: 128 entries of 128 bytes
    partitions from sector 2048 on
    last 33 sectors: the same entries, then a header of their own

Source: UEFI Specification 2.10, section 5.3 "GUID Partition Table (GPT) Disk Layout".
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from kitbuild.errors import RuleError
from kitbuild.extents import Extents, Literal, Zeros, concat
from kitbuild.rules.layout import mbr

SECTOR = mbr.SECTOR
FIRST_SECTOR = mbr.FIRST_SECTOR
EFI_SYSTEM = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
# Bit 2 of a partition's attributes, which LinuxKit's disks have too: firmware without EFI may start it.
LEGACY_BIOS_BOOTABLE = 1 << 2

_MEBIBYTE = 1 << 20
_ENTRIES, _ENTRY_BYTES = 128, 128
_TABLE_SECTORS = _ENTRIES * _ENTRY_BYTES // SECTOR
_HEADER_BYTES = 92
_REVISION = 0x00010000
_PROTECTIVE = 0xEE
_MAX_NAME = 36
# What offsets in files can say.
_LIMIT_BYTES = 1 << 63


class Partition(NamedTuple):
    """Sectors `first` to `last`; `identifier` are the 16 bytes of its own GUID as they stand on the disk."""

    first: int
    last: int
    identifier: bytes
    kind: str = EFI_SYSTEM
    name: str = "EFI System"
    attributes: int = 0


def disk(
    partition: Extents,
    *,
    size: int = 0,
    kind: str = EFI_SYSTEM,
    name: str = "EFI System",
    attributes: int = LEGACY_BIOS_BOOTABLE,
) -> Extents:
    """A disk of `size` bytes (0: as small as whole MiB allow) with one partition at 1 MiB.

    Raises RuleError if it does not fit.
    """
    start = FIRST_SECTOR * SECTOR
    needed = start + partition.size + (_TABLE_SECTORS + 1) * SECTOR
    size = size or -(-needed // _MEBIBYTE) * _MEBIBYTE
    if size >= _LIMIT_BYTES:
        raise RuleError(f"expected a disk of less than 8 EiB, got {size} bytes", hint="lower `--size`")
    if size < needed:
        raise RuleError(
            f"expected a disk of at least {needed} bytes for its partition, got {size}",
            hint="raise `--size`",
        )
    only = Partition(
        FIRST_SECTOR,
        FIRST_SECTOR + partition.size // SECTOR - 1,
        guid(partition.identity("partition")),
        kind=kind,
        name=name,
        attributes=attributes,
    )
    front, back = tables(
        [only], sectors=size // SECTOR, identifier=guid(partition.identity(f"disk of {size} bytes"))
    )
    gap, rest = Zeros(start - len(front)), Zeros(size // SECTOR * SECTOR - start - partition.size - len(back))
    end = Extents.of([rest, Literal(back), Zeros(size % SECTOR)])
    return concat([Extents.of([Literal(front), gap]), partition, end])


def tables(
    partitions: Sequence[Partition], *, sectors: int, identifier: bytes, protective: bytes = b""
) -> tuple[bytes, bytes]:
    """What stands in the first 34 and in the last 33 sectors of a disk of that many.

    `identifier` is the disk's GUID. `protective` is the first sector, if not the one with nothing but a partition
    that covers the disk.
    """
    entries = b"".join(map(_entry, partitions)).ljust(_ENTRIES * _ENTRY_BYTES, b"\0")
    last = sectors - 1
    front = _header(1, last, sectors=sectors, entries=entries, entries_at=2, identifier=identifier)
    back = _header(
        last, 1, sectors=sectors, entries=entries, entries_at=last - _TABLE_SECTORS, identifier=identifier
    )
    return (protective or _protective(sectors)) + front + entries, entries + back


def guid(identity: bytes) -> bytes:
    """A GUID as it stands on the disk, from bytes that stand for a content."""
    # Version 8 of RFC 9562, "vendor-specific": neither random nor a hash of a name. The first three fields stand
    # with their low bytes first, so the version is in the eighth byte.
    made = bytearray(identity[:16])
    made[7] = made[7] & 0x0F | 0x80
    made[8] = made[8] & 0x3F | 0x80
    return bytes(made)


def _protective(sectors: int) -> bytes:
    # Whatever is larger than the field says so with its largest number.
    whole = mbr.Partition(1, min(sectors - 1, 0xFFFFFFFF), _PROTECTIVE)
    return mbr.first_sector([whole], boot_code=b"", signature=bytes(4))


def _entry(partition: Partition) -> bytes:
    from uuid import UUID

    name = partition.name.encode("utf-16-le")
    assert len(name) <= 2 * _MAX_NAME
    return struct.pack(
        "<16s16sQQQ72s",
        UUID(partition.kind).bytes_le,
        partition.identifier,
        partition.first,
        partition.last,
        partition.attributes,
        name,
    )


def _header(
    here: int, other: int, *, sectors: int, entries: bytes, entries_at: int, identifier: bytes
) -> bytes:
    from binascii import crc32

    def packed(check: int) -> bytes:
        return struct.pack(
            "<8sIIIIQQQQ16sQIII",
            b"EFI PART",
            _REVISION,
            _HEADER_BYTES,
            check,
            0,
            here,
            other,
            2 + _TABLE_SECTORS,
            sectors - _TABLE_SECTORS - 2,
            identifier,
            entries_at,
            _ENTRIES,
            _ENTRY_BYTES,
            crc32(entries),
        )

    return packed(crc32(packed(0))).ljust(SECTOR, b"\0")
