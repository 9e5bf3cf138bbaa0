"""Boot loader files of the right form that start nothing, for tests of what is built around them."""

from __future__ import annotations

import struct

# More than one read of the loader.
SYSTEM_SECTORS = 150
# An ELF file of 32 bits whose section headers end it.
MODULE = (
    b"\x7fELF\x01\x01\x01".ljust(16, b"\0")
    + struct.pack("<HHIIIIIHHHHHH", 3, 3, 1, 0, 52, 1000, 0, 52, 32, 1, 40, 5, 4)
).ljust(1000, b"m") + bytes(200)

_EXTENTS, _ADV, _POINTERS = 0x1EE, 0x120, 0x110


def syslinux_program(*, room: int = 8, pointers: int = _POINTERS) -> bytes:
    """Like the installer `syslinux`: `room` for extents, a patch area that says where the `pointers` are."""
    boot_sector = (b"\xebX\x90SYSLINUX".ljust(90, b"\0") + b"code").ljust(510, b"b") + b"\x55\xaa"
    system = bytearray(b"s" * SYSTEM_SECTORS * 512)
    system[:24] = b"\r\nSYSLINUX 6.04 \0\r\n\x1a".ljust(24, b"\0")
    struct.pack_into("<IIHHIIHH", system, 24, 0x3EB202FE, 7, 0, 0, 0, 0, 127, pointers)
    offsets = (_ADV, 0x300, 16, 0x310, 16, _EXTENTS, room, 0x11A, 0x120, 0x1CA)
    struct.pack_into("<10H", system, _POINTERS, *offsets)
    return b"\x7fELF\x02" + bytes(123) + b"SYSLINUX" + boot_sector + bytes(system) + MODULE + b"rest"
