"""How a FAT volume is divided: its kind, and how much of it are tables, root directory and clusters.

Source: Microsoft "FAT: General Overview of On-Disk Format" 1.03, "FAT Type Determination".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from kitbuild.errors import RuleError
from kitbuild.rules.layout.fat_directory import ENTRY_BYTES

SECTOR = 512
# Where clusters start and how large they are at least, in bytes: the blocks of the file systems that hold the image.
ALIGNMENT = 4096

# Kind, bytes of a cluster, and how many clusters at least and at most, from the smallest volume to the largest.
# What a volume is follows from the number of clusters alone: below 4085 FAT12, below 65525 FAT16. As is asked of
# writers, the numbers next to the limits are left out: some readers count them wrong. FAT32 starts at 512 MiB, as
# others have it; clusters grow as soon as they may, so that the two tables have 1 MiB up to 4 GiB.
_DIVISIONS = (
    (12, 4096, 1, 4085 - 17),
    (16, 4096, 4085 + 16, 65525 - 17),
    (16, 8192, (65525 - 17) // 2 + 1, 65525 - 17),
    (32, 8192, 65525 + 16, 1 << 17),
    (32, 16384, 65525 + 16, 1 << 17),
    (32, 32768, 65525 + 16, 0x0FFFFFF5),
)
_MIN_RESERVED = {12: 1, 16: 1, 32: 32}
_MAX_SECTORS = (1 << 32) - 1


class Geometry(NamedTuple):
    """How a volume is divided; all but `size` and `cluster_bytes` in sectors, entries or clusters."""

    size: int
    kind: int
    cluster_bytes: int
    reserved: int
    table: int
    root_entries: int
    clusters: int

    @classmethod
    def of(cls, size: int, root_entries: int) -> Geometry | None:
        """The division of a volume of `size` bytes; None if it is too small for anything."""
        sectors = min(size // SECTOR, _MAX_SECTORS)
        found = None
        for kind, cluster, fewest, most in _DIVISIONS:
            # The tables are made for the clusters there would be without them.
            geometry = cls._with(kind, cluster, min(sectors * SECTOR // cluster, most), root_entries)
            room = (sectors - geometry.data // SECTOR) * SECTOR // cluster
            if room < fewest:
                break
            # What lies between two divisions belongs to neither: the smaller one leaves it unused.
            found = cls._with(kind, cluster, min(room, most), root_entries)._replace(size=size)
        return found

    @classmethod
    def least(cls, needed: Callable[[int, int], int], root_entries: int) -> Geometry:
        """The division of the smallest volume with the clusters needed for a kind and a size of clusters."""
        for kind, cluster, fewest, most in _DIVISIONS:
            clusters = max(needed(kind, cluster), fewest)
            if clusters <= most:
                geometry = cls._with(kind, cluster, clusters, root_entries)
                if geometry.sectors <= _MAX_SECTORS:
                    return geometry
        raise RuleError("expected files of less than 2 TiB in all for a FAT file system, got more")

    @classmethod
    def _with(cls, kind: int, cluster: int, clusters: int, root_entries: int) -> Geometry:
        root_entries = 0 if kind == 32 else root_entries
        root = root_entries * ENTRY_BYTES // SECTOR
        table = -(-(clusters + 2) * kind // (8 * SECTOR))
        front = -(-(_MIN_RESERVED[kind] + 2 * table + root) * SECTOR // ALIGNMENT) * ALIGNMENT
        reserved = front // SECTOR - 2 * table - root
        return cls(front + clusters * cluster, kind, cluster, reserved, table, root_entries, clusters)

    @property
    def data(self) -> int:
        """The offset of cluster 2 in bytes."""
        return (self.reserved + 2 * self.table) * SECTOR + self.root_entries * ENTRY_BYTES

    def place(self, cluster: int) -> int:
        """The offset of a cluster in bytes."""
        return self.data + (cluster - 2) * self.cluster_bytes

    @property
    def sectors(self) -> int:
        """What the volume says it has; less than `size` when a last piece is smaller than a cluster."""
        return self.data // SECTOR + self.clusters * self.cluster_bytes // SECTOR
