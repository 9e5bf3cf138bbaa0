"""Files that boot loaders and firmware take for kernels: heads of Linux images, and nothing that runs.

Source: kernel Documentation/arch/x86/boot.rst, Documentation/arch/arm64/booting.rst.
"""

from __future__ import annotations

import struct
from typing import Literal

_MACHINES = {"amd64": 0x8664, "arm64": 0xAA64}


def kernel(
    architecture: Literal["amd64", "arm64"] = "amd64", *, size: int = 8000, stub: bool = True
) -> bytes:
    """A kernel image of `size` bytes; with an EFI stub it begins like an EFI program."""
    content = bytearray(b"kernel " * (size // 7 + 1))[:size]
    content[:1024] = bytes(1024)
    if stub:
        content[:2] = b"MZ"
        struct.pack_into("<I", content, 0x3C, 0x80)
        struct.pack_into("<4sH", content, 0x80, b"PE", _MACHINES[architecture])
    if architecture == "amd64":
        # One set-up sector after the first, protocol 2.12, loaded high.
        struct.pack_into("<B", content, 0x1F1, 1)
        struct.pack_into("<H", content, 0x1FE, 0xAA55)
        struct.pack_into("<4sH", content, 0x202, b"HdrS", 0x20C)
        struct.pack_into("<B", content, 0x211, 1)
    else:
        content[56:60] = b"ARM\x64"
    return bytes(content)
