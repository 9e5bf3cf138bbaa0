"""Disks of virtual machines as the raw disk they stand for, told by their magic numbers."""

from __future__ import annotations

from struct import Struct, unpack_from
from typing import NamedTuple

from kitbuild.reading.window import Blocks, Window

_SECTOR = 512
_FOOTER = Struct(">8sIIQI4sI4sQQIIII16sB")
_DYNAMIC = Struct(">8sQQIII")
_FIXED_DISK, _DYNAMIC_DISK = 2, 3
_UNUSED = 0xFFFFFFFF
# As much table as a disk of 2 TiB has, in the smallest blocks that programs make.
_MOST_TABLE_BYTES = 1 << 26


class Disk(NamedTuple):
    """A disk: kitbuild's name for the format, a few words on it, and its content as a raw disk."""

    format: str
    summary: str
    content: Window


def open_disk(window: Window) -> Disk | None:
    """The disk in a file, or None if it is none of a virtual machine."""
    head = window.read(0, 512)
    if head[:4] == b"QFI\xfb":
        from kitbuild.reading.qcow2 import open_qcow2

        return Disk("qcow2", *open_qcow2(window))
    if head[:4] == b"KDMV" or head.startswith(b"# Disk DescriptorFile"):
        from kitbuild.reading.vmdk import open_vmdk

        return Disk("vmdk", *open_vmdk(window))
    if head[:8] == b"vhdxfile":
        from kitbuild.reading.vhdx import open_vhdx

        return Disk("vhdx", "VHDX", open_vhdx(window))
    if head[:8] == b"conectix":
        return Disk("dynamic-vhd", "dynamic VHD", _dynamic(window, head))
    # No VHD is in a compressed stream, and its end would be far away.
    tail = -1 if window.is_stream else window.size - _SECTOR
    if tail > 0 and tail % _SECTOR == 0:
        footer = window.read(tail, _SECTOR)
        if footer[:8] == b"conectix" and unpack_from(">I", footer, 60)[0] == _FIXED_DISK:
            return Disk("vhd", "VHD", window.part(0, min(tail, unpack_from(">Q", footer, 48)[0])))
    return None


class _Dynamic(Blocks):
    """Source: Microsoft, "Virtual Hard Disk Image Format Specification", 1.0."""

    def __init__(self, window: Window, size: int, block_bytes: int, table: bytes) -> None:
        super().__init__(f"{window.name}: disk", size, block_bytes)
        self._window, self._table = window, table
        # Before a block stands a bitmap of its sectors, which all are there in a disk without a parent.
        self._bitmap = -(-block_bytes // _SECTOR // 8 // _SECTOR) * _SECTOR

    def block(self, number: int) -> tuple[Window, int] | None:
        if 4 * number + 4 > len(self._table):
            raise self.broken(number * self._block_size, "a place behind the table of a VHD")
        (sector,) = unpack_from(">I", self._table, 4 * number)
        return None if sector == _UNUSED else (self._window, sector * _SECTOR + self._bitmap)


def _dynamic(window: Window, footer: bytes) -> Window:
    if len(footer) < _SECTOR:
        raise window.broken(0, "expected a whole sector at the start of a VHD")
    _, _, _, place, _, _, _, _, _, size, _, kind, *_ = _FOOTER.unpack_from(footer)
    if kind != _DYNAMIC_DISK:
        raise window.broken(60, f"expected a VHD without a parent disk, got kind {kind}")
    header = window.exactly(place, 1024, "the header of a dynamic VHD")
    magic, _, table, _, entries, block = _DYNAMIC.unpack_from(header)
    if magic != b"cxsparse" or block < _SECTOR or block & (block - 1) or block > 1 << 28:
        raise window.broken(place, "expected the header of a dynamic VHD")
    if 4 * entries > _MOST_TABLE_BYTES:
        raise window.broken(place, f"expected a table of few blocks, got {entries}")
    return _Dynamic(window, size, block, window.exactly(table, 4 * entries, "the table of a VHD"))
