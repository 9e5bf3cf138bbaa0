"""ISO 9660 with Rock Ridge, the way Linux mounts it; what loads it from a CD (El Torito) is no file.

Source: ECMA-119; IEEE P1281 (SUSP) and P1282 (RRIP) 1.12; fs/isofs/rock.c for how Linux takes symlinks and devices.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterator
from struct import unpack_from
from typing import NamedTuple

from kitbuild.reading.entries import KINDS, PATH_BYTES, Kind, Listing, OutputEntry
from kitbuild.reading.window import Piece, Pieces, Window

_SECTOR = 2048
_PRIMARY = 1
_FOLDER, _MORE_EXTENTS = 2, 0x80
_MOST_FOLDER_BYTES = 1 << 26
_MOST_CONTINUATIONS = 64
_MOST_EXTENTS = 1 << 12
_NANO = 1_000_000_000


class _Ridge(NamedTuple):
    """What Rock Ridge says of a record: `moved` is the sector of a folder that is kept elsewhere."""

    name: bytes | None = None
    mode: int | None = None
    links: int = 1
    uid: int = 0
    gid: int = 0
    mtime: int | None = None
    target: bytes = b""
    device: tuple[int, int] | None = None
    moved: int = 0
    is_moved: bool = False


class _Record(NamedTuple):
    sector: int
    size: int
    flags: int
    name: bytes
    mtime: int
    area: bytes


def read_iso(window: Window) -> tuple[str, Listing]:
    """What it is, and everything in it."""
    return "ISO 9660", _Iso(window).listing()


class _Iso:
    def __init__(self, window: Window) -> None:
        self._window = window
        descriptor = window.exactly(16 * _SECTOR, _SECTOR, "the descriptor of an ISO")
        if descriptor[0] != _PRIMARY or unpack_from("<H", descriptor, 128)[0] != _SECTOR:
            raise window.broken(16 * _SECTOR, "expected an ISO with sectors of 2048 bytes")
        self._root = self._record(descriptor[156:190], 16 * _SECTOR + 156)
        self._skipped = 0
        first = next(self._records(self._root.sector, self._root.size), None)
        if first is not None and first.area[:2] == b"SP" and len(first.area) >= 7:
            self._skipped = first.area[6]

    def listing(self) -> Listing:
        listing = Listing(self._window)
        marks: dict[int, int] = {}
        waiting = [("", self._root.sector, self._root.size)]
        seen = {self._root.sector}
        while waiting:
            path, sector, size = waiting.pop()
            for record, extents in self._files(sector, size):
                ridge = self._ridge(record)
                if ridge.is_moved:
                    continue
                entry = self._entry(path, record, ridge, sum(size for _, size in extents))
                if entry.kind == "directory":
                    place, length = self._folder(record, ridge)
                    if place in seen:
                        raise self._window.broken(
                            place * _SECTOR, f"`{entry.path}` is in itself or in two folders"
                        )
                    seen.add(place)
                    waiting.append((entry.path, place, length))
                mark = 0
                if ridge.links > 1 and entry.kind == "file" and entry.size:
                    mark = marks.get(record.sector) or marks.setdefault(record.sector, listing.new_mark())
                content = self._content(entry.path, extents) if entry.kind == "file" else None
                listing.put(entry, content, mark=mark)
        return listing

    def _files(self, sector: int, size: int) -> Iterator[tuple[_Record, list[tuple[int, int]]]]:
        """Records with all their extents, without the folder itself and its parent."""
        extents: list[tuple[int, int]] = []
        for record in self._records(sector, size):
            if record.name in (b"\0", b"\1"):
                continue
            extents.append((record.sector, record.size))
            if record.flags & _MORE_EXTENTS and len(extents) < _MOST_EXTENTS:
                continue
            yield record, extents
            extents = []

    def _records(self, sector: int, size: int) -> Iterator[_Record]:
        if size > _MOST_FOLDER_BYTES:
            raise self._window.broken(
                sector * _SECTOR, f"expected a folder of at most {_MOST_FOLDER_BYTES} bytes"
            )
        for start in range(sector * _SECTOR, sector * _SECTOR + size, _SECTOR):
            block = self._window.exactly(start, _SECTOR, "a folder of an ISO")
            place = 0
            while place < _SECTOR and block[place]:
                yield self._record(block[place : place + block[place]], start + place)
                place += block[place]

    def _record(self, content: bytes, place: int) -> _Record:
        if len(content) < 34 or len(content) < 33 + content[32]:
            raise self._window.broken(place, "a record that is cut off")
        sector, size = unpack_from("<I4xI", content, 2)
        name = content[33 : 33 + content[32]]
        area = content[33 + content[32] + (1 - content[32] % 2) :]
        return _Record(sector, size, content[25], name, _short_time(content[18:25]), area)

    def _ridge(self, record: _Record) -> _Ridge:
        found = _Ridge()
        names: list[bytes] = []
        target, joins = bytearray(), False
        for tag, field in self._fields(record.area[self._skipped :], record):
            if tag == b"PX" and len(field) >= 32:
                mode, links, uid, gid = unpack_from("<I4xI4xI4xI", field)
                found = found._replace(mode=mode, links=links, uid=uid, gid=gid)
            elif tag == b"NM" and field and not field[0] & 6:
                names.append(field[1:])
            elif tag == b"TF" and field:
                found = found._replace(mtime=_modified(field))
            elif tag == b"SL" and field:
                joins = _add_target(target, field, joins=joins)
            elif tag == b"PN" and len(field) >= 16:
                found = found._replace(device=_device(*unpack_from("<I4xI", field)))
            elif tag == b"CL" and len(field) >= 4:
                found = found._replace(moved=unpack_from("<I", field)[0])
            elif tag == b"RE":
                found = found._replace(is_moved=True)
        return found._replace(name=b"".join(names) if names else None, target=bytes(target))

    def _fields(self, area: bytes, record: _Record) -> Iterator[tuple[bytes, bytes]]:
        """The fields of an area with their tags, those of its continuations too."""
        for _ in range(_MOST_CONTINUATIONS):
            following = b""
            place = 0
            while len(area) - place >= 4 and area[place + 2] >= 4:
                tag, field = area[place : place + 2], area[place + 4 : place + area[place + 2]]
                place += area[place + 2]
                if tag == b"ST":
                    break
                if tag == b"CE" and len(field) >= 24:
                    sector, offset, size = unpack_from("<I4xI4xI", field)
                    if offset + size > _SECTOR:
                        raise self._window.broken(sector * _SECTOR, "a continuation longer than a sector")
                    following = self._window.exactly(sector * _SECTOR + offset, size, "a continuation")
                else:
                    yield tag, field
            if not following:
                return
            area = following
        raise self._window.broken(record.sector * _SECTOR, "continuations without an end")

    def _entry(self, folder: str, record: _Record, ridge: _Ridge, size: int) -> OutputEntry:
        name = (_plain_name(record.name) if ridge.name is None else ridge.name).decode(
            "utf-8", "surrogateescape"
        )
        path = f"{folder}/{name}" if folder else name
        if not name or "/" in name or name in (".", "..") or len(path) > PATH_BYTES:
            raise self._window.broken(record.sector * _SECTOR, f"expected a name, got {name[:80]!r}")
        kind: Kind = "directory" if record.flags & _FOLDER or ridge.moved else "file"
        mode = 0o755 if kind == "directory" else 0o644
        if ridge.mode is not None:
            kind, mode = KINDS.get(ridge.mode & 0o170000, kind), ridge.mode & 0o7777
            if ridge.moved:
                kind = "directory"
        return OutputEntry(
            path,
            kind,
            mode,
            ridge.uid,
            ridge.gid,
            size if kind == "file" else len(ridge.target) if kind == "symlink" else 0,
            (record.mtime if ridge.mtime is None else ridge.mtime) * _NANO,
            ridge.target.decode("utf-8", "surrogateescape") if kind == "symlink" else "",
            ridge.device if kind in ("block", "character") else None,
        )

    def _folder(self, record: _Record, ridge: _Ridge) -> tuple[int, int]:
        """Sector and size of a folder, wherever it is kept."""
        if not ridge.moved:
            return record.sector, record.size
        itself = next(self._records(ridge.moved, _SECTOR), None)
        if itself is None:
            raise self._window.broken(ridge.moved * _SECTOR, "expected a folder")
        return ridge.moved, itself.size

    def _content(self, path: str, extents: list[tuple[int, int]]) -> Window:
        pieces, position = [], 0
        for sector, size in extents:
            pieces.append(Piece(position, size, self._window, sector * _SECTOR))
            position += size
        return Pieces(f"{self._window.name}: {path}", pieces, position)


def _plain_name(name: bytes) -> bytes:
    """A name without Rock Ridge as Linux shows it: lower case, without version and empty extension."""
    return name.split(b";")[0].removesuffix(b".").lower()


def _add_target(target: bytearray, field: bytes, *, joins: bool) -> bool:
    place = 1
    while place + 2 <= len(field):
        flags, length = field[place], field[place + 1]
        if joins:
            target += b"/"
        special = {2: b".", 4: b"..", 8: b"/"}.get(flags & 0x0E)
        target += field[place + 2 : place + 2 + length] if special is None else special
        joins = not flags & 1 and special != b"/"
        place += 2 + length
    return joins


def _device(high: int, low: int) -> tuple[int, int]:
    return (low >> 8, low & 255) if low & ~255 and not high else (high, low)


def _modified(field: bytes) -> int | None:
    flags = field[0]
    if not flags & 2:
        return None
    size = 17 if flags & 0x80 else 7
    place = 1 + size * (flags & 1)
    packed = field[place : place + size]
    if len(packed) < size:
        return None
    return _long_time(packed) if size == 17 else _short_time(packed)


def _short_time(packed: bytes) -> int:
    year, month, day, hour, minute, second, zone = packed
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return 0
    quarters = zone - 256 if zone > 127 else zone
    return calendar.timegm((1900 + year, month, day, hour, minute, second)) - quarters * 900


def _long_time(packed: bytes) -> int | None:
    text = packed[:14]
    if not text.isdigit():
        return None
    year, month, day = int(text[:4]), int(text[4:6]), int(text[6:8])
    if not (year >= 1 and 1 <= month <= 12 and 1 <= day <= 31):
        return None
    quarters = packed[16] - 256 if packed[16] > 127 else packed[16]
    time = (year, month, day, int(text[8:10]), int(text[10:12]), int(text[12:14]))
    return calendar.timegm(time) - quarters * 900
