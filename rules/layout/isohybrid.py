"""ISO images that are disks too: written to a USB stick they boot from there.

The 32 KiB before an ISO's descriptors belong to nobody. For BIOS there stands ISOLINUX's own boot code, which has to
know where isolinux.bin is; the partition tables are for firmware and systems that look for partitions.

    bios: MBR with the one partition that all is in
    both: MBR, GPT with the ISO and, behind it, the EFI image as partitions, and the table's copy at the end

Source: SYSLINUX 6, doc/isolinux.txt "HYBRID CD-ROM/HARD DISK MODE"; UEFI Specification 2.10, sections 5.2 and 5.3.
"""

from __future__ import annotations

import struct

from kitbuild.errors import RuleError
from kitbuild.extents import Extents, Literal, Zeros, concat
from kitbuild.rules.layout import gpt, mbr

# Both a whole number of cylinders as ISOLINUX counts them and what partitions are aligned to.
_MEBIBYTE = 1 << 20
_CODE_BYTES = 432
_HEADS, _SECTORS_A_TRACK, _MAX_CYLINDERS = 64, 32, 1024
# Hidden NTFS, which nothing tries to mount.
_HIDDEN = 0x17
_BASIC_DATA = "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7"
_PROTECTIVE = 0xEE
# The ISO's descriptors begin behind the system area, of 32 KiB.
_SYSTEM_SECTORS = 64
# The copy of the GUID partition table: 128 entries and a header.
_BACK_BYTES = 33 * gpt.SECTOR


def bios(iso: Extents, *, boot_code: bytes, place: int) -> Extents:
    """The ISO with one active partition that covers it, padded to whole MiB.

    `boot_code` is isohdpfx.bin; `place` that of isolinux.bin in bytes. Raises RuleError for another boot code.
    """
    size = -(-iso.size // _MEBIBYTE) * _MEBIBYTE
    code = _code(boot_code, place)
    signature = iso.identity("disk signature")[:4]
    cylinder = min(size // _MEBIBYTE, _MAX_CYLINDERS) - 1
    partition = struct.pack(
        "<B3sB3sII",
        0x80,
        b"\0\1\0",
        _HIDDEN,
        bytes([_HEADS - 1, _SECTORS_A_TRACK | cylinder >> 8 << 6, cylinder & 0xFF]),
        0,
        size // mbr.SECTOR,
    )
    sector = struct.pack("<440s4s2x16s48x2s", code, signature, partition, b"\x55\xaa")
    return concat(
        [Extents.of([Literal(sector)]), _behind(iso, len(sector)), Extents.of([Zeros(size - iso.size)])]
    )


def both(iso: Extents, *, efi: tuple[int, int], boot_code: bytes = b"", place: int = 0) -> Extents:
    """The ISO with a GUID partition table; `efi` are place and size of the EFI image in bytes, which is its end.

    Without `boot_code` it is a disk for EFI alone.
    """
    start, length = efi
    size = -(-(iso.size + _BACK_BYTES) // _MEBIBYTE) * _MEBIBYTE
    first = start // gpt.SECTOR
    partitions = [
        gpt.Partition(
            _SYSTEM_SECTORS,
            first - 1,
            gpt.guid(iso.identity("ISO partition")),
            kind=_BASIC_DATA,
            name="ISO 9660",
        ),
        gpt.Partition(first, first + length // gpt.SECTOR - 1, gpt.guid(iso.identity("EFI partition"))),
    ]
    sectors = size // mbr.SECTOR
    protective = mbr.first_sector(
        [
            mbr.Partition(1, min(sectors - 1, 0xFFFFFFFF), _PROTECTIVE),
            # Some firmware without EFI starts no disk that has no active partition; of type 0 it is none.
            mbr.Partition(0, 1, 0, active=bool(boot_code)),
        ],
        boot_code=_code(boot_code, place) if boot_code else b"",
        signature=iso.identity("disk signature")[:4],
    )
    front, back = gpt.tables(
        partitions, sectors=sectors, identifier=gpt.guid(iso.identity("disk")), protective=protective
    )
    rest = Extents.of([Zeros(size - iso.size - len(back)), Literal(back)])
    return concat([Extents.of([Literal(front)]), _behind(iso, len(front)), rest])


def _code(boot_code: bytes, place: int) -> bytes:
    """The boot code with the first sector of isolinux.bin behind it."""
    if len(boot_code) != _CODE_BYTES:
        raise RuleError(
            f"expected boot code of {_CODE_BYTES} bytes, got {len(boot_code)}",
            hint="give `isohdpfx.bin` of the same SYSLINUX that `isolinux.bin` is of",
        )
    return boot_code + struct.pack("<Q", place // mbr.SECTOR)


def _behind(iso: Extents, offset: int) -> Extents:
    return iso.cut(offset, iso.size - offset)
