"""Reads FAT volumes as the specification says a reader should, checking all it can; shares no code with the writer.

volume = Volume(reader(extents))
assert volume.files["EFI/BOOT/BOOTX64.EFI"].content() == b"..."
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from kitbuild.extents import Extents, Literal, Slice

Read = Callable[[int, int], bytes]


def reader(extents: Extents, read_slice: Callable[[Slice], bytes] | None = None) -> Read:
    """Reads `size` bytes from an offset of extents; slices only if it is told how."""

    def read(offset: int, size: int) -> bytes:
        pieces = []
        for part in extents.cut(offset, size).parts:
            if isinstance(part, Slice):
                assert read_slice, "a slice was read"
                pieces.append(read_slice(part))
            else:
                pieces.append(part.content if isinstance(part, Literal) else bytes(part.size))
        content = b"".join(pieces)
        assert len(content) == size
        return content

    return read


def write(extents: Extents, path: Path) -> Path:
    """Extents without slices as a file with holes."""
    with path.open("wb") as stream:
        for part in extents.parts:
            assert not isinstance(part, Slice)
            if isinstance(part, Literal):
                stream.write(part.content)
            else:
                stream.seek(part.size, os.SEEK_CUR)
        stream.truncate(extents.size)
    return path


class File(NamedTuple):
    """A file: `offset` is where it starts in the volume, -1 if it is empty."""

    short_name: str
    attributes: int
    size: int
    offset: int
    modified: tuple[int, int]
    content: Callable[[], bytes]


class Volume:
    """A whole volume, read and checked on construction; `files` and `folders` go by path with long names."""

    def __init__(self, read: Read) -> None:
        self._read = read
        sector = read(0, 512)
        assert sector[510:] == b"\x55\xaa"
        (
            sector_bytes,
            sectors_a_cluster,
            self.reserved,
            tables,
            self.root_entries,
            sectors16,
            media,
            table16,
        ) = struct.unpack_from("<HBHBHHBH", sector, 11)
        self.hidden_sectors, sectors32 = struct.unpack_from("<II", sector, 28)
        (table32,) = struct.unpack_from("<I", sector, 36)
        assert (sector_bytes, tables, media) == (512, 2, 0xF8)
        self.sectors = sectors16 or sectors32
        self.table_sectors = table16 or table32
        self.cluster_bytes: int = sectors_a_cluster * 512
        root_sectors = self.root_entries * 32 // 512
        self.data: int = (self.reserved + 2 * self.table_sectors + root_sectors) * 512
        self.clusters = (self.sectors - self.data // 512) // sectors_a_cluster
        self.kind = 12 if self.clusters < 4085 else 16 if self.clusters < 65525 else 32
        extra = 64 if self.kind == 32 else 36
        assert sector[extra + 2] == 0x29
        self.volume_id = sector[extra + 3 : extra + 7]
        assert sector[extra + 18 : extra + 26] == b"FAT%d   " % self.kind
        assert (table16 == 0) == (self.kind == 32) == (self.root_entries == 0)
        self.next = self._table()
        self._seen: set[int] = set()
        self.files: dict[str, File] = {}
        self.folders: list[str] = []
        self._walk("", self._root(sector), parent=0, here=0)
        used = {number for number, value in enumerate(self.next) if number >= 2 and value}
        assert used == self._seen, "lost clusters"
        if self.kind == 32:
            self._check_32(sector, len(used))

    def _table(self) -> list[int]:
        size = self.table_sectors * 512
        table = self._read(self.reserved * 512, size)
        assert table == self._read(self.reserved * 512 + size, size), "the tables differ"
        count = self.clusters + 2
        if self.kind == 16:
            return list(struct.unpack_from(f"<{count}H", table))
        if self.kind == 32:
            return [value & 0x0FFFFFFF for value in struct.unpack_from(f"<{count}I", table)]
        values = []
        for number in range(count):
            (both,) = struct.unpack_from("<H", table, number * 3 // 2)
            values.append(both >> 4 if number % 2 else both & 0xFFF)
        return values

    def _chain(self, cluster: int) -> list[int]:
        end = {12: 0xFF8, 16: 0xFFF8, 32: 0x0FFFFFF8}[self.kind]
        chain = []
        while cluster < end:
            assert 2 <= cluster < self.clusters + 2, f"cluster {cluster} is outside"
            assert cluster not in self._seen, f"cluster {cluster} has two owners"
            self._seen.add(cluster)
            chain.append(cluster)
            cluster = self.next[cluster]
        return chain

    def _place(self, cluster: int) -> int:
        return self.data + (cluster - 2) * self.cluster_bytes

    def _content(self, chain: list[int]) -> bytes:
        return b"".join(self._read(self._place(cluster), self.cluster_bytes) for cluster in chain)

    def _root(self, sector: bytes) -> bytes:
        if self.kind != 32:
            return self._read(self.data - self.root_entries * 32, self.root_entries * 32)
        (cluster,) = struct.unpack_from("<I", sector, 44)
        return self._content(self._chain(cluster))

    def _walk(self, path: str, listing: bytes, *, parent: int, here: int) -> None:
        entries = list(_entries(listing))
        if here:
            assert [(".", here), ("..", parent)] == [(entry.name, entry.cluster) for entry in entries[:2]]
            entries = entries[2:]
        names = [name for entry in entries for name in {entry.name.upper(), entry.short}]
        assert len(names) == len(set(names)), f"one name twice in {path}"
        for entry in entries:
            full = f"{path}/{entry.name}" if path else entry.name
            if entry.attributes & 0x10:
                self.folders.append(full)
                listing = self._content(self._chain(entry.cluster))
                self._walk(full, listing, parent=here, here=entry.cluster)
            else:
                self.files[full] = self._file(entry)

    def _file(self, entry: _Entry) -> File:
        chain = self._chain(entry.cluster) if entry.cluster else []
        assert len(chain) == -(-entry.size // self.cluster_bytes), f"{entry.name}: chain and size"
        offset = self._place(chain[0]) if chain else -1
        return File(
            entry.short,
            entry.attributes,
            entry.size,
            offset,
            entry.modified,
            lambda: self._content(chain)[: entry.size],
        )

    def _check_32(self, sector: bytes, used: int) -> None:
        info, backup = struct.unpack_from("<HH", sector, 48)
        assert sector == self._read(backup * 512, 512)
        content = self._read(info * 512, 512)
        assert content == self._read((backup + 1) * 512, 512)
        assert (content[:4], content[484:488], content[508:]) == (b"RRaA", b"rrAa", b"\0\0\x55\xaa")
        free, first = struct.unpack_from("<II", content, 488)
        assert free == self.clusters - used
        assert first == 0xFFFFFFFF if not free else self.next[first] == 0


class _Entry(NamedTuple):
    name: str
    short: str
    attributes: int
    cluster: int
    size: int
    modified: tuple[int, int]


def _entries(listing: bytes) -> Iterator[_Entry]:
    pieces: list[bytes] = []
    for at in range(0, len(listing), 32):
        raw = listing[at : at + 32]
        if raw[0] == 0:
            assert not any(listing[at:]), "something behind the end of a directory"
            return
        if raw[11] == 0x0F:
            pieces.append(raw)
            continue
        base, extension = raw[:8].decode("ascii").rstrip(), raw[8:11].decode("ascii").rstrip()
        short = f"{base}.{extension}" if extension else base
        high, time, date, low, size = struct.unpack_from("<HHHHI", raw, 20)
        name = _long_name(pieces, raw[:11]) if pieces else short
        pieces = []
        yield _Entry(name, short, raw[11], high << 16 | low, size, (date, time))


def _long_name(pieces: list[bytes], short: bytes) -> str:
    orders = [piece[0] for piece in pieces]
    count = len(pieces)
    assert orders == [0x40 | count, *range(count - 1, 0, -1)]
    check = 0
    for byte in short:
        check = ((check & 1) * 0x80 + (check >> 1) + byte) % 256
    assert {check} == {piece[13] for piece in pieces}
    assert {(0, b"\0\0")} == {(piece[12], piece[26:28]) for piece in pieces}
    units = b"".join(piece[1:11] + piece[14:26] + piece[28:32] for piece in reversed(pieces))
    text = units.decode("utf-16-le")
    name, _, rest = text.partition("\0")
    assert set(rest) <= {"\uffff"} and len(units) // 26 == count
    return name
