"""Reads a squashfs image the way a kernel does, from the format's description, and checks what a kernel checks.

image = Squashfs(content)
image.entries["etc/hosts"].content
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

NOTHING = 0xFFFFFFFF
NO_TABLE = (1 << 64) - 1
PREFIXES = {0: "user.", 1: "trusted.", 2: "security."}
KINDS = ["", "directory", "file", "symlink", "block", "char", "fifo", "socket"]


class Found(NamedTuple):
    """One name; `number` is that of its inode, `type` the inode's type (from 8 on: extended)."""

    kind: str
    mode: int
    uid: int
    gid: int
    mtime: int
    number: int
    type: int
    links: int = 1
    content: bytes = b""
    target: str = ""
    device: tuple[int, int] = (0, 0)
    xattrs: tuple[tuple[str, bytes], ...] = ()
    sparse: int = 0
    fragment: int = NOTHING
    places: int = 0


class Squashfs:
    """An image; `entries` by path, the root as the empty one."""

    def __init__(self, image: bytes) -> None:
        self.image = image
        (magic, self.inodes, self.mtime, self.block, self.fragments, self.compression, log) = struct.unpack(
            "<4sIIIIHH", image[:24]
        )
        self.flags, self.ids, major, minor, self.root, self.used = struct.unpack("<HHHHQQ", image[24:48])
        starts = struct.unpack("<6Q", image[48:96])
        self.id_start, self.xattr_start, self.inode_start, self.directory_start = starts[:4]
        self.fragment_start, self.export_start = starts[4:]
        assert magic == b"hsqs"
        assert (major, minor) == (4, 0)
        assert self.block == 1 << log
        assert len(image) % 4096 == 0
        assert image[self.used :] == bytes(len(image) - self.used)
        assert len(image) - self.used < 4096
        self._expand = self._decompressor()
        self._cache: dict[int, tuple[bytes, int]] = {}
        self._read_tables()
        self.entries: dict[str, Found] = {}
        self._walk("", self.root, 0)
        numbers = {found.number for found in self.entries.values()}
        assert numbers == set(range(1, self.inodes + 1))

    def _decompressor(self) -> Callable[[bytes], bytes]:
        if self.compression == 1:
            return zlib.decompress
        assert self.compression == 6
        import zstandard

        return zstandard.ZstdDecompressor().decompress

    # -- metadata

    def _metadata(self, position: int) -> tuple[bytes, int]:
        """The content of the block at a position of the image, and where the next one starts."""
        if position not in self._cache:
            (head,) = struct.unpack_from("<H", self.image, position)
            size = head & 0x7FFF
            raw = self.image[position + 2 : position + 2 + size]
            assert len(raw) == size
            content = raw if head & 0x8000 else self._expand(raw)
            assert 0 < len(content) <= 8192
            self._cache[position] = content, position + 2 + size
        return self._cache[position]

    def _read(self, position: int, offset: int, size: int) -> tuple[bytes, int, int]:
        """Bytes that may run over blocks, and where what follows them is."""
        found = b""
        while len(found) < size:
            content, after = self._metadata(position)
            piece = content[offset : offset + size - len(found)]
            assert piece, "a table that ends too soon"
            found += piece
            offset += len(piece)
            if offset == 8192:
                position, offset = after, 0
        return found, position, offset

    def _table(
        self, start: int, count: int, width: int, *, end: int, head: int = 0
    ) -> tuple[list[bytes], int]:
        """The entries of a lookup table and its first block; its index, after `head`, is from `start` to `end`."""
        blocks = -(-count * width // 8192)
        assert start + head + 8 * blocks == end, "the kernel wants tables without gaps"
        positions = struct.unpack_from(f"<{blocks}Q", self.image, start + head)
        content = b""
        for index, position in enumerate(positions):
            block, after = self._metadata(position)
            content += block
            assert after == (positions[index + 1] if index + 1 < blocks else start)
        assert len(content) == count * width
        return [content[at : at + width] for at in range(0, len(content), width)], positions[0]

    def _read_tables(self) -> None:
        end = self.used
        self._xattr_lists: list[tuple[tuple[str, bytes], ...]] = []
        if self.xattr_start != NO_TABLE:
            lists, count, _ = struct.unpack_from("<QII", self.image, self.xattr_start)
            assert count
            table, _ = self._table(self.xattr_start, count, 16, end=end, head=16)
            end = lists
            self._xattr_lists = [self._xattrs(lists, *struct.unpack("<QII", entry)) for entry in table]
        ids, end = self._table(self.id_start, self.ids, 4, end=end)
        self._ids = [struct.unpack("<I", entry)[0] for entry in ids]
        references, end = self._table(self.export_start, self.inodes, 8, end=end)
        self._references = [struct.unpack("<Q", entry)[0] for entry in references]
        self._fragments: list[tuple[int, int]] = []
        if self.fragments:
            fragments, end = self._table(self.fragment_start, self.fragments, 16, end=end)
            self._fragments = [struct.unpack("<QII", entry)[:2] for entry in fragments]
        else:
            assert self.fragment_start == NO_TABLE
        assert self.inode_start < self.directory_start <= end
        self._check_chain(self.inode_start, self.directory_start)
        self._check_chain(self.directory_start, end)

    def _check_chain(self, position: int, end: int) -> None:
        while position < end:
            content, position = self._metadata(position)
            assert len(content) == 8192 or position == end
        assert position == end

    def _xattrs(self, lists: int, reference: int, count: int, size: int) -> tuple[tuple[str, bytes], ...]:
        position, offset = lists + (reference >> 16), reference & 0xFFFF
        pairs, total = [], 0
        for _ in range(count):
            head, position, offset = self._read(position, offset, 4)
            kind, length = struct.unpack("<HH", head)
            name, position, offset = self._read(position, offset, length)
            head, position, offset = self._read(position, offset, 4)
            (value_size,) = struct.unpack("<I", head)
            value, position, offset = self._read(position, offset, value_size)
            pairs.append((PREFIXES[kind] + name.decode("utf-8", "surrogateescape"), value))
            total += 8 + length + value_size
        assert total == size
        return tuple(pairs)

    # -- inodes

    def _walk(self, path: str, reference: int, parent: int) -> None:
        position, offset = self.inode_start + (reference >> 16), reference & 0xFFFF
        head, position, offset = self._read(position, offset, 16)
        kind, mode, uid, gid, mtime, number = struct.unpack("<HHHHII", head)
        assert self._references[number - 1] == reference
        basic = kind - 7 if kind > 7 else kind
        found = Found(KINDS[basic], mode, self._ids[uid], self._ids[gid], mtime, number, kind)

        def take(layout: str) -> tuple[Any, ...]:
            nonlocal position, offset
            content, position, offset = self._read(position, offset, struct.calcsize(layout))
            return struct.unpack(layout, content)

        xattr = NOTHING
        if basic == 1:
            found, xattr = self._directory(path, found, parent, take)
        elif basic == 2:
            found, xattr = self._file(found, take)
        elif basic == 3:
            links, size = take("<II")
            (target,) = take(f"{size}s")
            found = found._replace(links=links, target=target.decode("utf-8", "surrogateescape"))
        elif basic in (4, 5):
            links, device = take("<II")
            numbers = (device >> 8 & 0xFFF, device & 0xFF | device >> 12 & 0xFFF00)
            found = found._replace(links=links, device=numbers)
        else:
            (links,) = take("<I")
            found = found._replace(links=links)
        if kind > 9:
            (xattr,) = take("<I")
        if xattr != NOTHING:
            found = found._replace(xattrs=self._xattr_lists[xattr])
        assert path not in self.entries
        self.entries[path] = found

    def _file(self, found: Found, take: Callable[[str], tuple[Any, ...]]) -> tuple[Found, int]:
        sparse, links, xattr = 0, 1, NOTHING
        if found.type == 2:
            start, fragment, offset, size = take("<IIII")
        else:
            start, size, sparse, links, fragment, offset, xattr = take("<QQQIIII")
        blocks = size // self.block if fragment != NOTHING else -(-size // self.block)
        content = b""
        for word in take(f"<{blocks}I"):
            length = min(self.block, size - len(content))
            content += self._data(start, word, length)
            start += word & 0xFFFFFF
            assert start <= self.inode_start
        if fragment != NOTHING:
            assert size % self.block, "the kernel refuses a fragment for whole blocks"
            where, word = self._fragments[fragment]
            whole = self._data(where, word, None)
            content += whole[offset : offset + size % self.block]
        assert len(content) == size
        return found._replace(content=content, sparse=sparse, links=links, fragment=fragment), xattr

    def _data(self, position: int, word: int, size: int | None) -> bytes:
        if not word:
            assert size is not None
            return bytes(size)
        raw = self.image[position : position + (word & 0xFFFFFF)]
        content = raw if word & 1 << 24 else self._expand(raw)
        assert size is None or len(content) == size
        assert len(content) <= self.block
        return content

    def _directory(
        self, path: str, found: Found, parent: int, take: Callable[[str], tuple[Any, ...]]
    ) -> tuple[Found, int]:
        places, xattr = [], NOTHING
        if found.type == 1:
            start, links, size, offset, above = take("<IIHHI")
        else:
            links, size, start, above, count, offset, xattr = take("<IIIIHHI")
            for _ in range(count):
                position, block, length = take("<III")
                places.append((position, block, take(f"{length + 1}s")[0]))
        assert above == parent
        listing, _, _ = self._read(self.directory_start + start, offset, size - 3)
        names, heads = self._names(listing)
        assert sorted({name for name, _, _ in names}) == [name for name, _, _ in names]
        for position, block, first in places:
            assert heads[position] == first
            within = (offset + position) % 8192
            again, _, _ = self._read(self.directory_start + block, within, 12)
            assert again == listing[position : position + 12]
        for name, reference, basic in names:
            child = f"{path}/" * bool(path) + name.decode("utf-8", "surrogateescape")
            self._walk(child, reference, found.number)
            assert KINDS[basic] == self.entries[child].kind
        directories = sum(basic == 1 for _, _, basic in names)
        assert links == 2 + directories
        return found._replace(links=links, places=len(places)), xattr

    def _names(self, listing: bytes) -> tuple[list[tuple[bytes, int, int]], dict[int, bytes]]:
        """Names with reference and type, and the first name of the run at each position."""
        names: list[tuple[bytes, int, int]] = []
        heads: dict[int, bytes] = {}
        at = 0
        while at < len(listing):
            run = at
            count, start, number = struct.unpack_from("<III", listing, at)
            assert count < 256
            at += 12
            for _ in range(count + 1):
                offset, delta, kind, length = struct.unpack_from("<HhHH", listing, at)
                name = listing[at + 8 : at + 9 + length]
                at += 9 + length
                heads.setdefault(run, name)
                reference = start << 16 | offset
                assert self._references[number + delta - 1] == reference
                names.append((name, reference, kind))
        assert at == len(listing)
        return names, heads
