"""Reads EROFS images by the specification, and stops at whatever breaks its rules.

Source: kernel Documentation/filesystems/erofs.rst and fs/erofs/erofs_fs.h.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

_BLOCK = 4096
_KINDS = {1: "fifo", 2: "char", 4: "directory", 6: "block", 8: "file", 10: "symlink"}
_DIRENT_TYPES = {1: "file", 2: "directory", 3: "char", 4: "block", 5: "fifo", 7: "symlink"}
_PREFIXES = {
    1: "user.",
    2: "system.posix_acl_access",
    3: "system.posix_acl_default",
    4: "trusted.",
    6: "security.",
}


class Found(NamedTuple):
    """One name in an image; names of one file have the same `number`."""

    number: int
    kind: str
    mode: int
    uid: int
    gid: int
    mtime: int
    links: int
    content: bytes
    device: tuple[int, int]
    xattrs: dict[str, bytes]
    is_compact: bool


class Image:
    """An image and its superblock's fields."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        fields = struct.unpack_from("<IIIBBHQQIIII16s16sI", content, 1024)
        magic, checksum, features, block_bits, slots, self.root, self.inodes = fields[:7]
        self.seconds, self.nanoseconds, self.blocks, self._first_block, _, self.uuid, label, needs = fields[
            7:
        ]
        self.label = label.rstrip(b"\0").decode()
        assert (0xE0F5E1E2, 3, 12, 0, 0) == (magic, features, block_bits, slots, needs)
        assert checksum == _checksum(content[1024:1028] + bytes(4) + content[1032:_BLOCK])
        assert self.blocks * _BLOCK == len(content)

    def entries(self) -> dict[str, Found]:
        """Everything in it by path, the root's path being empty."""
        found = dict(self._walk("", self.root, self.root))
        assert self.inodes == len({entry.number for entry in found.values()})
        return found

    def _walk(self, path: str, number: int, parent: int) -> Iterator[tuple[str, Found]]:
        found = self._inode(number)
        yield path, found
        if found.kind != "directory":
            return
        names = dict(_names(found.content))
        assert (number, "directory") == names.pop(b".")
        assert (parent, "directory") == names.pop(b"..")
        for name, (child, kind) in names.items():
            text = name.decode("utf-8", "surrogateescape")
            for below, entry in self._walk(f"{path}/{text}".lstrip("/"), child, number):
                assert kind == entry.kind or below != f"{path}/{text}".lstrip("/")
                yield below, entry

    def _inode(self, number: int) -> Found:
        start = self._first_block * _BLOCK + number * 32
        layout, attribute_groups, mode = struct.unpack_from("<HHH", self._content, start)
        is_compact = not layout & 1
        if is_compact:
            links, size, place, _, uid, gid = struct.unpack_from("<HI4xIIHH", self._content, start + 6)
            seconds, nanoseconds, end = self.seconds, self.nanoseconds, start + 32
        else:
            fields = struct.unpack_from("<xxQIIIIqII", self._content, start + 6)
            size, place, _, uid, gid, seconds, nanoseconds, links = fields
            end = start + 64
        assert start // _BLOCK == (end - 1) // _BLOCK
        attributes = 12 + 4 * (attribute_groups - 1) if attribute_groups else 0
        kind = _KINDS[mode >> 12]
        content, device = b"", (0, 0)
        if kind in ("file", "directory", "symlink"):
            content = self._data(layout >> 1, place, size, tail=end + attributes)
        elif kind != "fifo":
            device = (place >> 8 & 0xFFF, place & 0xFF | place >> 12 & 0xFFF00)
        xattrs = dict(_attributes(self._content[end : end + attributes]))
        mtime = seconds * 1_000_000_000 + nanoseconds
        return Found(number, kind, mode & 0o7777, uid, gid, mtime, links, content, device, xattrs, is_compact)

    def _data(self, layout: int, block: int, size: int, *, tail: int) -> bytes:
        assert layout in (0, 2)
        whole = size // _BLOCK * _BLOCK if layout == 2 else size
        content = self._content[block * _BLOCK :][:whole] if whole else b""
        if layout == 2:
            assert 0 < size % _BLOCK <= _BLOCK - tail % _BLOCK
            content += self._content[tail : tail + size % _BLOCK]
        assert size == len(content)
        return content


def _names(directory: bytes) -> Iterator[tuple[bytes, tuple[int, str]]]:
    last = b""
    for start in range(0, len(directory), _BLOCK):
        block = directory[start : start + _BLOCK]
        count = struct.unpack_from("<H", block, 8)[0] // 12
        places: list[Any] = [struct.unpack_from("<QHBx", block, 12 * index) for index in range(count)]
        ends = [offset for _, offset, _ in places[1:]] + [len(block)]
        for (number, offset, kind), end in zip(places, ends, strict=True):
            name = block[offset:end].rstrip(b"\0")
            assert last < name
            last = name
            yield name, (number, _DIRENT_TYPES[kind])


def _attributes(body: bytes) -> Iterator[tuple[str, bytes]]:
    offset = 12
    while offset < len(body):
        length, prefix, size = struct.unpack_from("<BBH", body, offset)
        start = offset + 4
        name = body[start : start + length].decode("utf-8", "surrogateescape")
        yield _PREFIXES[prefix] + name, body[start + length : start + length + size]
        offset = -(-(start + length + size) // 4) * 4


def _checksum(content: bytes) -> int:
    """CRC-32C from its definition, bit by bit, without the last inversion."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc
