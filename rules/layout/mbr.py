"""DOS partition tables: the first sector of a disk, with the code that firmware starts and up to four partitions.

    0 boot code (440)   440 disk signature (4)   446 four partitions (16 each)   510 55 AA

Source: UEFI Specification 2.10, section 5.2 "LBA 0 Format"; the numbers of cylinders are those of INT 13h.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from kitbuild.errors import RuleError
from kitbuild.extents import Extents, Literal, Zeros, concat

SECTOR = 512
# The first sector of a first partition: 1 MiB, which suits the blocks of whatever holds the disk.
FIRST_SECTOR = 2048
LINUX = 0x83

_CODE_BYTES = 440
_MAX_SECTORS = (1 << 32) - 1
_HEADS, _SECTORS_A_TRACK, _CYLINDERS = 255, 63, 1024


class Partition(NamedTuple):
    """`sectors` of the disk from sector `first` on; `kind` says what is in it."""

    first: int
    sectors: int
    kind: int
    active: bool = False


def disk(partition: Extents, *, boot_code: bytes, kind: int = LINUX, size: int) -> Extents:
    """A disk of `size` bytes with one active partition at 1 MiB; raises RuleError if it does not fit."""
    start = FIRST_SECTOR * SECTOR
    if size < start + partition.size:
        raise RuleError(
            f"expected a disk of at least {start + partition.size} bytes for its partition, got {size}",
            hint="raise `--size`",
        )
    if size // SECTOR > _MAX_SECTORS:
        raise RuleError(f"expected a disk of less than 2 TiB, got {size} bytes", hint="lower `--size`")
    only = Partition(FIRST_SECTOR, partition.size // SECTOR, kind, active=True)
    sector = first_sector([only], boot_code=boot_code, signature=partition.identity("disk signature")[:4])
    gap, rest = Zeros(start - SECTOR), Zeros(size - start - partition.size)
    return concat([Extents.of([Literal(sector), gap]), partition, Extents.of([rest])])


def first_sector(partitions: Sequence[Partition], *, boot_code: bytes, signature: bytes) -> bytes:
    """The sector itself; `boot_code` has at most 440 bytes, `signature` is what systems tell disks apart by."""
    if len(boot_code) > _CODE_BYTES:
        raise RuleError(
            f"expected boot code of at most {_CODE_BYTES} bytes, got {len(boot_code)}",
            hint="give the boot loader's own `mbr.bin`",
        )
    table = b"".join(map(_entry, partitions)).ljust(64, b"\0")
    return struct.pack("<440s4sH64s2s", boot_code, signature, 0, table, b"\x55\xaa")


def _entry(partition: Partition) -> bytes:
    last = partition.first + partition.sectors - 1
    return struct.pack(
        "<B3sB3sII",
        0x80 if partition.active else 0,
        _cylinder_head_sector(partition.first),
        partition.kind,
        _cylinder_head_sector(last),
        partition.first,
        partition.sectors,
    )


def _cylinder_head_sector(sector: int) -> bytes:
    track, in_track = divmod(sector, _SECTORS_A_TRACK)
    cylinder, head = divmod(track, _HEADS)
    if cylinder >= _CYLINDERS:
        # The largest there is stands for all that are beyond it.
        cylinder, head, in_track = _CYLINDERS - 1, _HEADS - 1, _SECTORS_A_TRACK - 1
    return bytes([head, cylinder >> 8 << 6 | in_track + 1, cylinder & 0xFF])
