"""ext2, ext3 and ext4 without what their journal still holds, as LinuxKit's disks for clouds have them.

Source: kernel Documentation/filesystems/ext4/.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import unpack_from
from typing import NamedTuple

from kitbuild.reading.device import device_of
from kitbuild.reading.entries import KINDS, PATH_BYTES, Kind, Listing, OutputEntry
from kitbuild.reading.inodes import walked
from kitbuild.reading.window import Piece, Pieces, Window

_SUPERBLOCK = 1024
_ROOT = 2
_EXTENTS, _INLINE, _ENCRYPTED = 0x80000, 0x10000000, 0x800
_64BIT, _META_GROUPS = 0x80, 0x10
_EXTENT_MAGIC = 0xF30A
_UNWRITTEN = 32768
_MOST_DEPTH = 5
_MOST_EXTENTS = 1 << 20
_MOST_FOLDER_BYTES = 1 << 26
_NANO = 1_000_000_000


class _Inode(NamedTuple):
    number: int
    kind: Kind
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    links: int
    flags: int
    blocks: bytes


def read_ext4(window: Window) -> tuple[str, Listing]:
    """What it is, and everything in it; without extended attributes."""
    return "ext4", _Ext4(window).listing()


class _Ext4:
    def __init__(self, window: Window) -> None:
        self._window = window
        head = window.exactly(_SUPERBLOCK, 1024, "the head of ext4")
        inodes, _, _, _, _, first, log = unpack_from("<7I", head)
        self._blocks_per_group, _, self._inodes_per_group = unpack_from("<3I", head, 32)
        self._inodes, self._first = inodes, first
        (features,) = unpack_from("<I", head, 96)
        revision = unpack_from("<I", head, 76)[0]
        self._inode_bytes = unpack_from("<H", head, 88)[0] if revision else 128
        self._group_bytes = max(32, unpack_from("<H", head, 254)[0]) if features & _64BIT else 32
        is_fit = log <= 6 and self._inodes_per_group and 128 <= self._inode_bytes <= 4096
        if not is_fit or self._group_bytes > 1024 or features & _META_GROUPS:
            raise window.broken(
                _SUPERBLOCK, f"expected ext4 with blocks of 1 KiB to 64 KiB, got 2^{10 + log % 64}"
            )
        self._block = 1024 << log

    def listing(self) -> Listing:
        return walked(
            self._window,
            _ROOT,
            inode=self._inode,
            names=self._names,
            entry=self._entry,
            content=self._content,
        )

    def _entry(self, path: str, inode: _Inode) -> OutputEntry:
        if len(path) > PATH_BYTES:
            raise self._window.broken(0, f"expected a path of at most {PATH_BYTES} bytes")
        target, device = "", None
        if inode.kind == "symlink":
            if inode.size > PATH_BYTES:
                raise self._window.broken(0, f"`{path}`: expected a symlink of at most {PATH_BYTES} bytes")
            is_short = inode.size < 60 and not inode.flags & _EXTENTS
            content = (
                inode.blocks[: inode.size] if is_short else self._content(path, inode).read(0, inode.size)
            )
            target = content.decode("utf-8", "surrogateescape")
        elif inode.kind in ("block", "character"):
            old, new = unpack_from("<II", inode.blocks)
            device = device_of(new) if not old else (old >> 8 & 255, old & 255)
        size = inode.size if inode.kind in ("file", "symlink") else 0
        return OutputEntry(
            path, inode.kind, inode.mode, inode.uid, inode.gid, size, inode.mtime, target, device
        )

    def _inode(self, number: int) -> _Inode:
        if not 1 <= number <= self._inodes:
            raise self._window.broken(0, f"expected one of {self._inodes} inodes, got {number}")
        group, index = divmod(number - 1, self._inodes_per_group)
        at = (self._first + 1) * self._block + group * self._group_bytes
        descriptor = self._window.exactly(at, self._group_bytes, "a group of ext4")
        (table,) = unpack_from("<I", descriptor, 8)
        if self._group_bytes >= 64:
            table |= unpack_from("<I", descriptor, 40)[0] << 32
        place = table * self._block + index * self._inode_bytes
        content = self._window.exactly(place, self._inode_bytes, "an inode of ext4")
        mode, uid, low, _, _, seconds, _, gid, links, _, flags = unpack_from("<HHIIiiIHHII", content)
        (high,) = unpack_from("<I", content, 108)
        uid_high, gid_high = unpack_from("<HH", content, 120)
        kind = KINDS.get(mode & 0o170000)
        if kind is None:
            raise self._window.broken(place, f"expected a type of file, got mode {mode:o}")
        seconds, nanoseconds = unpack_from("<i", content, 16)[0], 0
        if self._inode_bytes > 160:
            (extra,) = unpack_from("<I", content, 136)
            seconds, nanoseconds = seconds + ((extra & 3) << 32), extra >> 2
        size = low | (high << 32 if kind == "file" else 0)
        owner = (uid | uid_high << 16, gid | gid_high << 16)
        mtime = seconds * _NANO + nanoseconds
        return _Inode(number, kind, mode & 0o7777, *owner, size, mtime, links, flags, content[40:100])

    def _names(self, path: str, inode: _Inode) -> Iterator[tuple[str, int]]:
        if (
            inode.kind != "directory"
            or inode.size > _MOST_FOLDER_BYTES
            or inode.flags & (_INLINE | _ENCRYPTED)
        ):
            raise self._window.broken(0, f"`{path}`: expected a folder that can be read")
        content = self._content(path, inode)
        for start in range(0, inode.size, self._block):
            block = content.exactly(start, min(self._block, inode.size - start), "a folder of ext4")
            place = 0
            while place + 8 <= len(block):
                number, length, size = unpack_from("<IHB", block, place)
                if length < 8 or length % 4:
                    raise content.broken(
                        start + place, f"expected a name in a folder, got one of {length} bytes"
                    )
                name = block[place + 8 : place + 8 + size]
                place += length
                if number and name not in (b".", b".."):
                    if b"/" in name or not name:
                        raise content.broken(start + place, f"expected a name, got {name!r}")
                    yield name.decode("utf-8", "surrogateescape"), number

    def _content(self, path: str, inode: _Inode) -> Window:
        name = f"{self._window.name}: {path}"
        if inode.flags & (_INLINE | _ENCRYPTED):
            raise self._window.broken(0, f"`{path}`: stored in a way that is not read here")
        pieces = self._extents(inode.blocks) if inode.flags & _EXTENTS else self._mapped(inode)
        return Pieces(name, sorted(_joined(pieces), key=lambda piece: piece.start), inode.size)

    def _extents(self, root: bytes) -> Iterator[Piece]:
        waiting = [(root, _MOST_DEPTH)]
        count = 0
        while waiting:
            node, depth = waiting.pop()
            magic, entries, _, level = unpack_from("<4H", node)
            if magic != _EXTENT_MAGIC or 12 * (entries + 1) > len(node) or (level and not depth):
                raise self._window.broken(0, "expected a tree of extents")
            for number in range(entries):
                count += 1
                if count > _MOST_EXTENTS:
                    raise self._window.broken(0, f"expected at most {_MOST_EXTENTS} extents")
                if level:
                    low, high = unpack_from("<IH", node, 12 * number + 16)
                    place = (high << 32 | low) * self._block
                    waiting.append((self._window.exactly(place, self._block, "extents"), depth - 1))
                    continue
                first, length, high, low = unpack_from("<IHHI", node, 12 * number + 12)
                # What is not written yet is zeros.
                source = self._window if length <= _UNWRITTEN else None
                length = length if source else length - _UNWRITTEN
                place = (high << 32 | low) * self._block
                yield Piece(first * self._block, length * self._block, source, place)

    def _mapped(self, inode: _Inode) -> Iterator[Piece]:
        """Blocks by number, through up to three tables of numbers: ext2 and ext3."""
        wanted = -(-inode.size // self._block)
        if wanted > _MOST_EXTENTS:
            raise self._window.broken(0, f"expected a file of at most {_MOST_EXTENTS} blocks")
        numbers = unpack_from("<15I", inode.blocks)
        first = 0
        for slot, number in enumerate(numbers):
            depth = max(0, slot - 11)
            reach = (self._block // 4) ** depth
            if first >= wanted:
                return
            yield from self._table(number, depth, first, wanted)
            first += reach

    def _table(self, number: int, depth: int, first: int, wanted: int) -> Iterator[Piece]:
        if not number or first >= wanted:
            return
        if not depth:
            yield Piece(first * self._block, self._block, self._window, number * self._block)
            return
        content = self._window.exactly(number * self._block, self._block, "a table of blocks")
        reach = (self._block // 4) ** (depth - 1)
        for inner in unpack_from(f"<{self._block // 4}I", content):
            yield from self._table(inner, depth - 1, first, wanted)
            first += reach


def _joined(pieces: Iterator[Piece]) -> list[Piece]:
    """With what lies behind each other as one."""
    found: list[Piece] = []
    for piece in pieces:
        last = found[-1] if found else None
        if (
            last
            and last.source is piece.source is not None
            and last.start + last.size == piece.start
            and last.offset + last.size == piece.offset
        ):
            found[-1] = last._replace(size=last.size + piece.size)
        else:
            found.append(piece)
    return found
