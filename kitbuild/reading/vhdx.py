"""VHDX disks without a parent. Source: [MS-VHDX] "Virtual Hard Disk v2 (VHDX) File Format"."""

from __future__ import annotations

from struct import unpack_from
from uuid import UUID

from kitbuild.reading.window import Blocks, Window

_MIB = 1 << 20
_REGIONS = (3 << 16, 4 << 16)
_TABLE_REGION = UUID("2dc27766-f623-4200-9d64-115e9bfd4a08").bytes_le
_METADATA_REGION = UUID("8b7ca206-4790-4b9a-b8fe-575f050f886e").bytes_le
_FILE_PARAMETERS = UUID("caa16737-fa36-4d43-b3b6-33f0aa44e76b").bytes_le
_DISK_SIZE = UUID("2fa54224-cd1b-4876-b211-5dbed83bf4b8").bytes_le
_SECTOR_SIZE = UUID("8141bf1d-a96f-4709-ba47-f233a8faab5f").bytes_le
_PRESENT = 6
_HAS_PARENT = 2
_MOST_BYTES = 64 << 40
_MOST_ENTRIES = 2047


class _Vhdx(Blocks):
    def __init__(
        self, window: Window, size: int, block_bytes: int, sector: int, table: tuple[int, int]
    ) -> None:
        super().__init__(f"{window.name}: disk", size, block_bytes)
        self._window, self._table = window, table
        self._chunk = (1 << 23) * sector // block_bytes

    def block(self, number: int) -> tuple[Window, int] | None:
        # After as many blocks as one bitmap describes stands an entry for the bitmap.
        place = 8 * (number + number // self._chunk)
        if place + 8 > self._table[1]:
            raise self.broken(number * self._block_size, "a place behind the table of a VHDX")
        (entry,) = unpack_from("<Q", self._window.exactly(self._table[0] + place, 8, "the table of a VHDX"))
        return (self._window, entry >> 20 << 20) if entry & 7 == _PRESENT else None


def open_vhdx(window: Window) -> Window:
    """The content of the disk. Raises KitbuildError for one that needs another file, or whose log is not empty."""
    _check_log(window)
    regions = _regions(window)
    if _TABLE_REGION not in regions or _METADATA_REGION not in regions:
        raise window.broken(_REGIONS[0], "expected a VHDX with metadata and a table of blocks")
    items = _metadata(window, regions[_METADATA_REGION][0])
    parameters = _item(window, items, _FILE_PARAMETERS, 8)
    block_bytes, flags = unpack_from("<II", parameters)
    (size,) = unpack_from("<Q", _item(window, items, _DISK_SIZE, 8))
    (sector,) = unpack_from("<I", _item(window, items, _SECTOR_SIZE, 4))
    if flags & _HAS_PARENT:
        raise window.broken(
            regions[_METADATA_REGION][0], "expected a disk that stands alone, got one with a parent"
        )
    is_fit = (
        block_bytes in [_MIB << shift for shift in range(9)] and sector in (512, 4096) and size <= _MOST_BYTES
    )
    if not is_fit:
        raise window.broken(
            regions[_METADATA_REGION][0], f"a VHDX of {size} bytes in blocks of {block_bytes}"
        )
    return _Vhdx(window, size, block_bytes, sector, regions[_TABLE_REGION])


def _check_log(window: Window) -> None:
    newest = (-1, bytes(16))
    for place in (1 << 16, 2 << 16):
        header = window.exactly(place, 4096, "the header of a VHDX")
        if header[:4] == b"head":
            newest = max(newest, (unpack_from("<Q", header, 8)[0], header[48:64]))
    if newest[0] < 0:
        raise window.broken(1 << 16, "expected the header of a VHDX")
    if any(newest[1]):
        raise window.broken(1 << 16, "a VHDX that was not closed: changes to it are in its log")


def _regions(window: Window) -> dict[bytes, tuple[int, int]]:
    """Place and size of each region."""
    for place in _REGIONS:
        content = window.exactly(place, 1 << 16, "the regions of a VHDX")
        count = unpack_from("<I", content, 8)[0]
        if content[:4] == b"regi" and count <= _MOST_ENTRIES:
            entries = (unpack_from("<16sQI", content, 16 + 32 * number) for number in range(count))
            return {name: (offset, size) for name, offset, size in entries}
    raise window.broken(_REGIONS[0], "expected the regions of a VHDX")


def _metadata(window: Window, place: int) -> dict[bytes, tuple[int, int]]:
    content = window.exactly(place, 1 << 16, "the metadata of a VHDX")
    (count,) = unpack_from("<H", content, 10)
    if content[:8] != b"metadata" or count > _MOST_ENTRIES:
        raise window.broken(place, "expected the metadata of a VHDX")
    entries = (unpack_from("<16sII", content, 32 + 32 * number) for number in range(count))
    return {name: (place + offset, size) for name, offset, size in entries}


def _item(window: Window, items: dict[bytes, tuple[int, int]], name: bytes, size: int) -> bytes:
    if name not in items:
        raise window.broken(0, "a VHDX that does not say how large it is")
    return window.exactly(items[name][0], size, "the metadata of a VHDX")
