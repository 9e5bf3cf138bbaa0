"""EROFS images that the kernel mounts as they are: 4 KiB blocks, nothing compressed.

    block 0     the superblock, at byte 1024
    block 1 on  inodes on 32 bytes each, the root's first: inode, extended attributes, and the tail of the content
                (what its last block would hold), which never crosses a block
    then        the whole blocks of contents: files as slices, directories larger than a block

Source: kernel Documentation/filesystems/erofs.rst ("On-disk details") and fs/erofs/erofs_fs.h for the numbers.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from kitbuild.errors import RuleError
from kitbuild.extents import Slice
from kitbuild.rules.layout.crc import crc32c
from kitbuild.tree import Entry, Kind, Tree, parent_of

BLOCK = 4096

# An inode's number is its place in these.
_SLOT = 32
# The whole inode of the short form, which knows neither times nor large numbers, and of the long one.
_COMPACT = struct.Struct("<HHHHI4xIIHH4x")
_EXTENDED = struct.Struct("<HHHxxQIIIIqII16x")
_PLAIN, _INLINE = 0, 2
# Where a content without whole blocks would start.
_NO_BLOCK = 0xFFFFFFFF
# The type in an inode's mode, and in a directory's entry.
_TYPES: Mapping[Kind, tuple[int, int]] = {
    "file": (0o100000, 1),
    "directory": (0o040000, 2),
    "char": (0o020000, 3),
    "block": (0o060000, 4),
    "fifo": (0o010000, 5),
    "symlink": (0o120000, 7),
}
_DIRENT = struct.Struct("<QHBx")
_MOST_NAME_BYTES = 255
# The kernel's longest path, with the NUL behind it.
_MOST_TARGET_BYTES = 4095
_PREFIXES = (
    ("user.", 1),
    ("system.posix_acl_access", 2),
    ("system.posix_acl_default", 3),
    ("trusted.", 4),
    ("security.", 6),
)
# Magic number, checksum, the features checksum and "the times are mtimes", block size as a power of two, inodes, the
# time of short inodes, blocks, UUID, label.
_SUPERBLOCK = struct.Struct("<IIIBxHQQIIII16s16s48x")
_SUPERBLOCK_OFFSET = 1024
_MAGIC = 0xE0F5E1E2
_FEATURES = 3
_NANO = 1_000_000_000
_NO_ATTRIBUTES_SIZE = 12

# A name in a directory, and the number of its inode in the order of `FileSystem`.
_Name = tuple[bytes, int]


class _Inode(NamedTuple):
    """`position` is in bytes; `block` is the number of the first whole block, `blocks` how many there are."""

    entry: Entry
    links: int
    size: int
    attributes: bytes
    is_compact: bool
    is_inline: bool
    position: int
    block: int
    blocks: int

    @property
    def head(self) -> int:
        """The bytes before the tail."""
        return _head(self.is_compact, self.attributes)


class FileSystem:
    """A tree laid out: it has a root and every directory.

    `mtime` (nanoseconds) is the time whose inodes can be short. Raises RuleError for what has no place in EROFS.
    """

    def __init__(self, tree: Tree, *, mtime: int, label: str = "") -> None:
        self._mtime = mtime
        self._label = label.encode()
        own = [entry for entry in tree if entry.kind != "hardlink"]
        numbers = {entry.path: number for number, entry in enumerate(own)}
        self._names = _names(tree, numbers)
        links = _links(tree, numbers)
        self._inodes: list[_Inode] = []
        position, block = BLOCK, 0
        for number, entry in enumerate(own):
            size = self._size(number, entry)
            inode = _inode(entry, size, links=links[number], mtime=mtime, position=position, block=block)
            self._inodes.append(inode)
            position = _up(inode.position + inode.head + (size % BLOCK if inode.is_inline else 0), _SLOT)
            block += inode.blocks
        self._metadata_end = position
        self._first_block = _up(position, BLOCK) // BLOCK
        self.blocks = self._first_block + block
        if self.blocks > _NO_BLOCK:
            raise RuleError(f"{self.blocks * BLOCK} bytes, EROFS holds 16 TiB")

    def superblock(self, uuid: bytes) -> bytes:
        """The first block; `uuid` is sixteen bytes."""
        seconds, nanoseconds = divmod(self._mtime, _NANO)
        # The checksum is over the block from here on, itself being zero; it is not inverted at its end.
        fields = (_FEATURES, 12, BLOCK // _SLOT, len(self._inodes), seconds, nanoseconds, self.blocks)
        rest = (0, 0, uuid, self._label)
        content = _SUPERBLOCK.pack(_MAGIC, 0, *fields, *rest).ljust(BLOCK - _SUPERBLOCK_OFFSET, b"\0")
        checked = _SUPERBLOCK.pack(_MAGIC, crc32c(content) ^ 0xFFFFFFFF, *fields, *rest)
        return bytes(_SUPERBLOCK_OFFSET) + checked.ljust(len(content), b"\0")

    def pieces(self) -> Iterator[bytes | Slice]:
        """Everything behind the first block: bytes to take as they are, and slices between them."""
        position = BLOCK
        for number, inode in enumerate(self._inodes):
            yield bytes(inode.position - position) + self._header(number, inode) + inode.attributes
            position = inode.position + inode.head
            if inode.is_inline:
                yield from self._content(number, inode, inode.blocks * BLOCK, inode.size)
                position += inode.size % BLOCK
        yield bytes(self._first_block * BLOCK - position)
        for number, inode in enumerate(self._inodes):
            if inode.blocks:
                size = min(inode.size, inode.blocks * BLOCK)
                yield from self._content(number, inode, 0, size)
                yield bytes(-size % BLOCK)

    def _size(self, number: int, entry: Entry) -> int:
        if entry.kind == "directory":
            *whole, last = _directory_blocks(self._names[number])
            return len(whole) * BLOCK + sum(_DIRENT.size + len(name) for name, _ in last)
        if entry.kind == "symlink":
            return len(entry.target.encode("utf-8", "surrogateescape"))
        return entry.size

    def _content(self, number: int, inode: _Inode, start: int, end: int) -> Iterator[bytes | Slice]:
        """The bytes of a content from `start` to `end`."""
        content = inode.entry.content
        if content:
            yield Slice(content.blob, content.offset + start, end - start)
        elif inode.entry.kind == "symlink":
            yield inode.entry.target.encode("utf-8", "surrogateescape")[start:end]
        else:
            blocks = list(_directory_blocks(self._names[number]))
            for names in blocks[start // BLOCK : _up(end, BLOCK) // BLOCK]:
                content_of_block = self._directory_block(names)
                is_last = names is blocks[-1]
                yield content_of_block if is_last else content_of_block.ljust(BLOCK, b"\0")

    def _directory_block(self, names: Sequence[_Name]) -> bytes:
        """Places of the names first, then the names."""
        places = []
        offset = _DIRENT.size * len(names)
        for name, number in names:
            inode = self._inodes[number]
            places.append(_DIRENT.pack(inode.position // _SLOT, offset, _TYPES[inode.entry.kind][1]))
            offset += len(name)
        return b"".join([*places, *(name for name, _ in names)])

    def _header(self, number: int, inode: _Inode) -> bytes:
        entry = inode.entry
        layout = (_INLINE if inode.is_inline else _PLAIN) << 1
        # How many groups of four bytes, the first of them counting for the attributes' own header.
        attributes = (len(inode.attributes) - _NO_ATTRIBUTES_SIZE) // 4 + 1 if inode.attributes else 0
        mode = _TYPES[entry.kind][0] | entry.mode
        place = self._first_block + inode.block if inode.blocks else _NO_BLOCK
        if entry.kind in ("char", "block"):
            place = _device(entry)
        front = (attributes, mode)
        if inode.is_compact:
            owner = (entry.uid, entry.gid)
            return _COMPACT.pack(layout, *front, inode.links, inode.size, place, number + 1, *owner)
        seconds, nanoseconds = divmod(entry.mtime, _NANO)
        seconds = min(max(seconds, -1 << 63), (1 << 63) - 1)
        owner = (entry.uid, entry.gid)
        return _EXTENDED.pack(
            layout | 1, *front, inode.size, place, number + 1, *owner, seconds, nanoseconds, inode.links
        )


def has_place_for(attribute: str) -> bool:
    """Whether EROFS can name this extended attribute; others are left out."""
    return _prefix(attribute) is not None


def _inode(entry: Entry, size: int, *, links: int, mtime: int, position: int, block: int) -> _Inode:
    """An inode at `position` or behind it."""
    if max(entry.uid, entry.gid) >= 1 << 32:
        raise RuleError(f"expected owner and group of `{entry.path}` below {1 << 32}")
    if entry.kind == "symlink" and size > _MOST_TARGET_BYTES:
        raise RuleError(f"a symlink of {size} bytes, Linux reads {_MOST_TARGET_BYTES}: `{entry.path}`")
    attributes = _attributes(entry)
    is_compact = entry.mtime == mtime and max(entry.uid, entry.gid, links) < 1 << 16 and size < 1 << 32
    tail = size % BLOCK
    # A tail that does not fit behind its inode gets a block of its own.
    head = _head(is_compact, attributes)
    is_inline = tail > 0 and head + tail <= BLOCK
    room = BLOCK - position % BLOCK
    # At the start of a block there is nothing better to move to: attributes may run over its end.
    if room < BLOCK and head + (tail if is_inline else 0) > room:
        position += room
    blocks = size // BLOCK if is_inline else _up(size, BLOCK) // BLOCK
    return _Inode(entry, links, size, attributes, is_compact, is_inline, position, block, blocks)


def _head(is_compact: bool, attributes: bytes) -> int:
    return (_COMPACT.size if is_compact else _EXTENDED.size) + len(attributes)


def _names(tree: Tree, numbers: Mapping[str, int]) -> dict[int, list[_Name]]:
    """What each directory holds, itself and its parent among it, in the order of bytes."""
    names: dict[int, list[_Name]] = {}
    for entry in tree:
        if entry.kind == "directory":
            number = numbers[entry.path]
            names[number] = [(b".", number), (b"..", numbers[parent_of(entry.path)])]
        if not entry.path:
            continue
        name = entry.path.rpartition("/")[2].encode("utf-8", "surrogateescape")
        if len(name) > _MOST_NAME_BYTES:
            raise RuleError(f"a name of {len(name)} bytes, EROFS holds {_MOST_NAME_BYTES}: `{entry.path}`")
        shared = numbers[entry.target if entry.kind == "hardlink" else entry.path]
        names[numbers[parent_of(entry.path)]].append((name, shared))
    for found in names.values():
        found.sort()
    return names


def _links(tree: Tree, numbers: Mapping[str, int]) -> list[int]:
    """How many names each inode has; a directory also goes by `.`, and by `..` in those below it."""
    links = [0] * len(numbers)
    for entry in tree:
        links[numbers[entry.target if entry.kind == "hardlink" else entry.path]] += 1
        if entry.kind == "directory":
            links[numbers[entry.path]] += 1
            links[numbers[parent_of(entry.path)]] += bool(entry.path)
    return links


def _directory_blocks(names: Iterable[_Name]) -> Iterator[list[_Name]]:
    """The names that go into each block."""
    block: list[_Name] = []
    room = BLOCK
    for name in names:
        needed = _DIRENT.size + len(name[0])
        if needed > room:
            yield block
            block, room = [], BLOCK
        block.append(name)
        room -= needed
    yield block


def _attributes(entry: Entry) -> bytes:
    """The extended attributes with their header, nothing if there are none."""
    encoded = b"".join(_attribute(entry.path, *attribute) for attribute in entry.xattrs)
    # Their number of groups of four bytes is one of sixteen bits.
    if len(encoded) // 4 >= (1 << 16) - 1:
        raise RuleError(f"{len(encoded)} bytes of extended attributes, EROFS holds 256 KiB: `{entry.path}`")
    return bytes(_NO_ATTRIBUTES_SIZE) + encoded if encoded else b""


def _attribute(path: str, name: str, value: bytes) -> bytes:
    prefix = _prefix(name)
    if prefix is None:
        return b""
    rest = name[len(prefix[0]) :].encode("utf-8", "surrogateescape")
    if len(rest) > _MOST_NAME_BYTES or len(value) >= 1 << 16:
        raise RuleError(f"extended attribute `{name[:60]}` of `{path}` is too large for EROFS")
    content = struct.pack("<BBH", len(rest), prefix[1], len(value)) + rest + value
    return content + bytes(-len(content) % 4)


def _prefix(attribute: str) -> tuple[str, int] | None:
    for prefix, index in _PREFIXES:
        if attribute == prefix or (prefix.endswith(".") and attribute.startswith(prefix)):
            return prefix, index
    return None


def _device(entry: Entry) -> int:
    """As the kernel's new_encode_dev writes device numbers."""
    major, minor = entry.device
    if major >= 1 << 12 or minor >= 1 << 20:
        raise RuleError(f"device {major}:{minor}, Linux knows 4095:1048575: `{entry.path}`")
    return minor & 0xFF | major << 8 | (minor & ~0xFF) << 12


def _up(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment
