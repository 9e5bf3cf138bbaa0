"""qcow2 disks of versions 2 and 3, compressed clusters too. Source: QEMU docs/interop/qcow2.txt."""

from __future__ import annotations

from functools import lru_cache
from struct import Struct, unpack_from

from kitbuild.reading.decompression import block_decompressor
from kitbuild.reading.window import Blocks, Window

_HEADER = Struct(">4sIQIIQIIQQIIQ")
_DIRTY, _CORRUPT, _EXTERNAL, _COMPRESSION, _EXTENDED = 1, 2, 4, 8, 16
_COMPRESSED = 1 << 62
_OFFSET = (1 << 56) - (1 << 9)
_ZEROS = 1
# QEMU's limit.
_MOST_L1_BYTES = 32 << 20


class _Qcow2(Blocks):
    def __init__(self, window: Window, size: int, bits: int, tables: bytes, compression: str) -> None:
        super().__init__(f"{window.name}: disk", size, 1 << bits)
        self._window, self._bits, self._l1 = window, bits, tables
        self._decompress = block_decompressor(compression, window)
        self._l2 = lru_cache(64)(self._read_l2)

    def block(self, number: int) -> bytes | tuple[Window, int] | None:
        table, place = divmod(number, self._block_size // 8)
        (entry,) = unpack_from(">Q", self._l1, 8 * table)
        if not entry & _OFFSET:
            return None
        (word,) = unpack_from(">Q", self._l2(entry & _OFFSET), 8 * place)
        if word & _COMPRESSED:
            return self._compressed(word)
        if word & _ZEROS or not word & _OFFSET:
            return None
        return self._window, word & _OFFSET

    def _read_l2(self, offset: int) -> bytes:
        return self._window.exactly(offset, self._block_size, "a table of a qcow2 disk")

    def _compressed(self, word: int) -> bytes:
        shift = 62 - (self._bits - 8)
        offset = word & (1 << shift) - 1
        sectors = (word & (1 << 62) - 1) >> shift
        content = self._window.read(offset, (sectors + 1) * 512 - offset % 512)
        try:
            made = self._decompress(content, self._block_size)
        except ValueError as error:
            raise self._window.broken(offset, f"not a whole compressed cluster: {error}") from None
        if len(made) != self._block_size:
            raise self._window.broken(
                offset, f"expected a cluster of {self._block_size} bytes, got {len(made)}"
            )
        return made


def open_qcow2(window: Window) -> tuple[str, Window]:
    """A few words on the disk, and its content. Raises KitbuildError for one that needs another file or a key."""
    header = window.exactly(0, _HEADER.size, "the header of a qcow2 disk")
    _, version, backing, _, bits, size, crypt, entries, table, *_ = _HEADER.unpack(header)
    if version not in (2, 3) or not 9 <= bits <= 21:
        raise window.broken(
            4, f"expected qcow2 of version 2 or 3, got {version} with clusters of 2^{bits} bytes"
        )
    if backing or crypt:
        what = "an encrypted one" if crypt else "one that needs another file (its backing file)"
        raise window.broken(8, f"expected a disk that stands alone, got {what}")
    features, compression = 0, "deflate"
    if version == 3:
        more = window.exactly(72, 33, "the header of a qcow2 disk")
        features = unpack_from(">Q", more)[0]
        if features & _COMPRESSION:
            compression = "zstd" if more[32] == 1 else "deflate"
    if features & ~(_DIRTY | _CORRUPT | _COMPRESSION):
        raise window.broken(72, f"a qcow2 disk with features that are not read here: {features:#x}")
    needed = 8 * -(-size // ((1 << bits) * (1 << bits) // 8))
    if needed > _MOST_L1_BYTES or 8 * entries < needed:
        raise window.broken(36, f"expected a first table for {size} bytes, got {entries} entries")
    tables = window.exactly(table, needed, "the first table of a qcow2 disk")
    return "qcow2", _Qcow2(window, size, bits, tables, compression)
