"""Random sparse disks, and readers of disk images that know no more than the formats' specifications.

image = File(BENCH, qcow2.image(disk))
assert holds(read_qcow2(image), disk, BENCH)
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any, NamedTuple

from hypothesis import strategies as st

from kitbuild.extents import Extents, Literal, Part, Slice, Zeros
from kitbuild.rules.layout import deflate
from kitbuild.rules.layout.deflate import Deflate
from tests.support.trees import Bench

_SECTOR = 512
_MIB = 1 << 20
# Sizes around which images change: sectors, clusters, blocks, a table of qcow2.
_SECTORS = (1, 2, 7, 8, 127, 128, 129, 255, 2047, 2048, 4096)
_GAPS = (*_SECTORS, 131_072, 1_048_577)


class File:
    """Extents as a file to read from; holes cost nothing."""

    def __init__(self, bench: Bench, extents: Extents) -> None:
        self._bench = bench
        self._extents = extents
        self.size = extents.size

    def at(self, offset: int, size: int) -> bytes:
        """`size` bytes from `offset` on, fewer at the end."""
        size = min(size, self.size - offset)
        return b"".join(self._content(part) for part in self._extents.cut(offset, size).parts)

    def _content(self, part: Part) -> bytes:
        if isinstance(part, Slice):
            return self._bench.read(part)
        return part.content if isinstance(part, Literal) else bytes(part.size)

    def fields(self, layout: str, offset: int) -> tuple[Any, ...]:
        """Numbers and texts at `offset`, as struct unpacks them."""
        return struct.unpack(layout, self.at(offset, struct.calcsize(layout)))


class Image(NamedTuple):
    """What a reader found: the size of the disk, and every block the image holds by its offset in the disk."""

    size: int
    blocks: dict[int, bytes]


def holds(image: Image, disk: Extents, bench: Bench) -> bool:
    """Whether the image is that disk: what it holds is right, and nothing but zeros is missing."""
    raw = File(bench, disk)
    right = all(
        raw.at(offset, len(block)).ljust(len(block), b"\0") == block for offset, block in image.blocks.items()
    )
    (block_bytes,) = {len(block) for block in image.blocks.values()} or {_SECTOR}
    used = {number * block_bytes for each in disk.used(block_bytes) for number in each}
    return image.size == disk.size and right and set(image.blocks) == used


# -- disks to try


def disks(bench: Bench, *, largest_hole: int = 1 << 40) -> st.SearchStrategy[Extents]:
    """Disks of whole sectors: literals, slices of payload that shrinks and that does not, holes small and large."""
    random, text = (bench.blob(content).digest for content in (noise(3 * _MIB), b"as it was " * 200_000))

    gaps = [count for count in _GAPS if count * _SECTOR <= largest_hole]

    def payload(blob: Any) -> st.SearchStrategy[Part]:
        sectors = st.sampled_from(_SECTORS[:10])
        return st.builds(
            lambda start, count: Slice(blob, start, count * _SECTOR), st.integers(0, 9999), sectors
        )

    literal = st.builds(lambda count: Literal(noise(count * _SECTOR)), st.sampled_from(_SECTORS[:7]))
    hole = st.builds(lambda count: Zeros(count * _SECTOR), st.sampled_from(gaps))
    part: st.SearchStrategy[Part] = st.one_of(literal, hole, payload(random), payload(text))
    return st.lists(part, min_size=1, max_size=9).map(Extents.of)


def noise(size: int) -> bytes:
    """Bytes that do not shrink, the same in every run."""
    return Random(size).randbytes(size)


def storing() -> Deflate:
    """A compressor that compresses nothing but repetitions of one byte, the same in every version."""

    def blocks(content: bytes) -> bytes:
        if len(content) > 1000 and content.count(content[:1]) == len(content) and not content[0]:
            return b"".join(deflate.zeros(len(content)))
        pieces = (content[start : start + 0xFFFF] for start in range(0, len(content), 0xFFFF))
        return b"".join(deflate.stored(len(piece)) + piece for piece in pieces)

    return Deflate(blocks, zlib.crc32, zlib.adler32)


# -- readers


def read_qcow2(file: File) -> Image:
    """qcow2 version 3; refcounts are checked too."""
    magic, version, _, _, bits, size, crypt, l1_size, l1, table, table_clusters, snapshots, _ = file.fields(
        ">4sIQIIQIIQQIIQ", 0
    )
    assert (magic, version, bits, crypt, snapshots) == (b"QFI\xfb", 3, 16, 0, 0)
    cluster = 1 << bits
    assert file.size % cluster == 0
    blocks, places = {}, [0, *_clusters(l1, 8 * l1_size), *_clusters(table, table_clusters * cluster)]
    for number, l2 in enumerate(file.fields(f">{l1_size}Q", l1)):
        if l2:
            places.append(_copied(l2))
            for index, entry in enumerate(file.fields(f">{cluster // 8}Q", _copied(l2))):
                if entry:
                    places.append(_copied(entry))
                    blocks[(number * cluster // 8 + index) * cluster] = file.at(_copied(entry), cluster)
    found: list[int] = []
    for place in file.fields(f">{table_clusters * cluster // 8}Q", table):
        if place:
            places.append(place)
            found += file.fields(f">{cluster // 2}H", place)
    assert sorted(places) == list(range(0, file.size, cluster))
    assert found == [1] * len(places) + [0] * (len(found) - len(places))
    return Image(size, blocks)


def _copied(entry: int) -> int:
    assert entry >> 63 == 1
    return entry & ~(1 << 63)


def _clusters(start: int, size: int) -> range:
    return range(start, start + size, 1 << 16)


def read_vhd_footer(file: File) -> tuple[int, int, int]:
    """Size of the disk, kind and offset of the header, from a footer that is right."""
    footer = file.at(file.size - _SECTOR, _SECTOR)
    cookie, features, version, offset, _, _, _, _, _, size, _, kind, checksum = struct.unpack_from(
        ">8sIIQI4sI4sQQIII", footer
    )
    assert (cookie, features, version) == (b"conectix", 2, 0x10000)
    assert checksum == ~(sum(footer) - sum(footer[64:68])) & 0xFFFFFFFF
    return size, kind, offset


def read_vhd(file: File) -> Image:
    """A dynamic VHD."""
    size, kind, offset = read_vhd_footer(file)
    assert kind == 3
    assert file.at(0, _SECTOR) == file.at(file.size - _SECTOR, _SECTOR)
    header = file.at(offset, 1024)
    cookie, _, table, _, entries, block, checksum = struct.unpack_from(">8sQQIIII", header)
    assert (cookie, checksum) == (b"cxsparse", ~(sum(header) - sum(header[36:40])) & 0xFFFFFFFF)
    bitmap = block // _SECTOR // 8
    blocks = {}
    for number, sector in enumerate(file.fields(f">{entries}I", table)):
        if sector != 0xFFFFFFFF:
            assert file.at(sector * _SECTOR, bitmap) == b"\xff" * bitmap
            blocks[number * block] = file.at(sector * _SECTOR + bitmap, block)
    return Image(size, blocks)


def read_vhdx(file: File) -> Image:
    """A VHDX whose log is empty; checksums are left to qemu-img."""
    assert file.at(0, 8) == b"vhdxfile"
    headers = [file.fields("<4sIQ16s16s16sHHIQ", place) for place in (64 << 10, 128 << 10)]
    newest = max(headers, key=lambda header: int(header[2]))
    assert (newest[0], newest[5], newest[7]) == (b"head", bytes(16), 1)
    assert file.at(192 << 10, 64 << 10) == file.at(256 << 10, 64 << 10)
    _, _, count, _ = file.fields("<4sIII", 192 << 10)
    regions = [file.fields("<16sQII", (192 << 10) + 16 + 32 * number) for number in range(count)]
    table, metadata = regions[0][1], regions[1][1]
    items = [file.fields("<16sIIII", metadata + 32 + 32 * number) for number in range(5)]
    values = [file.at(metadata + item[1], item[2]) for item in items]
    block, size, sector = (int.from_bytes(values[place][:8], "little") for place in (0, 1, 3))
    ratio = (1 << 23) * sector // block
    blocks = {}
    for number in range(-(-size // block)):
        (entry,) = file.fields("<Q", table + 8 * (number + number // ratio))
        assert entry & 7 in (0, 6)
        if entry & 7:
            blocks[number * block] = file.at(entry >> 20 << 20, block)
    return Image(size, blocks)


def read_vmdk(file: File) -> Image:
    """A stream-optimized VMDK, from front to back as VMware reads it; the directory must agree."""
    magic, version, flags, capacity, grain = file.fields("<4sIIQQ", 0)
    assert (magic, version, flags, file.fields("<Q", 56)) == (b"KDMV", 3, 0x30001, (0xFFFF_FFFF_FFFF_FFFF,))
    (position,) = file.fields("<Q", 64)
    blocks, table, tables = {}, {}, {}
    while True:
        value, size, kind = file.fields("<QII", position * _SECTOR)
        if size:
            found = zlib.decompress(file.at(position * _SECTOR + 12, size))
            assert len(found) == grain * _SECTOR
            blocks[value * _SECTOR] = found
            table[value // grain] = position
            position += -(-(12 + size) // _SECTOR)
            continue
        position += 1
        if kind == 1:
            entries = file.fields("<512I", position * _SECTOR)
            (number,) = {each // 512 for each in table}
            assert {number * 512 + place: entry for place, entry in enumerate(entries) if entry} == table
            tables[number], table = position, {}
        elif kind == 2:
            count = -(-capacity // (grain * 512))
            directory = file.fields(f"<{count}I", position * _SECTOR)
            assert {number: entry for number, entry in enumerate(directory) if entry} == tables
            assert file.fields("<Q", (position + value + 1) * _SECTOR + 56) == (position,)
        elif kind == 0:
            assert position * _SECTOR == file.size
            return Image(capacity * _SECTOR, blocks)
        position += value


def parts_of(pieces: Iterator[bytes | Slice] | Sequence[bytes | Slice]) -> Extents:
    """Pieces as extents, their bytes as literals."""
    return Extents.of(piece if isinstance(piece, Slice) else Literal(piece) for piece in pieces)
