"""Kernel and initrd as U-Boot's `bootm` takes them on arm64."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

from kitbuild.errors import RuleError
from kitbuild.extents import Extents, Literal
from kitbuild.rule import Input, Rule, Work
from kitbuild.rules.format.compress import compressed, read
from kitbuild.rules.format.compression import tools
from kitbuild.rules.layout.uimage import Content, header
from kitbuild.system import MTIME

_SECONDS = MTIME // 1_000_000_000
_GZIP = b"\x1f\x8b"
# Kernels up to 5.9 say 0x80000 here, and may well run nowhere else.
_IMAGE = struct.Struct("<8xQQ")
_MAGIC_OFFSET, _MAGIC = 56, b"ARM\x64"
_HEADER_BYTES = 64
# Where a kernel goes that wants a multiple of 2 MiB: the first one has the firmware's own code in it.
_FIRST_ADDRESS = 0x200000


class KernelOptions(NamedTuple):
    """The address that the unpacked kernel has to stay below, and the largest packed one (bytes)."""

    end: int
    most_bytes: int


def _kernel(work: Work[KernelOptions]) -> Extents:
    """The kernel, compressed with gzip unless it already is.

    Source of what it says of itself: kernel Documentation/arch/arm64/booting.rst, "Call the kernel image".
    """
    extents = work.extents(work.artifact("kernel"))
    pieces = read(extents, work)
    first = next(pieces)
    is_gzip = first.startswith(_GZIP)
    address = _address(_unpacked(first) if is_gzip else first, end=work.options.end)
    if not is_gzip:
        extents = Extents.whole(compressed(read(extents, work), work, "gzip"))
    if extents.size > work.options.most_bytes:
        raise RuleError(f"expected a kernel of at most {work.options.most_bytes} bytes, got {extents.size}")
    content = _content(extents, work)
    front = header(
        content, kind="kernel", name="Linux", seconds=_SECONDS, compression="gzip", address=address
    )
    return Extents.of([Literal(front), *extents.parts])


def _address(image: bytes, *, end: int) -> int:
    """Where the kernel that begins with these bytes goes."""
    if image[_MAGIC_OFFSET : _MAGIC_OFFSET + 4] != _MAGIC:
        raise RuleError(
            "expected an arm64 kernel, plain or compressed with gzip (`Image`, `Image.gz`), got another file",
            hint="build the kernel without CONFIG_EFI_ZBOOT, or take another kernel image",
        )
    offset, size = _IMAGE.unpack_from(image)
    address: int = offset or _FIRST_ADDRESS
    if address + size > end:
        raise RuleError(f"expected a kernel that takes at most {end - address} bytes of memory, got {size}")
    return address


def _unpacked(compressed_bytes: bytes) -> bytes:
    import zlib

    try:
        return zlib.decompressobj(wbits=31).decompress(compressed_bytes, _HEADER_BYTES)
    except zlib.error as error:
        raise RuleError(f"the kernel looks like gzip, but is damaged: {error}") from error


def _content(extents: Extents, work: Work[Any]) -> Content:
    from binascii import crc32

    checksum = 0
    for piece in read(extents, work):
        checksum = crc32(piece, checksum)
    return Content(extents.size, checksum)


def _kernel_tools(_options: KernelOptions) -> Mapping[str, str]:
    return tools("gzip")


KERNEL: Rule[Any] = Rule(
    name="format/uimage-kernel",
    version=1,
    summary="make the kernel a U-Boot image",
    options=KernelOptions,
    inputs={"kernel": Input("extents")},
    output="extents",
    run=_kernel,
    tools=_kernel_tools,
)


class RamdiskOptions(NamedTuple):
    """The largest initrd (bytes), itself less than 4 GiB."""

    most_bytes: int


def _ramdisk(work: Work[RamdiskOptions]) -> Extents:
    """The initrd as it is: the kernel unpacks it."""
    extents = work.extents(work.artifact("initrd"))
    if extents.size > work.options.most_bytes:
        raise RuleError(
            f"expected an initrd of at most {work.options.most_bytes} bytes, got {extents.size}",
            hint="leave an image out: U-Boot loads it into the board's memory beside the kernel",
        )
    front = header(_content(extents, work), kind="ramdisk", name="initrd", seconds=_SECONDS)
    return Extents.of([Literal(front), *extents.parts])


RAMDISK: Rule[Any] = Rule(
    name="format/uimage-ramdisk",
    version=1,
    summary="make the initrd a U-Boot image",
    options=RamdiskOptions,
    inputs={"initrd": Input("extents")},
    output="extents",
    run=_ramdisk,
)
