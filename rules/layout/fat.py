"""FAT12, FAT16 and FAT32 file systems with long names, as large as asked or as the files need.

    reserved: boot sector, on FAT32 also FSInfo (1) and a copy of both (6, 7)
    two tables, one number for each cluster
    FAT12, FAT16: the root directory
    clusters from 2 on: directories, then the files in the order given, none of them in pieces

The reserved sectors are as many as bring cluster 2 to a multiple of 4 KiB, and no cluster is smaller than that, so
files start at multiples of 4 KiB and a copy of the volume can share their blocks.

Source: Microsoft "FAT: General Overview of On-Disk Format" 1.03.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from kitbuild.errors import RuleError
from kitbuild.extents import Extents, Literal, Part, Zeros, padding
from kitbuild.rules.layout import fat_directory, fat_sectors
from kitbuild.rules.layout.fat_directory import ARCHIVE, DIRECTORY, ENTRY_BYTES, Child
from kitbuild.rules.layout.fat_geometry import Geometry

# What a file's size may be at most: the field has 32 bits.
MAX_FILE_BYTES = (1 << 32) - 1

# 16 KiB, which others write too, or as many of them as the names in the root need: their number has 16 bits.
_ROOT_STEP, _MAX_ENTRIES = 512, 65024


class FileSystem(NamedTuple):
    """A volume; `places` are the offsets in it, in bytes, at which the contents of files start.

    Empty files have no place. `kind` is 12, 16 or 32.
    """

    extents: Extents
    places: Mapping[str, int]
    kind: int


def file_system(
    files: Mapping[str, Extents],
    *,
    size: int = 0,
    hidden_sectors: int = 0,
    boot_sector: bytes = b"",
    attributes: Mapping[str, int] = MappingProxyType({}),
) -> FileSystem:
    """A volume of these files by path (`EFI/BOOT/BOOTX64.EFI`), with the directories they need.

    `size` is that of the volume in bytes, 0 for as small as the files allow. `hidden_sectors` lie before it on the
    disk. Of `boot_sector` the jump, the name and the code are taken. `attributes` are those of files that are not
    just ARCHIVE. Raises RuleError if a name, a file or all files together do not fit.
    """
    for path, content in files.items():
        if content.size > MAX_FILE_BYTES:
            raise RuleError(
                f"expected less than 4 GiB for `{path}` in a FAT file system, got {content.size} bytes",
                hint="make it smaller, or choose a format without a FAT file system, such as `kernel+initrd`",
            )
    demand = _Demand.of({path: content.size for path, content in files.items()})
    geometry = Geometry.of(size, demand.root_entries) if size else None
    if geometry is None or demand.needed(geometry.kind, geometry.cluster_bytes) > geometry.clusters:
        geometry = demand.least()
        if size and geometry.size > size:
            raise RuleError(
                f"expected at most {size} bytes, got files that need {geometry.size}", hint="raise `--size`"
            )
    return _volume(
        files,
        demand,
        geometry._replace(size=size or geometry.size),
        _Boot(hidden_sectors, boot_sector, attributes),
    )


def size_for(sizes: Mapping[str, int]) -> int:
    """The size in bytes of the smallest volume for files of these sizes, as `file_system` makes it."""
    return _Demand.of(sizes).least().size


class _Boot(NamedTuple):
    hidden_sectors: int
    sector: bytes
    attributes: Mapping[str, int]


class _Folder(NamedTuple):
    """The names in a directory."""

    folders: list[str]
    files: list[str]

    def names(self) -> list[str]:
        return [*self.folders, *self.files]


def _folders(paths: Iterable[str]) -> dict[str, _Folder]:
    """Every directory by path, the root (empty path) first and parents before their children."""
    found: dict[str, _Folder] = {"": _Folder([], [])}
    for path in paths:
        *above, name = path.split("/")
        if not (name and all(above)):
            fat_directory.check_names("", [path])
        folder = ""
        for part in above:
            inner = f"{folder}/{part}" if folder else part
            if inner not in found:
                found[folder].folders.append(part)
                found[inner] = _Folder([], [])
            folder = inner
        found[folder].files.append(name)
    for path, folder_names in found.items():
        fat_directory.check_names(path, folder_names.names())
    return found


class _Demand(NamedTuple):
    """What wants a place: directories with the number of their entries, and files with their sizes, by path."""

    folders: Mapping[str, _Folder]
    entries: Mapping[str, int]
    sizes: Mapping[str, int]

    @classmethod
    def of(cls, sizes: Mapping[str, int]) -> _Demand:
        folders = _folders(sizes)
        entries = {
            path: fat_directory.entry_count(folder.names()) + (2 if path else 0)
            for path, folder in folders.items()
        }
        most = max(entries.values())
        if most > _MAX_ENTRIES:
            raise RuleError(
                f"expected at most {_MAX_ENTRIES} entries in a directory of a FAT file system, got {most}",
                hint="spread the files over more directories",
            )
        return cls(folders, entries, sizes)

    @property
    def root_entries(self) -> int:
        return -(-max(self.entries[""], 1) // _ROOT_STEP) * _ROOT_STEP

    def clusters(self, kind: int, cluster_bytes: int) -> dict[str, int]:
        """How many each directory (its path with a slash behind) and each file takes, in the order they lie in."""
        counts = {
            f"{path}/": max(-(-entries * ENTRY_BYTES // cluster_bytes), 1)
            for path, entries in self.entries.items()
        }
        if kind != 32:
            counts["/"] = 0
        counts.update((path, -(-size // cluster_bytes)) for path, size in self.sizes.items())
        return counts

    def needed(self, kind: int, cluster_bytes: int) -> int:
        return sum(self.clusters(kind, cluster_bytes).values())

    def least(self) -> Geometry:
        """The smallest volume that has room."""
        return Geometry.least(self.needed, self.root_entries)


def _volume(files: Mapping[str, Extents], demand: _Demand, geometry: Geometry, boot: _Boot) -> FileSystem:
    clusters, end = {}, 2
    for path, count in demand.clusters(geometry.kind, geometry.cluster_bytes).items():
        clusters[path] = range(end, end + count)
        end += count
    front = fat_sectors.front(
        geometry,
        volume_id=_volume_id(files, geometry),
        hidden_sectors=boot.hidden_sectors,
        boot_sector=boot.sector,
        used=end - 2,
    )
    table = fat_sectors.table(geometry, [*clusters.values()])
    parts: list[Part] = [*front, *table, *table]
    for path in demand.folders:
        listing = _directory(path, demand, clusters=clusters, attributes=boot.attributes)
        room = len(clusters[f"{path}/"]) * geometry.cluster_bytes or geometry.root_entries * ENTRY_BYTES
        parts += [Literal(listing), Zeros(room - len(listing))]
    for file in files.values():
        parts += [*file.parts, padding(file.size, geometry.cluster_bytes)]
    parts.append(Zeros(geometry.size - geometry.place(end)))
    places = {path: geometry.place(clusters[path].start) for path in files if clusters[path]}
    return FileSystem(Extents.of(parts), places, geometry.kind)


def _volume_id(files: Mapping[str, Extents], geometry: Geometry) -> bytes:
    identity = hashlib.sha256(b"fat volume\0%d" % geometry.size)
    for path, content in files.items():
        identity.update(path.encode() + b"\0" + content.identity("fat file"))
    return identity.digest()[:4]


def _directory(
    path: str, demand: _Demand, *, clusters: Mapping[str, range], attributes: Mapping[str, int]
) -> bytes:
    prefix = f"{path}/" if path else ""
    folder = demand.folders[path]
    children = {name: Child(DIRECTORY, clusters[f"{prefix}{name}/"].start, 0) for name in folder.folders}
    for name in folder.files:
        file = prefix + name
        first = clusters[file].start if clusters[file] else 0
        children[name] = Child(attributes.get(file, ARCHIVE), first, demand.sizes[file])
    front = b""
    if path:
        above = path.rpartition("/")[0]
        front = fat_directory.dots(clusters[prefix].start, clusters[f"{above}/"].start if above else 0)
    return front + fat_directory.entries(children)
