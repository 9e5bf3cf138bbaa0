"""VMDK disks in one file: streamOptimized and sparse ones. Source: VMware "Virtual Disk Format 5.0"."""

from __future__ import annotations

from functools import lru_cache
from struct import Struct, unpack_from

from kitbuild.reading.decompression import block_decompressor
from kitbuild.reading.window import Blocks, Window

_SECTOR = 512
_HEADER = Struct("<4sIIQQQQIQQQB4sH")
_DIRECTORY_AT_END = 0xFFFF_FFFF_FFFF_FFFF
_COMPRESSED = 1 << 16
_MOST_SECTORS = 1 << 40
_MOST_DIRECTORY_BYTES = 1 << 26


class _Vmdk(Blocks):
    def __init__(
        self, window: Window, sectors: int, grain: int, entries: int, directory: bytes, *, compressed: bool
    ) -> None:
        super().__init__(f"{window.name}: disk", sectors * _SECTOR, grain * _SECTOR)
        self._window, self._entries, self._directory = window, entries, directory
        self._inflate = block_decompressor("gzip", window) if compressed else None
        self._table = lru_cache(64)(self._read_table)

    def block(self, number: int) -> bytes | tuple[Window, int] | None:
        table, place = divmod(number, self._entries)
        (sector,) = unpack_from("<I", self._directory, 4 * table)
        if not sector:
            return None
        (grain,) = unpack_from("<I", self._table(sector), 4 * place)
        # 1 stands for zeros.
        if grain < 2:
            return None
        return self._window_of(grain * _SECTOR)

    def _read_table(self, sector: int) -> bytes:
        return self._window.exactly(sector * _SECTOR, 4 * self._entries, "a table of a VMDK")

    def _window_of(self, place: int) -> bytes | tuple[Window, int]:
        if self._inflate is None:
            return self._window, place
        _, size = unpack_from("<QI", self._window.exactly(place, 12, "a grain of a VMDK"))
        if size > 2 * self._block_size + _SECTOR:
            raise self._window.broken(place, f"expected a grain of {self._block_size} bytes, got {size}")
        try:
            return self._inflate(
                self._window.exactly(place + 12, size, "a grain of a VMDK"), self._block_size
            )
        except ValueError as error:
            raise self._window.broken(place, f"not a whole grain: {error}") from None


def open_vmdk(window: Window) -> tuple[str, Window]:
    """A few words on the disk, and its content. Raises KitbuildError for one in several files."""
    header = window.exactly(0, _HEADER.size, "the header of a VMDK")
    if header[:4] != b"KDMV":
        raise window.broken(0, "expected a VMDK in one file, got a description of one in several")
    directory = _HEADER.unpack(header)[9]
    if directory == _DIRECTORY_AT_END:
        # It stands before the last sector, which marks the end.
        header = window.exactly(max(0, window.size - 2 * _SECTOR), _HEADER.size, "the footer of a VMDK")
        if header[:4] != b"KDMV":
            raise window.broken(window.size - 2 * _SECTOR, "expected the footer of a VMDK")
    _, version, flags, sectors, grain, _, _, entries, _, directory, *_ = _HEADER.unpack(header)
    is_fit = (
        version in (1, 2, 3) and 0 < entries <= 1 << 16 and 8 <= grain <= 1 << 15 and sectors <= _MOST_SECTORS
    )
    if not is_fit or grain & (grain - 1):
        raise window.broken(
            0, f"expected a VMDK of version 1 to 3, got {version} with grains of {grain} sectors"
        )
    size = 4 * -(-sectors // (grain * entries))
    if size > _MOST_DIRECTORY_BYTES:
        raise window.broken(0, f"expected a smaller directory, got one of {size} bytes")
    content = window.exactly(directory * _SECTOR, size, "the directory of a VMDK")
    compressed = bool(flags & _COMPRESSED)
    kind = "streamOptimized VMDK" if compressed else "sparse VMDK"
    return kind, _Vmdk(window, sectors, grain, entries, content, compressed=compressed)
