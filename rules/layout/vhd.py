"""VHD disks, fixed and dynamic, for Hyper-V and Azure.

    fixed:    disk | footer
    dynamic:  footer | header | block table | blocks, each a bitmap and 2 MiB of the disk | footer

The size in the footer is the disk's own, not rounded to cylinders; so that QEMU believes it, the creator is one that
does not round either. Blocks of zeros are left out; the data of others starts on 4 KiB, the bitmap just before it,
as Windows places them since 2012. Source: Microsoft "Virtual Hard Disk Image Format Specification" 1.0.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from kitbuild.errors import RuleError
from kitbuild.extents import Extents, Literal, Part, Zeros, padding

_SECTOR = 512
_BLOCK = 2 << 20
_PAGE = 4096
_FIXED, _DYNAMIC = 2, 3
_NOWHERE = 0xFFFF_FFFF_FFFF_FFFF
_HEADER_BYTES = 1024
_VERSION = 0x10000
# Feature bit 1 is reserved and always set.
_FEATURES = 2
# Windows 10's own images say this: "win " with version 10.0, made on "Wi2k".
_CREATOR, _CREATOR_VERSION, _CREATOR_SYSTEM = b"win ", 0xA0000, b"Wi2k"
# 2000-01-01 00:00 UTC, from when a VHD counts, in Unix time.
_EPOCH = 946_684_800
_MAX_BYTES = 2040 << 30


def fixed(disk: Extents, *, seconds: int) -> Extents:
    """The fixed VHD of a raw disk of whole sectors; `seconds` is its time. Raises RuleError above 2040 GiB."""
    return Extents.of([*disk.parts, Literal(_footer(disk, _FIXED, offset=_NOWHERE, seconds=seconds))])


def dynamic(disk: Extents, *, seconds: int) -> Extents:
    """The dynamic VHD of a raw disk of whole sectors; `seconds` is its time. Raises RuleError above 2040 GiB."""
    footer = _footer(disk, _DYNAMIC, offset=_SECTOR, seconds=seconds)
    return Extents.of(_dynamic(disk, footer))


def _dynamic(disk: Extents, footer: bytes) -> Iterator[Part]:
    used = disk.used(_BLOCK)
    entries = -(-disk.size // _BLOCK)
    start = _SECTOR + _HEADER_BYTES
    # A bitmap of one sector before each block, which starts on a page.
    data = -(-(start + 4 * entries + _SECTOR) // _PAGE) * _PAGE
    yield Literal(footer + _header(entries, start))
    yield from _table(used, entries, (data - _SECTOR) // _SECTOR)
    position = start + 4 * entries
    bitmap = Literal(b"\xff" * (_BLOCK // _SECTOR // 8))
    for each in used:
        start, stop = each.start * _BLOCK, min(each.stop * _BLOCK, disk.size)
        for block in disk.cut(start, stop - start).chunks(_BLOCK):
            yield Zeros(data - _SECTOR - position)
            yield bitmap
            yield from block.parts
            yield Zeros(_BLOCK - block.size)
            position = data + _BLOCK
            data = position + _PAGE
    yield padding(position, _SECTOR)
    yield Literal(footer)


def _table(used: list[range], entries: int, sector: int) -> Iterator[Part]:
    last = 0
    for each in used:
        stop = sector + len(each) * ((_BLOCK + _PAGE) // _SECTOR)
        yield Literal(b"\xff" * (4 * (each.start - last)))
        yield Literal(struct.pack(f">{len(each)}I", *range(sector, stop, (_BLOCK + _PAGE) // _SECTOR)))
        last, sector = each.stop, stop
    yield Literal(b"\xff" * (4 * (entries - last)))


def _header(entries: int, table: int) -> bytes:
    header = struct.pack(">8sQQIIII", b"cxsparse", _NOWHERE, table, _VERSION, entries, _BLOCK, 0)
    return _summed(header.ljust(_HEADER_BYTES, b"\0"), 36)


def _footer(disk: Extents, kind: int, *, offset: int, seconds: int) -> bytes:
    if disk.size > _MAX_BYTES:
        raise RuleError(
            f"expected a disk of at most 2040 GiB for a VHD, got {disk.size} bytes",
            hint="choose a smaller `--size`, or the format `vhdx`",
        )
    footer = struct.pack(
        ">8sIIQI4sI4sQQHBBII16s",
        b"conectix",
        _FEATURES,
        _VERSION,
        offset,
        seconds - _EPOCH,
        _CREATOR,
        _CREATOR_VERSION,
        _CREATOR_SYSTEM,
        disk.size,
        disk.size,
        *_geometry(disk.size // _SECTOR),
        kind,
        0,  # the checksum's place
        disk.identity("vhd")[:16],
    )
    return _summed(footer.ljust(_SECTOR, b"\0"), 64)


def _summed(content: bytes, place: int) -> bytes:
    """With the complement of the sum of its bytes at `place`."""
    return content[:place] + struct.pack(">I", ~sum(content) & 0xFFFFFFFF) + content[place + 4 :]


def _geometry(sectors: int) -> tuple[int, int, int]:
    """Cylinders, heads, sectors of a track for those who ask: the specification's appendix "CHS calculation"."""
    sectors = min(sectors, 65535 * 16 * 255)
    if sectors >= 65535 * 16 * 63:
        return sectors // 255 // 16, 16, 255
    for heads, track in ((max(4, -(-(sectors // 17) // 1024)), 17), (16, 31)):
        cylinders = sectors // track
        if heads <= 16 and cylinders < heads * 1024:
            return cylinders // heads, heads, track
    return sectors // 63 // 16, 16, 63
