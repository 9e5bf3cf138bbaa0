"""EROFS; what is compressed in it is listed and not read.

Source: kernel Documentation/filesystems/erofs.rst and fs/erofs/erofs_fs.h.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct, unpack_from
from typing import NamedTuple

from kitbuild.errors import KitbuildError
from kitbuild.reading.device import device_of
from kitbuild.reading.entries import KINDS, PATH_BYTES, Kind, Listing, OutputEntry
from kitbuild.reading.inodes import walked
from kitbuild.reading.window import Piece, Pieces, Window

_SUPERBLOCK = Struct("<IIIBBHQQIIII16s16sI")
_COMPACT = Struct("<HHHHI4xIIHH4x")
_EXTENDED = Struct("<HHHxxQIIIIqII16x")
_DIRENT = Struct("<QHBx")
_PLAIN, _INLINE, _CHUNKS = 0, 2, 4
_SLOT = 32
_PREFIXES = {
    1: "user.",
    2: "system.posix_acl_access",
    3: "system.posix_acl_default",
    4: "trusted.",
    6: "security.",
}
_NO_BLOCK = 0xFFFFFFFF
_MOST_FOLDER_BYTES = 1 << 26
_MOST_CHUNKS = 1 << 20
_NANO = 1_000_000_000


class _Super(NamedTuple):
    magic: int
    checksum: int
    compatible: int
    bits: int
    slots: int
    root: int
    inodes: int
    seconds: int
    nanoseconds: int
    blocks: int
    metadata: int
    attributes: int
    uuid: bytes
    label: bytes
    features: int


class _Inode(NamedTuple):
    number: int
    layout: int
    kind: Kind
    mode: int
    uid: int
    gid: int
    links: int
    size: int
    mtime: int
    word: int
    tail: int
    xattrs: tuple[tuple[str, bytes], ...]


def read_erofs(window: Window) -> tuple[str, Listing]:
    """What it is, and everything in it."""
    return "EROFS", _Image(window).listing()


class _Image:
    def __init__(self, window: Window) -> None:
        self.window = window
        self.head = _Super(*_SUPERBLOCK.unpack(window.exactly(1024, _SUPERBLOCK.size, "the head of EROFS")))
        if not 9 <= self.head.bits <= 16:
            raise window.broken(1036, f"expected blocks of 512 bytes to 64 KiB, got 2^{self.head.bits}")
        self.block = 1 << self.head.bits

    def listing(self) -> Listing:
        return walked(
            self.window,
            self.head.root,
            inode=self._inode,
            names=self._names,
            entry=self._entry,
            content=self._content,
        )

    def _entry(self, path: str, inode: _Inode) -> OutputEntry:
        if len(path) > PATH_BYTES:
            raise self.window.broken(0, f"expected a path of at most {PATH_BYTES} bytes")
        target = ""
        if inode.kind == "symlink":
            if inode.size > PATH_BYTES:
                raise self._broken(
                    inode, f"expected a symlink of at most {PATH_BYTES} bytes, got {inode.size}"
                )
            content = self._content(path, inode).exactly(0, inode.size, "a symlink")
            target = content.decode("utf-8", "surrogateescape")
        device = device_of(inode.word) if inode.kind in ("block", "character") else None
        size = inode.size if inode.kind in ("file", "symlink") else 0
        owner = (inode.mode, inode.uid, inode.gid)
        return OutputEntry(path, inode.kind, *owner, size, inode.mtime, target, device, inode.xattrs)

    def _names(self, path: str, inode: _Inode) -> Iterator[tuple[str, int]]:
        if inode.kind != "directory" or inode.size > _MOST_FOLDER_BYTES:
            raise self._broken(inode, f"expected a folder of at most {_MOST_FOLDER_BYTES} bytes")
        content = self._content(path, inode)
        for start in range(0, inode.size, self.block):
            block = content.exactly(start, min(self.block, inode.size - start), "a folder")
            for name, number in self._names_of_block(inode, block):
                if name not in (b".", b".."):
                    yield name.decode("utf-8", "surrogateescape"), number

    def _names_of_block(self, inode: _Inode, block: bytes) -> Iterator[tuple[bytes, int]]:
        if len(block) < _DIRENT.size:
            raise self._broken(inode, "a folder that ends in the middle of a name")
        (first,) = unpack_from("<H", block, 8)
        if first < _DIRENT.size or first > len(block) or first % _DIRENT.size:
            raise self._broken(inode, f"expected names in a folder, got them at byte {first}")
        entries = [_DIRENT.unpack_from(block, place) for place in range(0, first, _DIRENT.size)]
        ends = [start for _, start, _ in entries[1:]] + [len(block)]
        for (number, start, _), end in zip(entries, ends, strict=True):
            name = block[start:end].split(b"\0")[0]
            if not name or b"/" in name or len(name) > 255:
                raise self._broken(inode, f"expected a name, got {name[:80]!r}")
            yield name, number

    def _inode(self, number: int) -> _Inode:
        place = (self.head.metadata << self.head.bits) + number * _SLOT
        content = self.window.exactly(place, _COMPACT.size, "an inode of EROFS")
        (form,) = unpack_from("<H", content)
        mtime = self.head.seconds * _NANO + self.head.nanoseconds
        if form & 1:
            content = self.window.exactly(place, _EXTENDED.size, "an inode of EROFS")
            _, count, mode, size, word, _, uid, gid, seconds, nanoseconds, links = _EXTENDED.unpack(content)
            mtime = seconds * _NANO + nanoseconds
        else:
            _, count, mode, links, size, word, _, uid, gid = _COMPACT.unpack(content)
        kind = KINDS.get(mode & 0o170000)
        if kind is None:
            raise self.window.broken(place, f"expected a type of file, got mode {mode:o}")
        attributes = 12 + (count - 1) * 4 if count else 0
        behind = place + len(content)
        xattrs = tuple(sorted(self._attributes(behind, attributes))) if count else ()
        return _Inode(
            number,
            form >> 1 & 7,
            kind,
            mode & 0o7777,
            uid,
            gid,
            links,
            size,
            mtime,
            word,
            behind + attributes,
            xattrs,
        )

    def _attributes(self, place: int, size: int) -> Iterator[tuple[str, bytes]]:
        content = self.window.exactly(place, size, "attributes of EROFS")
        shared = content[4]
        start = 12 + 4 * shared
        if start > size:
            raise self.window.broken(place, f"expected attributes of {size} bytes, got {shared} shared ones")
        for number in unpack_from(f"<{shared}I", content, 12):
            at = (self.head.attributes << self.head.bits) + 4 * number
            yield self._attribute(self.window.read(at, 1 << 17), 0, at)[0]
        while start + 4 <= size:
            if not any(content[start : start + 4]):
                break
            found, start = self._attribute(content, start, place)
            yield found

    def _attribute(self, content: bytes, start: int, place: int) -> tuple[tuple[str, bytes], int]:
        if len(content) < start + 4:
            raise self.window.broken(place + start, "an attribute that is cut off")
        length, prefix, size = unpack_from("<BBH", content, start)
        name = content[start + 4 : start + 4 + length]
        value = content[start + 4 + length : start + 4 + length + size]
        if len(value) != size:
            raise self.window.broken(place + start, "an attribute that is cut off")
        text = _PREFIXES.get(prefix, "") + name.decode("utf-8", "surrogateescape")
        return (text, value), start + (4 + length + size + 3 & ~3)

    def _content(self, path: str, inode: _Inode) -> Window:
        name = f"{self.window.name}: {path}"
        if inode.layout == _CHUNKS:
            return self._chunks(name, inode)
        if inode.layout not in (_PLAIN, _INLINE):
            raise self._broken(inode, f"`{path}` is compressed, which is not read in EROFS")
        start = inode.word << self.head.bits
        if inode.layout == _PLAIN or not inode.size:
            return Pieces(name, [Piece(0, inode.size, self.window, start)], inode.size)
        # The last block, full or not, stands behind the inode.
        whole = (inode.size - 1) // self.block * self.block
        tail = Piece(whole, inode.size - whole, self.window, inode.tail)
        return Pieces(name, [Piece(0, whole, self.window, start), tail], inode.size)

    def _chunks(self, name: str, inode: _Inode) -> Window:
        bits = self.head.bits + (inode.word & 31)
        count = -(-inode.size // (1 << bits))
        if count > _MOST_CHUNKS:
            raise self._broken(inode, f"expected at most {_MOST_CHUNKS} chunks, got {count}")
        has_indexes = bool(inode.word & 32)
        size = 8 if has_indexes else 4
        place = -(-inode.tail // size) * size
        content = self.window.exactly(place, size * count, "the chunks of a file")
        blocks = [unpack_from("<I", content, number * size + (size - 4))[0] for number in range(count)]
        pieces = [
            Piece(
                number << bits,
                min(1 << bits, inode.size - (number << bits)),
                None if block == _NO_BLOCK else self.window,
                0 if block == _NO_BLOCK else block << self.head.bits,
            )
            for number, block in enumerate(blocks)
        ]
        return Pieces(name, pieces, inode.size)

    def _broken(self, inode: _Inode, message: str) -> KitbuildError:
        return self.window.broken((self.head.metadata << self.head.bits) + inode.number * _SLOT, message)
