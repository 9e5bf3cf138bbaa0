"""FAT12, FAT16 and FAT32 with long names. Source: Microsoft, "FAT: General Overview of On-Disk Format", 1.03."""

from __future__ import annotations

import calendar
from array import array
from collections.abc import Iterator
from struct import unpack_from
from typing import NamedTuple

from kitbuild.reading.entries import PATH_BYTES, Listing, OutputEntry
from kitbuild.reading.window import Piece, Pieces, Window

_ENTRY = 32
_LONG, _VOLUME, _FOLDER = 0x0F, 0x08, 0x10
_MOST_FOLDER_BYTES = 1 << 26
_NANO = 1_000_000_000
_CLUSTERS_12, _CLUSTERS_16 = 4085, 65525
_MOST_CLUSTERS = 1 << 28


class _Geometry(NamedTuple):
    sector: int
    cluster: int
    tables: int
    table_bytes: int
    root: int
    root_bytes: int
    data: int
    clusters: int
    root_cluster: int
    bits: int


def is_fat(head: bytes) -> bool:
    """Whether a sector is the first of a FAT file system."""
    if len(head) < 512 or head[510:512] != b"\x55\xaa" or head[0] not in (0xEB, 0xE9):
        return False
    sector, cluster, reserved, tables, _, _, media = unpack_from("<HBHBHHB", head, 11)
    return (
        sector in (512, 1024, 2048, 4096)
        and cluster in (1, 2, 4, 8, 16, 32, 64, 128)
        and reserved > 0
        and tables in (1, 2)
        and (media == 0xF0 or media >= 0xF8)
    )


def read_fat(window: Window) -> tuple[str, Listing]:
    """What it is, and everything in it; names as they are written, owners and modes as Linux mounts it."""
    volume = _Fat(window)
    volume.read_all()
    return f"FAT{volume.geometry.bits}", volume.listing


class _Fat:
    def __init__(self, window: Window) -> None:
        self._window = window
        self.geometry = _geometry(window)
        self.listing = Listing(window)
        self._table: array[int] | None = None

    def read_all(self) -> None:
        geometry = self.geometry
        if geometry.bits == 32:
            root: Window = self._chain(geometry.root_cluster, None, "")
        else:
            root = self._window.part(geometry.root, geometry.root_bytes)
        waiting = [("", root)]
        seen = {geometry.root_cluster} if geometry.bits == 32 else set()
        while waiting:
            path, folder = waiting.pop()
            for entry, cluster in self._entries(path, folder):
                if entry.kind == "directory":
                    self.listing.put(entry)
                    if cluster in seen:
                        raise self._window.broken(
                            0, f"`{entry.path}` is a folder that is in itself or in two"
                        )
                    seen.add(cluster)
                    waiting.append((entry.path, self._chain(cluster, None, entry.path)))
                else:
                    content = self._content(cluster, entry)
                    self.listing.put(entry, content)

    def _content(self, cluster: int, entry: OutputEntry):  # type: ignore[no-untyped-def]
        return lambda: self._chain(cluster, entry.size, entry.path)

    def _entries(self, path: str, folder: Window) -> Iterator[tuple[OutputEntry, int]]:
        if folder.size > _MOST_FOLDER_BYTES:
            raise folder.broken(0, f"expected a folder of at most {_MOST_FOLDER_BYTES} bytes")
        long: list[bytes] = []
        content = b"".join(folder.chunks())
        for place in range(0, len(content) - _ENTRY + 1, _ENTRY):
            record = content[place : place + _ENTRY]
            if record[0] == 0:
                return
            if record[0] == 0xE5:
                long = []
            elif record[11] & 0x3F == _LONG:
                if record[0] & 0x40:
                    long = []
                long.append(record[1:11] + record[14:26] + record[28:32])
            else:
                if not record[11] & _VOLUME and record[:2] not in (b". ", b".."):
                    name = _long_name(long) or _short_name(record)
                    yield self._entry(f"{path}/{name}" if path else name, record, folder)
                long = []

    def _entry(self, path: str, record: bytes, folder: Window) -> tuple[OutputEntry, int]:
        time, day, low, size = unpack_from("<HHHI", record, 22)
        (high,) = unpack_from("<H", record, 20)
        cluster = low | (high << 16 if self.geometry.bits == 32 else 0)
        if len(path) > PATH_BYTES:
            raise folder.broken(0, f"expected a path of at most {PATH_BYTES} bytes")
        is_folder = bool(record[11] & _FOLDER)
        kind, mode = ("directory", 0o755) if is_folder else ("file", 0o644)
        entry = OutputEntry(path, kind, mode, size=0 if is_folder else size, mtime=_time(day, time))  # type: ignore[arg-type]
        return entry, cluster

    def _chain(self, cluster: int, size: int | None, path: str) -> Window:
        """The window of a chain of clusters; of all of them without a size."""
        geometry = self.geometry
        name = f"{self._window.name}: {path}" if path else self._window.name
        pieces: list[Piece] = []
        position = 0
        wanted = -(-size // geometry.cluster) if size is not None else geometry.clusters
        for number in self._clusters(cluster, wanted, path, exact=size is not None):
            place = geometry.data + (number - 2) * geometry.cluster
            if pieces and pieces[-1].offset + pieces[-1].size == place:
                last = pieces[-1]
                pieces[-1] = last._replace(size=last.size + geometry.cluster)
            else:
                pieces.append(Piece(position, geometry.cluster, self._window, place))
            position += geometry.cluster
        return Pieces(name, pieces, position if size is None else size)

    def _clusters(self, cluster: int, most: int, path: str, *, exact: bool) -> Iterator[int]:
        table = self._entries_of_table()
        last = self.geometry.clusters + 2
        # A header may claim any number of clusters; a chain longer than the table runs in circles.
        if most > len(table):
            if exact:
                raise self._window.broken(
                    0, f"`{path}`: expected {most} clusters, got a table of {len(table)}"
                )
            most = len(table)
        count = 0
        while count < most:
            if not 2 <= cluster < last:
                break
            yield cluster
            count += 1
            cluster = table[cluster] if cluster < len(table) else 0
        if exact and count < most:
            raise self._window.broken(0, f"`{path}`: expected {most} clusters, got {count}")
        if not exact and count >= most and 2 <= cluster < last:
            raise self._window.broken(0, f"`{path}`: a chain of clusters without an end")

    def _entries_of_table(self) -> array[int]:
        if self._table is None:
            geometry = self.geometry
            size = min(geometry.table_bytes, ((geometry.clusters + 2) * geometry.bits + 7) // 8)
            window = self._window.part(geometry.tables, size)
            self._table = _table(b"".join(window.chunks()), geometry.bits)
        return self._table


def _geometry(window: Window) -> _Geometry:
    head = window.exactly(0, 512, "a FAT file system")
    sector, per_cluster, reserved, tables, root_entries, sectors16, _, table16 = unpack_from(
        "<HBHBHHBH", head, 11
    )
    (sectors32,) = unpack_from("<I", head, 32)
    (table32,) = unpack_from("<I", head, 36)
    sectors, table = sectors16 or sectors32, table16 or table32
    root = (reserved + tables * table) * sector
    root_bytes = root_entries * _ENTRY
    data = root + -(-root_bytes // sector) * sector
    clusters = (sectors * sector - data) // (per_cluster * sector)
    if clusters < 1 or clusters > _MOST_CLUSTERS or not table:
        raise window.broken(11, f"expected a FAT file system with clusters, got {clusters}")
    # Linux goes by where the size of the table stands, not by the number of clusters alone.
    bits = 32 if not table16 else 12 if clusters < _CLUSTERS_12 else 16
    (root_cluster,) = unpack_from("<I", head, 44) if bits == 32 else (0,)
    return _Geometry(
        sector, per_cluster * sector, reserved * sector, table * sector, root, root_bytes, data, clusters,
        root_cluster, bits,
    )  # fmt: skip


def _table(content: bytes, bits: int) -> array[int]:
    import sys

    if bits == 12:
        entries = array("H")
        # Of an odd number of entries the last has two bytes.
        content += bytes(-len(content) % 3)
        for place in range(0, len(content), 3):
            one, two, three = content[place : place + 3]
            entries.extend((one | (two & 15) << 8, two >> 4 | three << 4))
        return entries
    found: array[int] = array("H" if bits == 16 else "I")
    found.frombytes(content[: len(content) // found.itemsize * found.itemsize])
    if sys.byteorder == "big":
        found.byteswap()
    if bits == 32:
        # The upper four bits are none of the number.
        return array("I", (entry & 0x0FFFFFFF for entry in found))
    return found


def _long_name(parts: list[bytes]) -> str:
    content = b"".join(reversed(parts))
    text = content.decode("utf-16-le", "replace").split("\0")[0].rstrip("\uffff")
    return text.replace("/", "\ufffd")


def _short_name(record: bytes) -> str:
    def part(content: bytes, lower: bool) -> str:
        text = content.rstrip(b" ").decode("cp437")
        return text.lower() if lower else text

    front = (b"\xe5" + record[1:8]) if record[0] == 5 else record[:8]
    name, extension = part(front, bool(record[12] & 8)), part(record[8:11], bool(record[12] & 16))
    return (f"{name}.{extension}" if extension else name).replace("/", "\ufffd")


def _time(day: int, time: int) -> int:
    year, month, date = 1980 + (day >> 9), day >> 5 & 15, day & 31
    if not (1 <= month <= 12 and 1 <= date <= 31):
        return 0
    return calendar.timegm((year, month, date, time >> 11, time >> 5 & 63, (time & 31) * 2)) * _NANO
