"""Legacy U-Boot images: 64 bytes of header, then the content.

Source: U-Boot doc/usage/cmd/bootm.rst and include/image.h ("Legacy format image header"); all numbers big-endian.
"""

from __future__ import annotations

import struct
from typing import Literal, NamedTuple

# Magic number, checksum of the header, time, size, load address, entry point, checksum of the content, operating
# system, architecture, kind, compression, name.
_HEADER = struct.Struct(">IIIIIIIBBBB32s")
_MAGIC = 0x27051956
_LINUX = 5
_ARM64 = 22
_KINDS = {"kernel": 2, "ramdisk": 3, "script": 6}
_COMPRESSIONS = {"none": 0, "gzip": 1}

SIZE = _HEADER.size


class Content(NamedTuple):
    """What follows the header: its length in bytes and its CRC-32."""

    size: int
    crc32: int


def header(
    content: Content,
    *,
    kind: Literal["kernel", "ramdisk", "script"],
    name: str,
    seconds: int,
    compression: Literal["none", "gzip"] = "none",
    address: int = 0,
) -> bytes:
    """The header of an image for Linux on arm64; a kernel is unpacked to `address` and entered there."""

    from binascii import crc32

    def packed(checksum: int) -> bytes:
        sizes = (seconds, content.size, address, address, content.crc32)
        types = (_LINUX, _ARM64, _KINDS[kind], _COMPRESSIONS[compression])
        return _HEADER.pack(_MAGIC, checksum, *sizes, *types, name.encode())

    return packed(crc32(packed(0)))


def script(text: bytes, *, name: str, seconds: int) -> bytes:
    """The whole image of a script: sizes of the scripts in it up to a zero, then the scripts."""
    from binascii import crc32

    content = struct.pack(">II", len(text), 0) + text
    front = header(Content(len(content), crc32(content)), kind="script", name=name, seconds=seconds)
    return front + content
