"""ISO 9660 volumes with Rock Ridge, Joliet and El Torito: directories in memory, contents as the slices they are.

pycdlib lays out the directories over files that have a length and no content; then every record gets what pycdlib
cannot be told (owners, times, devices) or takes from the clock, and every file its place. What it writes is the
metadata alone.

    sector 0     system area: boot code and partition tables of a hybrid image
    16           volume descriptors: primary, El Torito, Joliet, end
    ...          path tables, directories, continuation areas, boot catalog
    ...          the files, those of 4 KiB or more on 4 KiB

Source: ECMA-119; Joliet Specification; El Torito 1.0.
"""

from __future__ import annotations

import io
import struct
import time
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from kitbuild.errors import RuleError
from kitbuild.extents import Extents, Literal
from kitbuild.rules.layout import rock_ridge
from kitbuild.rules.layout.iso_names import iso_paths, joliet_paths
from kitbuild.system import MTIME
from kitbuild.tree import Entry, Tree

SECTOR = 2048
# Of large contents, so that a file system can share their blocks.
_ALIGNMENT = 4096
_MAX_FILE = (1 << 32) - 1
# The path table numbers directories with 16 bits.
_MAX_DIRECTORIES = (1 << 16) - 1
_MAX_NAME_BYTES = 255
_NANO = 1_000_000_000
_PRIMARY_DESCRIPTOR = 16
_EFI_PLATFORM = 0xEF
_NO_CONTENTS: Mapping[str, Extents] = MappingProxyType({})


class Boot(NamedTuple):
    """A file that firmware starts from a CD, without emulating a floppy.

    `sectors` of 512 bytes are loaded; EFI firmware takes 0 as all there are. `has_table`: the file's bytes 8 to 63
    are replaced by where it is and its checksum, as ISOLINUX wants it; its content must be literal. A file that
    `is_hidden` has no name in the volume and lies at its end; a volume with Joliet has none.
    """

    path: str
    sectors: int
    is_efi: bool = False
    has_table: bool = False
    is_hidden: bool = False


class Volume(NamedTuple):
    """`metadata` is all before the first file; `contents` are the files in order, each with its offset in bytes.

    `size` (bytes) is a multiple of the sector. `places` are the offsets by path, of files that are not empty.
    """

    metadata: bytes
    contents: tuple[tuple[int, Extents], ...]
    size: int
    places: Mapping[str, int]


def volume(
    tree: Tree,
    contents: Mapping[str, Extents] = _NO_CONTENTS,
    *,
    label: str,
    joliet: bool = False,
    boots: tuple[Boot, ...] = (),
    catalog: str = "",
) -> Volume:
    """The volume of a tree in which every parent is listed.

    `contents` are those of the files whose content is more than one slice. `catalog` is the path of the boot
    catalog, hidden if it is empty. Extended attributes are lost, as in LinuxKit's. Raises RuleError for what has
    no place: a file of 4 GiB or more, 65,536 directories, a name of more than 255 bytes.
    """
    sizes = {
        entry.path: contents[entry.path].size if entry.path in contents else entry.size
        for entry in tree
        if entry.kind == "file"
    }
    _check(tree, sizes)
    draft = _Draft(tree, sizes, label=label, joliet=joliet)
    draft.add(catalog)
    for boot in boots:
        draft.add_boot(boot, catalog)
    if boots:
        draft.hide(boots, catalog)
    metadata, places, size = draft.written()
    files = {entry.path: entry for entry in tree if entry.path in places}
    found = {}
    for path, place in places.items():
        slices = [content] if (content := files[path].content) else []
        found[place] = contents[path] if path in contents else Extents.of(slices)
    for boot in boots:
        if boot.has_table:
            found[places[boot.path]] = _with_table(found[places[boot.path]], places[boot.path])
    return Volume(metadata, tuple(sorted(found.items())), size, places)


def _check(tree: Tree, sizes: Mapping[str, int]) -> None:
    for path, size in sizes.items():
        if size > _MAX_FILE:
            raise RuleError(
                f"`{path}` has {size} bytes, an ISO holds files of less than 4 GiB",
                hint="leave the file out, or use a format with another file system",
            )
    for entry in tree:
        name = entry.path.rpartition("/")[2].encode("utf-8", "surrogateescape")
        if len(name) > _MAX_NAME_BYTES:
            raise RuleError(
                f"a name of {len(name)} bytes, an ISO holds {_MAX_NAME_BYTES}: `{entry.path[:60]}...`",
                hint="shorten the name in the image, or leave the image out",
            )
    directories = 1 + sum(entry.kind == "directory" and entry.path != "" for entry in tree)
    if directories > _MAX_DIRECTORIES:
        raise RuleError(
            f"{directories} directories, an ISO holds {_MAX_DIRECTORIES}",
            hint="use a format with another file system",
        )


def _with_table(content: Extents, place: int) -> Extents:
    """The boot file with the table that tells it where it is. Source: SYSLINUX, doc/isolinux.txt; mkisofs(8)."""
    code = b"".join(part.content for part in content.parts if isinstance(part, Literal))
    assert len(code) == content.size, "a boot file with a table must be literal"
    words = code[64:] + bytes(-len(code[64:]) % 4)
    checksum = sum(word for (word,) in struct.iter_unpack("<I", words)) & 0xFFFFFFFF
    table = struct.pack("<4I40x", _PRIMARY_DESCRIPTOR, place // SECTOR, len(code), checksum)
    return Extents.of([Literal(code[:8] + table + code[64:])])


class _Raw(str):
    """A name that pycdlib takes as text and encodes as UTF-8, though it may hold other bytes."""

    __slots__ = ()

    def encode(self, *_: Any) -> bytes:
        return str(self).encode("utf-8", "surrogateescape")


class _Nothing:
    """What pycdlib takes for an open file; it is never read."""

    mode = "rb"


class _Draft:
    """A volume in pycdlib's hands: entries are added, then everything is put right, then written."""

    def __init__(self, tree: Tree, sizes: Mapping[str, int], *, label: str, joliet: bool) -> None:
        import pycdlib

        self._iso: Any = pycdlib.PyCdlib()
        # Level 4 lets directories nest as deep as they do: pycdlib would move the eighth level to a directory that
        # everybody sees.
        self._iso.new(
            interchange_level=4,
            sys_ident="LINUX",
            vol_ident=label,
            app_ident_str="KITBUILD",
            joliet=3 if joliet else None,
            rock_ridge="1.12",
        )
        # The descriptor that comes with level 4 says what the primary one does.
        self._iso.svds = [one for one in self._iso.svds if one is not self._iso.enhanced_vd]
        self._entries = tree.by_path()
        self._entries.setdefault("", Entry("", "directory", 0o755, mtime=MTIME))
        self._sizes = sizes
        self._crowded = rock_ridge.crowded(self._entries)
        self._iso_paths = iso_paths(tree, self._crowded)
        self._joliet_paths = joliet_paths(tree) if joliet else {}
        # By the path of the file's entry: the ISO path of its first name, and pycdlib's inode.
        self._first_names: dict[str, str] = {}
        self._inodes: dict[str, Any] = {}

    def add(self, catalog: str) -> None:
        """Adds everything but the boot catalog, each directory in the order of its records.

        pycdlib walks over all records behind the place where it puts one.
        """
        for path in _in_order(self._iso_paths):
            if path != catalog:
                self._add_iso(self._entries[path], self._iso_paths[path])
        for path in _in_order(self._joliet_paths):
            if self._entries[path].kind == "directory":
                self._iso.add_directory(joliet_path=self._joliet_paths[path])
            elif path != catalog:
                self._iso.add_hard_link(
                    iso_old_path=self._iso_paths[path], joliet_new_path=self._joliet_paths[path]
                )

    def _add_iso(self, entry: Entry, iso_path: str) -> None:
        iso, name = self._iso, _Raw(entry.path.rpartition("/")[2])
        if entry.kind == "directory":
            iso.add_directory(iso_path, rr_name=name, file_mode=0)
        elif entry.kind in ("symlink", "char", "block"):
            target = rock_ridge.placeholder(entry, is_crowded=entry.path in self._crowded)
            iso.add_symlink(iso_path, name, target)
        else:
            file = entry.target if entry.kind == "hardlink" else entry.path
            if file in self._first_names:
                iso.add_hard_link(iso_old_path=self._first_names[file], iso_new_path=iso_path, rr_name=name)
                return
            iso.add_fp(_Nothing, self._sizes.get(file, 0), iso_path=iso_path, rr_name=name, file_mode=0)
            self._first_names[file] = iso_path
            self._inodes[file] = iso.inodes[-1]

    def add_boot(self, boot: Boot, catalog: str) -> None:
        """Adds a boot entry, and with the first one the boot catalog."""
        iso, joliet = self._iso, self._joliet_paths
        # Nothing else has small letters in its ISO path.
        options: dict[str, Any] = {"bootcatfile": self._iso_paths.get(catalog) or "/boot.catalog"}
        options["rr_bootcatname"] = catalog.rpartition("/")[2] or "boot.catalog"
        if joliet:
            options["joliet_bootcatfile"] = joliet[catalog]
        iso.add_eltorito(
            self._iso_paths[boot.path],
            boot_load_size=boot.sectors,
            platform_id=_EFI_PLATFORM if boot.is_efi else 0,
            efi=boot.is_efi,
            **options,
        )

    def hide(self, boots: Iterable[Boot], catalog: str) -> None:
        """Takes away the names of what shall have none, and puts it behind everything that has one."""
        hidden = [boot.path for boot in boots if boot.is_hidden]
        for path in hidden:
            self._inodes[path] = self._inodes.pop(path)
        iso_paths = [self._iso_paths[path] for path in hidden]
        for iso_path in [*iso_paths, *([] if catalog else ["/boot.catalog"])]:
            self._iso.rm_hard_link(iso_path=iso_path)

    def written(self) -> tuple[bytes, dict[str, int], int]:
        """The metadata, the place of every file that is not empty, the size of the volume; all in bytes."""
        iso = self._iso
        iso.enhanced_vd = None
        iso.force_consistency()
        places, size = self._place()
        # Without files pycdlib's own size holds: everything is metadata.
        iso.pvd.space_size = min(places.values()) // SECTOR if places else iso.pvd.space_size
        self._describe(iso.pvd.space_size)
        iso.inodes = []
        output = io.BytesIO()
        iso.write_fp(output)
        size = size or output.tell()
        descriptors = [iso.pvd] + ([iso.joliet_vd] if iso.joliet_vd else [])
        for descriptor in descriptors:
            _stamp(output, descriptor.extent_location() * SECTOR, size // SECTOR)
        # What was looked up is remembered for all volumes together, and would keep this one in memory.
        iso._find_iso_record.cache_clear()
        iso._find_joliet_record.cache_clear()
        return output.getvalue(), places, size

    def _place(self) -> tuple[dict[str, int], int]:
        """Moves every file to where it shall be; gives the places and where the last one ends, 0 without any."""
        inodes = {path: inode for path, inode in self._inodes.items() if inode.get_data_length()}
        if not inodes:
            return {}, 0
        places = {}
        position = min(inode.extent_location() for inode in inodes.values()) * SECTOR
        for path, inode in inodes.items():
            length = inode.get_data_length()
            position += -position % (_ALIGNMENT if length >= _ALIGNMENT else SECTOR)
            sector = position // SECTOR
            inode.set_extent_location(sector)
            for record, _ in inode.linked_records:
                record.set_data_location(sector, sector)
            places[path] = position
            position += length
        return places, position + -position % SECTOR

    def _describe(self, first: int) -> None:
        """Gives every directory record its time, and its Rock Ridge records what the entry says.

        What has no content is said to be in sector `first`, behind all metadata: some programs look for none before.
        """
        attributes = rock_ridge.Attributes(self._entries)
        files = {path: attributes.file(entry) for path, entry in self._entries.items()}
        iso = {self._iso_paths[path]: file for path, file in files.items()}
        joliet = {self._joliet_paths[path]: files[path] for path in self._joliet_paths}
        trees = [(self._iso.pvd, iso, "ascii"), (self._iso.joliet_vd, joliet, "utf-16-be")]
        for descriptor, named, encoding in trees if joliet else trees[:1]:
            for record, file in _records(descriptor.root_directory_record(), named, encoding):
                record.date = attributes.date(file.mtime)
                if not record.is_dir() and not record.data_length:
                    record.set_data_location(first, first)
                if record.rock_ridge is not None:
                    attributes.put(record.rock_ridge, file)


def _in_order(paths: Mapping[str, str]) -> list[str]:
    """All paths but the root's, as the records of their directories are sorted, parents first."""
    return sorted((path for path in paths if path), key=lambda path: paths[path].encode("utf-16-be"))


def _records(root: Any, entries: Mapping[str, Entry], encoding: str) -> Iterator[tuple[Any, Entry]]:
    """Every directory record of one descriptor with the entry that it stands for.

    On the way a directory's own record and its parent's in it get the directories' sizes: what pycdlib has there is
    sometimes that of a directory before it grew.
    """
    directories = [(root, "", root, entries[""])]
    yield root, entries[""]
    while directories:
        directory, path, parent, above = directories.pop()
        entry = entries[path]
        for record in directory.children:
            if record.is_dot():
                record.data_length = directory.data_length
                yield record, entry
            elif record.is_dotdot():
                record.data_length = parent.data_length
                yield record, above
            else:
                name = f"{path}/{record.file_identifier().decode(encoding)}"
                yield record, entries[name]
                if record.is_dir():
                    directories.append((record, name, directory, entry))


def _stamp(metadata: io.BytesIO, offset: int, sectors: int) -> None:
    """Puts the size of the volume and its dates into the descriptor at `offset`. Source: ECMA-119, 8.4."""
    metadata.seek(offset + 80)
    metadata.write(struct.pack("<I", sectors) + struct.pack(">I", sectors))
    date = time.strftime("%Y%m%d%H%M%S00", time.gmtime(MTIME // _NANO)).encode() + b"\0"
    never = b"0" * 16 + b"\0"
    # Creation, modification, expiration, effective.
    metadata.seek(offset + 813)
    metadata.write(date + date + never + date)
