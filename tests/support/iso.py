"""Reads ISO 9660 images by the specification alone.

Every number that stands twice, once with its low byte first and once with its high byte, is checked.
"""

from __future__ import annotations

import calendar
import stat
import struct
from collections.abc import Iterator
from typing import NamedTuple

from kitbuild.extents import Extents, Literal, Slice
from kitbuild.rules.layout.iso9660 import SECTOR, Volume
from kitbuild.tree import Kind, Tree
from tests.support.trees import Bench

_KINDS: dict[int, Kind] = {
    stat.S_IFDIR: "directory",
    stat.S_IFREG: "file",
    stat.S_IFLNK: "symlink",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
    stat.S_IFIFO: "fifo",
}

# The end of the year that is 255 years after 1900.
_LAST_SECOND = 5_869_583_999


class Found(NamedTuple):
    """One name in an image. `mtime` in seconds; `sector` and `size` of its content."""

    kind: Kind
    mode: int
    uid: int
    gid: int
    links: int
    serial: int
    mtime: int
    target: str
    device: tuple[int, int]
    sector: int
    size: int
    identifier: str


class BootEntry(NamedTuple):
    """An entry of the boot catalog."""

    platform: int
    sectors: int
    sector: int


def image_of(volume: Volume, bench: Bench) -> bytes:
    """The image as bytes."""
    image = bytearray(volume.size)
    image[: len(volume.metadata)] = volume.metadata
    for place, content in volume.contents:
        assert place >= len(volume.metadata)
        image[place : place + content.size] = bytes_of(content, bench)
    return bytes(image)


def bytes_of(content: Extents, bench: Bench) -> bytes:
    """What extents stand for."""
    return b"".join(
        bench.read(part)
        if isinstance(part, Slice)
        else part.content
        if isinstance(part, Literal)
        else bytes(part.size)
        for part in content.parts
    )


def read(image: bytes) -> dict[str, Found]:
    """What Rock Ridge says of every path; the root's is empty."""
    descriptor = _sector(image, 16)
    assert b"\x01CD001\x01" == descriptor[:7]
    return dict(_tree(image, descriptor, joliet=False))


def read_joliet(image: bytes) -> dict[str, Found]:
    """Kind, time, place and size of every path of the Joliet tree."""
    return dict(_tree(image, _descriptor(image, 2), joliet=True))


def content(image: bytes, found: Found) -> bytes:
    """The bytes of a file."""
    return image[found.sector * SECTOR : found.sector * SECTOR + found.size]


def boot_entries(image: bytes) -> list[BootEntry]:
    """The entries of the boot catalog, in order. Source: El Torito 1.0, section 2."""
    (where,) = struct.unpack_from("<I", _descriptor(image, 0), 71)
    catalog = _sector(image, where)
    assert 0 == sum(struct.unpack("<16H", catalog[:32])) & 0xFFFF
    platform = catalog[1]
    entries = [_boot_entry(catalog[32:64], platform)]
    position = 64
    while catalog[position] in (0x90, 0x91):
        platform, count = catalog[position + 1], struct.unpack_from("<H", catalog, position + 2)[0]
        for _ in range(count):
            position += 32
            entries.append(_boot_entry(catalog[position : position + 32], platform))
        position += 32
    return entries


def path_table(image: bytes, *, joliet: bool = False) -> list[tuple[int, int, bytes]]:
    """Sector, parent's number and identifier of every directory; both tables say the same."""
    descriptor = _descriptor(image, 2 if joliet else 1)
    size = _both(descriptor, 132)
    (low,), (high,) = struct.unpack_from("<I", descriptor, 140), struct.unpack_from(">I", descriptor, 148)
    little = list(_path_records(image[low * SECTOR : low * SECTOR + size], "<"))
    assert little == list(_path_records(image[high * SECTOR : high * SECTOR + size], ">"))
    return little


def _path_records(table: bytes, order: str) -> Iterator[tuple[int, int, bytes]]:
    position = 0
    while position < len(table):
        length, sector, parent = struct.unpack_from(f"{order}BxIH", table, position)
        yield sector, parent, table[position + 8 : position + 8 + length]
        position += 8 + length + length % 2


def _boot_entry(entry: bytes, platform: int) -> BootEntry:
    assert (0x88, 0) == (entry[0], entry[1])
    sectors, sector = struct.unpack_from("<HI", entry, 6)
    return BootEntry(platform, sectors, sector)


def _descriptor(image: bytes, kind: int) -> bytes:
    for number in range(16, 32):
        descriptor = _sector(image, number)
        if descriptor[0] == kind:
            return descriptor
        assert descriptor[0] != 255
    raise AssertionError(f"no descriptor {kind}")


def _sector(image: bytes, number: int) -> bytes:
    return image[number * SECTOR : (number + 1) * SECTOR]


def _both(record: bytes, offset: int) -> int:
    low, high = struct.unpack_from("<I", record, offset)[0], struct.unpack_from(">I", record, offset + 4)[0]
    assert low == high
    return int(low)


def _tree(image: bytes, descriptor: bytes, *, joliet: bool) -> Iterator[tuple[str, Found]]:
    assert len(image) // SECTOR >= _both(descriptor, 80)
    root = descriptor[156:190]
    waiting = [("", root, root)]
    while waiting:
        path, record, parent = waiting.pop()
        children = list(_records(image, _both(record, 2), _both(record, 10)))
        dot, dotdot, *others = children
        assert (b"\0", b"\1") == (dot[33:34], dotdot[33:34])
        assert record[2:18] == dot[2:18]
        assert parent[2:18] == dotdot[2:18]
        identifiers = [child[33 : 33 + child[32]] for child in others]
        assert sorted(set(identifiers)) == identifiers
        if not path:
            yield "", _found(image, dot, joliet)[1]
        for child in others:
            name, found = _found(image, child, joliet)
            inner = f"{path}/{name}" if path else name
            yield inner, found
            if found.kind == "directory":
                waiting.append((inner, child, record))


def _records(image: bytes, sector: int, size: int) -> Iterator[bytes]:
    assert size % SECTOR == 0
    for number in range(sector, sector + size // SECTOR):
        block, position = _sector(image, number), 0
        while position < SECTOR and block[position]:
            yield block[position : position + block[position]]
            position += block[position]
        assert not any(block[position:])


def _found(image: bytes, record: bytes, joliet: bool) -> tuple[str, Found]:
    is_directory = bool(record[25] & 2)
    assert record[25] & ~2 == 0
    mtime = _time(record[18:25])
    identifier = record[33 : 33 + record[32]]
    sector, size = _both(record, 2), _both(record, 10)
    kind: Kind
    if joliet:
        kind = "directory" if is_directory else "file"
        name = identifier.decode("utf-16-be") if len(identifier) > 1 else ""
        return name, Found(kind, 0, 0, 0, 0, 0, mtime, "", (0, 0), sector, size, name)
    fields = list(_susp(image, record[33 + record[32] + (1 - record[32] % 2) :]))
    (attributes,) = (field for tag, field in fields if tag == b"PX")
    mode, links, uid, gid, serial = (_both(attributes, offset) for offset in range(0, 40, 8))
    (times,) = (field for tag, field in fields if tag == b"TF")
    assert b"\x0e" + record[18:25] * 3 == times
    kind = _KINDS[stat.S_IFMT(mode)]
    assert is_directory == (kind == "directory")
    devices = [field for tag, field in fields if tag == b"PN"]
    found = Found(
        kind,
        stat.S_IMODE(mode),
        uid,
        gid,
        links,
        serial,
        mtime,
        _target([field for tag, field in fields if tag == b"SL"]),
        _device(*devices) if devices else (0, 0),
        sector,
        size,
        identifier.decode("ascii"),
    )
    names = [field for tag, field in fields if tag == b"NM"]
    assert [bool(name[0]) for name in names] == [True] * (len(names) - 1) + [False] * bool(names)
    return b"".join(name[1:] for name in names).decode("utf-8", "surrogateescape"), found


def _susp(image: bytes, area: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Every field with its tag, from continuation areas too. Source: SUSP 1.12, 4 and 5.1."""
    position, following = 0, b""
    while len(area) - position >= 4:
        tag, length = area[position : position + 2], area[position + 2]
        field = area[position + 4 : position + length]
        assert area[position + 3] == 1
        if tag == b"CE":
            start = _both(field, 0) * SECTOR + _both(field, 8)
            following = image[start : start + _both(field, 16)]
        else:
            yield tag, field
        position += length
    assert not any(area[position:])
    if following:
        yield from _susp(image, following)


def _target(records: list[bytes]) -> str:
    """As Linux puts the parts together. Source: fs/isofs/rock.c, get_symlink_chunk."""
    target, joins = b"", False
    for number, record in enumerate(records):
        assert bool(record[0]) == (number < len(records) - 1)
        position = 1
        while position < len(record):
            flags, length = record[position], record[position + 1]
            if joins:
                target += b"/"
            special = {2: b".", 4: b"..", 8: b"/"}.get(flags & ~1)
            target += record[position + 2 : position + 2 + length] if special is None else special
            joins = not flags & 1 and special != b"/"
            position += 2 + length
    return target.decode("utf-8", "surrogateescape")


def _device(field: bytes) -> tuple[int, int]:
    """As Linux takes it. Source: fs/isofs/rock.c."""
    high, low = _both(field, 0), _both(field, 8)
    return (low >> 8, low & 255) if low & ~255 and not high else (high, low)


def _time(packed: bytes) -> int:
    year, month, day, hour, minute, second, zone = packed
    assert 0 == zone
    return calendar.timegm((1900 + year, month, day, hour, minute, second))


def expected(tree: Tree) -> dict[str, tuple[object, ...]]:
    """What any reader should say of a tree: kind, mode, owners, links, seconds, target, device, size."""
    entries = tree.by_path()
    names: dict[str, int] = {}
    for entry in tree:
        if entry.kind == "hardlink":
            names[entry.target] = names.get(entry.target, 1) + 1
    made: dict[str, tuple[object, ...]] = {}
    for path, named in entries.items():
        entry = entries[named.target] if named.kind == "hardlink" else named
        inside = sum(
            other.kind == "directory" and other.path != "" and other.path.rpartition("/")[0] == path
            for other in tree
        )
        links = 2 + inside if entry.kind == "directory" else names.get(entry.path, 1)
        made[path] = (
            *(
                entry.kind,
                entry.mode,
                entry.uid,
                entry.gid,
                links,
                min(max(0, entry.mtime // 10**9), _LAST_SECOND),
            ),
            *(entry.target, entry.device, entry.size),
        )
    return made
