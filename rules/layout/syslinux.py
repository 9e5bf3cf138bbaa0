"""SYSLINUX on a FAT volume, as its installer puts it there, without running the installer.

The installer program holds everything: the boot sector, ldlinux.sys right behind it, and ldlinux.c32. A patch area in
ldlinux.sys takes where its sectors lie, since the boot sector is too small to read a file system:

    magic (4), version (4), data sectors (2), ADV sectors (2), dwords (4), checksum (4), sectors a read (2),
    offset of: offsets in ldlinux.sys of the pointers to the ADV sectors, the folder (with its room), the subvolume
    (with its room), the extents (with their number), then offsets in the boot sector of the two halves of the number
    of the first sector, and one more; all of 2 bytes

Source: SYSLINUX 6.04, libinstaller/syslxmod.c, syslxint.h, setadv.c and core/diskstart.inc.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from kitbuild.errors import RuleError

SECTOR = 512

_SIGNATURE = b"\r\nSYSLINUX "
_MAGIC = 0x3EB202FE
_MAGIC_OFFSET = 24
# 32 bits, low bytes first, version 1: the loader's modules, on whatever machine its installer runs.
_MODULE = b"\x7fELF\x01\x01\x01"
_PATCH_AREA = struct.Struct("<IIHHIIHH")
_POINTERS = struct.Struct("<10H")
_EXTENT = struct.Struct("<QH")
# Less than 64 KiB. The installer means to stop at boundaries of 64 KiB in memory too, but its test never holds.
_MAX_READ_SECTORS = 127
# Two equal sectors behind ldlinux.sys for what SYSLINUX is told to remember: here nothing.
_ADV_HEAD, _ADV_SUM, _ADV_TAIL = 0x5A2D2FA5, 0xA3041767, 0xDD28BF64
_ADV = struct.pack("<II500xI", _ADV_HEAD, _ADV_SUM, _ADV_TAIL) * 2


class Loader(NamedTuple):
    """What is installed: a boot sector and two files. `system` is ldlinux.sys, in whole sectors."""

    boot_sector: bytes
    system: bytes
    module: bytes


def loader(program: bytes) -> Loader:
    """What the installer `program` holds, not yet patched; raises RuleError if it is none."""
    start = program.find(_SIGNATURE)
    while start >= 0 and not _is_system(program, start):
        start = program.find(_SIGNATURE, start + 1)
    end = program.find(_MODULE, start + SECTOR)
    module = _module(program, end) if start >= SECTOR and end >= 0 else b""
    system = program[start:end]
    system = system.ljust(-(-len(system) // SECTOR) * SECTOR, b"\0") + _ADV
    if not (module and _can_be_patched(system)):
        raise RuleError(
            "expected the program `syslinux` of SYSLINUX 6, got another file",
            hint="give the installer from the package `syslinux`, version 6.03 or later",
        )
    return Loader(program[start - SECTOR : start], system, module)


def installed(unpatched: Loader, *, place: int) -> Loader:
    """The loader for a volume in which ldlinux.sys lies in one piece from `place` on, an offset in bytes."""
    system, boot_sector = bytearray(unpatched.system), bytearray(unpatched.boot_sector)
    body = len(system) - len(_ADV)
    first, count = place // SECTOR, body // SECTOR
    magic, version, *_, reads, pointers = _PATCH_AREA.unpack_from(system, _MAGIC_OFFSET)
    adv, _, _, _, _, extents, room, low, high, _ = _POINTERS.unpack_from(system, pointers)

    struct.pack_into("<I", boot_sector, low, first & 0xFFFFFFFF)
    struct.pack_into("<I", boot_sector, high, first >> 32)
    # The boot sector has read the first sector; the extents are for all that follow.
    packed = b"".join(_EXTENT.pack(*extent) for extent in _extents(first + 1, count - 1))
    system[extents : extents + room * _EXTENT.size] = packed.ljust(room * _EXTENT.size, b"\0")
    struct.pack_into("<QQ", system, adv, first + count, first + count + 1)

    area = (magic, version, count, len(_ADV) // SECTOR, body // 4)
    _PATCH_AREA.pack_into(system, _MAGIC_OFFSET, *area, 0, reads, pointers)
    check = (_MAGIC - sum(struct.unpack_from(f"<{body // 4}I", system))) & 0xFFFFFFFF
    _PATCH_AREA.pack_into(system, _MAGIC_OFFSET, *area, check, reads, pointers)
    return Loader(bytes(boot_sector), bytes(system), unpatched.module)


def _can_be_patched(system: bytes) -> bool:
    """Whether all that is written lies inside the system or the boot sector, with room for the extents."""
    pointers = _PATCH_AREA.unpack_from(system, _MAGIC_OFFSET)[-1]
    body = len(system) - len(_ADV)
    if pointers + _POINTERS.size > body:
        return False
    adv, _, _, _, _, extents, room, low, high, _ = _POINTERS.unpack_from(system, pointers)
    needed = len(_extents(1, body // SECTOR - 1))
    return bool(
        adv + 16 <= body
        and extents + room * _EXTENT.size <= body
        and needed <= room
        and max(low, high) + 4 <= SECTOR
    )


def _is_system(program: bytes, start: int) -> bool:
    magic = program[start + _MAGIC_OFFSET : start + _MAGIC_OFFSET + 4]
    return magic == _MAGIC.to_bytes(4, "little") and program[start - 2 : start] == b"\x55\xaa"


def _module(program: bytes, start: int) -> bytes:
    """The ELF file that starts there: its section headers are the last of it."""
    header = program[start : start + 52]
    if len(header) < 52:
        return b""
    (sections,) = struct.unpack_from("<I", header, 32)
    size, count = struct.unpack_from("<HH", header, 46)
    module = program[start : start + sections + size * count]
    return module if len(module) == sections + size * count else b""


def _extents(first: int, count: int) -> list[tuple[int, int]]:
    """First sector and number of sectors of each read for `count` consecutive sectors."""
    return [
        (first + done, min(count - done, _MAX_READ_SECTORS)) for done in range(0, count, _MAX_READ_SECTORS)
    ]
