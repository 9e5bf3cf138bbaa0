"""What stands before the directories of a FAT volume: boot sector, FSInfo, and the table of clusters.

Source: Microsoft "FAT: General Overview of On-Disk Format" 1.03, "Boot Sector and BPB", "FAT Data Structure", "FAT32
FSInfo Sector Structure and Backup Boot Sector".
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Sequence

from kitbuild.extents import Literal, Part, Zeros
from kitbuild.rules.layout.fat_geometry import SECTOR, Geometry

# The jump and the name before the fields, the code behind those of FAT32 (the longest), and the signature.
_FIELDS, _CODE, _SIGNATURE = 11, 90, 510
_FIXED_DISK = 0xF8
_FIRST_DRIVE = 0x80
# What firmware takes large disks to have; nothing here depends on it.
_SECTORS_A_TRACK, _HEADS = 63, 255
# INT 18h hands over to the next boot device; if that comes back: halt.
_NO_CODE = b"\xcd\x18\xf4\xeb\xfd"
_INFO_SECTOR, _BACKUP_SECTOR = 1, 6
_ROOT_CLUSTER = 2


def front(
    geometry: Geometry, *, volume_id: bytes, hidden_sectors: int, boot_sector: bytes, used: int
) -> list[Part]:
    """The reserved sectors; `used` clusters are. Of `boot_sector` the jump, the name and the code are taken."""
    given = boot_sector or (b"\xeb\x58\x90MSWIN4.1".ljust(_CODE, b"\0") + _NO_CODE).ljust(SECTOR, b"\0")
    fields = _fields(geometry, hidden_sectors) + _more_fields(geometry, volume_id)
    sector = (given[:_FIELDS] + fields).ljust(_CODE, b"\0") + given[_CODE:_SIGNATURE] + b"\x55\xaa"
    if geometry.kind != 32:
        return [Literal(sector), Zeros((geometry.reserved - 1) * SECTOR)]
    both = sector + _info(geometry, used)
    return [
        Literal(both),
        Zeros((_BACKUP_SECTOR - 2) * SECTOR),
        Literal(both),
        Zeros((geometry.reserved - _BACKUP_SECTOR - 2) * SECTOR),
    ]


def table(geometry: Geometry, chains: Sequence[range]) -> list[Part]:
    """One of the two equal tables; the chains, of consecutive clusters each, fill it from cluster 2 on."""
    kind = geometry.kind
    end = 0x0FFFFFFF if kind == 32 else (1 << kind) - 1
    last = max((chain.stop for chain in chains), default=2)
    # Every cluster leads to the next one, and then some to nowhere.
    numbers = array("I" if kind == 32 else "H", range(1, last + 1))
    numbers[0], numbers[1] = end & ~0xFF | _FIXED_DISK, end
    for chain in chains:
        if chain:
            numbers[chain[-1]] = end
    content = _packed(numbers) if kind == 12 else _little(numbers)
    return [Literal(content), Zeros(geometry.table * SECTOR - len(content))]


def _packed(numbers: array[int]) -> bytes:
    """Two numbers of twelve bits in three bytes."""
    even = [*numbers, 0] if len(numbers) % 2 else [*numbers]
    pairs = zip(even[::2], even[1::2], strict=True)
    return b"".join((low | high << 12).to_bytes(3, "little") for low, high in pairs)


def _little(numbers: array[int]) -> bytes:
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()


def _fields(geometry: Geometry, hidden_sectors: int) -> bytes:
    small = geometry.kind != 32 and geometry.sectors <= 0xFFFF
    return struct.pack(
        "<HBHBHHBHHHII",
        SECTOR,
        geometry.cluster_bytes // SECTOR,
        geometry.reserved,
        2,
        geometry.root_entries,
        geometry.sectors if small else 0,
        _FIXED_DISK,
        0 if geometry.kind == 32 else geometry.table,
        _SECTORS_A_TRACK,
        _HEADS,
        hidden_sectors,
        0 if small else geometry.sectors,
    )


def _more_fields(geometry: Geometry, volume_id: bytes) -> bytes:
    # Drive, a byte for the system's use, and a mark that says that the next three fields are there.
    extended = struct.pack(
        "<BBB4s11s8s", _FIRST_DRIVE, 0, 0x29, volume_id, b"NO NAME".ljust(11), b"FAT%d   " % geometry.kind
    )
    if geometry.kind != 32:
        return extended
    return (
        struct.pack("<IHHIHH12x", geometry.table, 0, 0, _ROOT_CLUSTER, _INFO_SECTOR, _BACKUP_SECTOR)
        + extended
    )


def _info(geometry: Geometry, used: int) -> bytes:
    free = geometry.clusters - used
    # The last number is where to look for a free cluster, all ones if there is none.
    first_free = _ROOT_CLUSTER + used if free else 0xFFFFFFFF
    return struct.pack("<I480xIII12xI", 0x41615252, 0x61417272, free, first_free, 0xAA550000)
