"""squashfs 4.0, compressed with gzip, xz, lzma, zstd or LZ4, or not at all.

Source: kernel Documentation/filesystems/squashfs.rst; for the numbers, fs/squashfs/squashfs_fs.h.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import accumulate
from struct import Struct, unpack_from
from typing import NamedTuple

from kitbuild.reading.decompression import block_decompressor
from kitbuild.reading.device import device_of
from kitbuild.reading.entries import PATH_BYTES, Kind, Listing, OutputEntry
from kitbuild.reading.window import MOST_AT_ONCE, Blocks, Window

_SUPERBLOCK = Struct("<4sIIIIHHHHHHQQQQQQQQ")
_COMPRESSIONS = {1: "gzip", 2: "lzma", 4: "xz", 5: "lz4", 6: "zstd"}
_METADATA_BYTES = 8192
_METADATA_KEPT = 256
_NONE = 0xFFFF_FFFF_FFFF_FFFF
_NO_INDEX = 0xFFFFFFFF
_STORED_METADATA, _STORED_DATA = 0x8000, 1 << 24
_NANO = 1_000_000_000
_HEADER = Struct("<HHHHII")
# The short kinds by number; the long ones are seven more.
_KINDS: tuple[Kind, ...] = ("directory", "file", "symlink", "block", "character", "fifo", "socket")
_PREFIXES = ("user.", "trusted.", "security.")
_MOST_ATTRIBUTES = 1 << 16
_MOST_ATTRIBUTE_BYTES = 1 << 16


class _Super(NamedTuple):
    magic: bytes
    inodes: int
    seconds: int
    block: int
    fragments: int
    compression: int
    log: int
    flags: int
    ids: int
    major: int
    minor: int
    root: int
    used: int
    id_table: int
    xattr_table: int
    inode_table: int
    directory_table: int
    fragment_table: int
    export_table: int


# What all inodes begin with: kind, mode, owner and group as places in a table, time, number.
_Front = tuple[Kind, int, int, int, int, int]


class _Inode(NamedTuple):
    """What an inode says; `place` is that of the list of block sizes, for files, or of a directory's listing."""

    kind: Kind
    mode: int
    uid: int
    gid: int
    seconds: int
    number: int
    links: int
    size: int
    place: tuple[int, int] = (0, 0)
    start: int = 0
    fragment: int = _NO_INDEX
    offset: int = 0
    target: str = ""
    device: tuple[int, int] | None = None
    xattr: int = _NO_INDEX


def read_squashfs(window: Window) -> tuple[str, Listing]:
    """What it is, and everything in it."""
    image = _Image(window)
    return f"squashfs ({image.compression})", image.listing()


class _Metadata:
    """Blocks of metadata behind each other, read by the place of a block and an offset in what it holds."""

    def __init__(self, window: Window, decompress: Callable[[bytes, int], bytes]) -> None:
        self._window, self._decompress = window, decompress
        self._kept: OrderedDict[int, tuple[bytes, int]] = OrderedDict()

    def read(self, place: int, offset: int, size: int) -> tuple[bytes, tuple[int, int]]:
        """`size` bytes, and the place and offset behind them."""
        if size > MOST_AT_ONCE:
            raise self._window.broken(place, f"expected less metadata, got {size} bytes")
        content = bytearray()
        while True:
            block, following = self._block(place)
            piece = block[offset : offset + size - len(content)]
            content += piece
            offset += len(piece)
            if len(content) == size:
                return bytes(content), (place, offset)
            if not piece and not block[offset:] and len(block) < _METADATA_BYTES:
                raise self._window.broken(place, f"expected {size} bytes of metadata, got {len(content)}")
            place, offset = following, max(0, offset - len(block))

    def _block(self, place: int) -> tuple[bytes, int]:
        kept = self._kept.get(place)
        if kept is not None:
            return kept
        (word,) = unpack_from("<H", self._window.exactly(place, 2, "metadata of squashfs"))
        size = word & ~_STORED_METADATA
        content = self._window.exactly(place + 2, size, "metadata of squashfs")
        if not word & _STORED_METADATA:
            try:
                content = self._decompress(content, _METADATA_BYTES)
            except ValueError as error:
                raise self._window.broken(place, f"not a whole block of metadata: {error}") from None
        if not content:
            raise self._window.broken(place, "a block of metadata with nothing in it")
        self._kept[place] = content, place + 2 + size
        if len(self._kept) > _METADATA_KEPT:
            self._kept.popitem(last=False)
        return self._kept[place]


class _Image:
    def __init__(self, window: Window) -> None:
        self.window = window
        head = window.exactly(0, _SUPERBLOCK.size, "the head of squashfs")
        self.head = _Super(*_SUPERBLOCK.unpack(head))
        if self.head.major != 4 or self.head.block not in [1 << log for log in range(12, 21)]:
            raise window.broken(
                0, f"expected squashfs 4 with blocks of 4 KiB to 1 MiB, got {self.head.major}"
            )
        self.compression = _COMPRESSIONS.get(self.head.compression, f"number {self.head.compression}")
        self.decompress = block_decompressor(self.compression, window)
        self.metadata = _Metadata(window, self.decompress)
        self._xattrs: dict[int, tuple[tuple[str, bytes], ...]] = {}
        self._ids: dict[int, int] = {}

    def listing(self) -> Listing:
        listing = Listing(self.window)
        marks: dict[int, int] = {}
        root = self._inode(self.head.root)
        if root.kind != "directory":
            raise self.window.broken(0, "expected a directory as the root of squashfs")
        waiting = [("", root)]
        seen = {root.number}
        while waiting:
            path, folder = waiting.pop()
            for name, reference in self._names(folder):
                inode = self._inode(reference)
                inner = f"{path}/{name}" if path else name
                if inode.kind == "directory":
                    if inode.number in seen:
                        raise self.window.broken(0, f"`{inner}` is a folder that is in itself or in two")
                    seen.add(inode.number)
                    waiting.append((inner, inode))
                mark = 0
                if inode.links > 1 and inode.kind != "directory":
                    mark = marks.get(inode.number) or marks.setdefault(inode.number, listing.new_mark())
                listing.put(self._entry(inner, inode), self._content(inner, inode), mark=mark)
        return listing

    def _entry(self, path: str, inode: _Inode) -> OutputEntry:
        if len(path) > PATH_BYTES:
            raise self.window.broken(0, f"expected a path of at most {PATH_BYTES} bytes")
        return OutputEntry(
            path,
            inode.kind,
            inode.mode,
            self._id(inode.uid),
            self._id(inode.gid),
            inode.size if inode.kind in ("file", "symlink") else 0,
            inode.seconds * _NANO,
            inode.target,
            inode.device,
            self._attributes(inode.xattr),
        )

    def _content(self, path: str, inode: _Inode) -> Callable[[], Window] | None:
        return (lambda: _File(self, path, inode)) if inode.kind == "file" else None

    def _names(self, inode: _Inode) -> Iterator[tuple[str, int]]:
        """Names in a directory, and the references of their inodes."""
        left = inode.size - 3
        place = inode.place[0] + self.head.directory_table, inode.place[1]
        while left > 0:
            content, place = self.metadata.read(*place, 12)
            count, start, _ = unpack_from("<III", content)
            left -= 12
            if count > 255:
                raise self.window.broken(place[0], f"expected at most 256 names in a run, got {count + 1}")
            for _ in range(count + 1):
                content, place = self.metadata.read(*place, 8)
                offset, _, _, size = unpack_from("<HhHH", content)
                if size > 255:
                    raise self.window.broken(
                        place[0], f"expected a name of at most 256 bytes, got {size + 1}"
                    )
                name, place = self.metadata.read(*place, size + 1)
                left -= 8 + len(name)
                if b"/" in name or name in (b".", b".."):
                    raise self.window.broken(place[0], f"expected a name, got {name!r}")
                yield name.decode("utf-8", "surrogateescape"), start << 16 | offset

    def _inode(self, reference: int) -> _Inode:
        place, offset = reference >> 16, reference & 0xFFFF
        content, behind = self.metadata.read(self.head.inode_table + place, offset, _HEADER.size)
        kind, mode, uid, gid, seconds, number = _HEADER.unpack(content)
        if not 1 <= kind <= 14:
            raise self.window.broken(behind[0], f"expected a type of inode from 1 to 14, got {kind}")
        is_long = kind > len(_KINDS)
        name = _KINDS[(kind - 1) % len(_KINDS)]
        front = (name, mode & 0o7777, uid, gid, seconds, number)
        if name == "directory":
            return self._directory(front, behind, is_long=is_long)
        if name == "file":
            return self._file(front, behind, is_long=is_long)
        return self._special(front, behind, is_long=is_long)

    def _directory(self, front: _Front, behind: tuple[int, int], *, is_long: bool) -> _Inode:
        if is_long:
            content, _ = self.metadata.read(*behind, 24)
            links, size, start, _, _, offset, xattr = unpack_from("<IIIIHHI", content)
            return _Inode(*front, links, size, (start, offset), xattr=xattr)
        content, _ = self.metadata.read(*behind, 16)
        start, links, size, offset = unpack_from("<IIHH", content)
        return _Inode(*front, links, size, (start, offset))

    def _file(self, front: _Front, behind: tuple[int, int], *, is_long: bool) -> _Inode:
        if is_long:
            content, place = self.metadata.read(*behind, 40)
            start, size, _, links, fragment, offset, xattr = unpack_from("<QQQIIII", content)
        else:
            content, place = self.metadata.read(*behind, 16)
            start, fragment, offset, size = unpack_from("<IIII", content)
            links, xattr = 1, _NO_INDEX
        return _Inode(*front, links, size, place, start, fragment, offset, xattr=xattr)

    def _special(self, front: _Front, behind: tuple[int, int], *, is_long: bool) -> _Inode:
        kind = front[0]
        content, place = self.metadata.read(*behind, 4)
        (links,) = unpack_from("<I", content)
        target, device, size, xattr = "", None, 0, _NO_INDEX
        if kind == "symlink":
            content, place = self.metadata.read(*place, 4)
            (size,) = unpack_from("<I", content)
            if size > PATH_BYTES:
                raise self.window.broken(
                    place[0], f"expected a symlink of at most {PATH_BYTES} bytes, got {size}"
                )
            content, place = self.metadata.read(*place, size)
            target = content.decode("utf-8", "surrogateescape")
        elif kind in ("block", "character"):
            content, place = self.metadata.read(*place, 4)
            device = device_of(unpack_from("<I", content)[0])
        if is_long:
            (xattr,) = unpack_from("<I", self.metadata.read(*place, 4)[0])
        return _Inode(*front, links, size, target=target, device=device, xattr=xattr)

    def _looked_up(self, table: int, number: int, size: int) -> bytes:
        """An entry of a table that is cut into blocks of metadata, whose places stand at `table`."""
        per_block = _METADATA_BYTES // size
        place = table + 8 * (number // per_block)
        (block,) = unpack_from("<Q", self.window.exactly(place, 8, "a table of squashfs"))
        return self.metadata.read(block, number % per_block * size, size)[0]

    def _id(self, number: int) -> int:
        if number not in self._ids:
            if number >= self.head.ids:
                raise self.window.broken(0, f"expected one of {self.head.ids} owners, got {number}")
            (self._ids[number],) = unpack_from("<I", self._looked_up(self.head.id_table, number, 4))
        return self._ids[number]

    def fragment(self, number: int) -> tuple[int, int]:
        """Place and size word of a fragment."""
        if number >= self.head.fragments:
            raise self.window.broken(0, f"expected one of {self.head.fragments} fragments, got {number}")
        start, word = unpack_from("<QI", self._looked_up(self.head.fragment_table, number, 16))
        return start, word

    def _attributes(self, number: int) -> tuple[tuple[str, bytes], ...]:
        if number == _NO_INDEX or self.head.xattr_table == _NONE:
            return ()
        if number not in self._xattrs:
            self._xattrs[number] = tuple(sorted(self._read_attributes(number)))
        return self._xattrs[number]

    def _read_attributes(self, number: int) -> Iterator[tuple[str, bytes]]:
        table = self.head.xattr_table
        start, count = unpack_from("<QI", self.window.exactly(table, 16, "the attributes of squashfs"))
        if number >= count:
            raise self.window.broken(table, f"expected one of {count} sets of attributes, got {number}")
        reference, names, _ = unpack_from("<QII", self._looked_up(table + 16, number, 16))
        if names > _MOST_ATTRIBUTES:
            raise self.window.broken(table, f"expected fewer attributes, got {names}")
        place = start + (reference >> 16), reference & 0xFFFF
        for _ in range(names):
            content, place = self.metadata.read(*place, 4)
            kind, size = unpack_from("<HH", content)
            name, place = self.metadata.read(*place, size)
            value, place = self._value(place)
            if kind & 0x100:
                (other,) = unpack_from("<Q", value.ljust(8, b"\0"))
                value, _ = self._value((start + (other >> 16), other & 0xFFFF))
            prefix = _PREFIXES[kind & 0xFF] if kind & 0xFF < len(_PREFIXES) else ""
            yield prefix + name.decode("utf-8", "surrogateescape"), value

    def _value(self, place: tuple[int, int]) -> tuple[bytes, tuple[int, int]]:
        content, place = self.metadata.read(*place, 4)
        (size,) = unpack_from("<I", content)
        if size > _MOST_ATTRIBUTE_BYTES:
            raise self.window.broken(place[0], f"expected an attribute of at most 64 KiB, got {size} bytes")
        return self.metadata.read(*place, size)


class _File(Blocks):
    """The content of a file: blocks of their own, the last bytes perhaps in a fragment."""

    def __init__(self, image: _Image, path: str, inode: _Inode) -> None:
        super().__init__(f"{image.window.name}: {path}", inode.size, image.head.block)
        self._image, self._inode = image, inode
        has_fragment = inode.fragment != _NO_INDEX
        count = inode.size // self._block_size if has_fragment else -(-inode.size // self._block_size)
        words, _ = image.metadata.read(*inode.place, 4 * count) if count else (b"", None)
        self._words = unpack_from(f"<{count}I", words)
        self._places = list(accumulate((word & ~_STORED_DATA for word in self._words), initial=inode.start))

    def block(self, number: int) -> bytes | None:
        if number < len(self._words):
            return self._stored(self._places[number], self._words[number])
        start, word = self._image.fragment(self._inode.fragment)
        content = self._stored(start, word) or b""
        size = self._inode.size % self._block_size
        found = content[self._inode.offset : self._inode.offset + size]
        if len(found) != size:
            raise self.broken(
                number * self._block_size, f"expected {size} bytes in a fragment, got {len(found)}"
            )
        return found

    def _stored(self, place: int, word: int) -> bytes | None:
        size = word & ~_STORED_DATA
        if not size:
            return None
        if size > 2 * self._block_size:
            raise self.broken(place, f"expected a block of at most {self._block_size} bytes, got {size}")
        content = self._image.window.exactly(place, size, "a block of squashfs")
        if word & _STORED_DATA:
            return content
        try:
            return self._image.decompress(content, self._block_size)
        except ValueError as error:
            raise self._image.window.broken(place, f"not a whole block: {error}") from None
