"""Metadata blocks: 8 KiB each before they are compressed, one after another, each after two bytes that say its size.

Source: squashfs.rst, 3.2 "Inodes"; format.adoc, "Packing Metadata" and "Storing Lookup Tables".
"""

from __future__ import annotations

import struct
from collections.abc import Callable

Compress = Callable[[bytes], bytes]

BLOCK = 8192
# The bit of a metadata block's size that says it is stored as it is.
_STORED = 0x8000


class Metadata:
    """Metadata blocks in the making; without `compress` they are stored as they are."""

    def __init__(self, compress: Compress | None) -> None:
        self._compress = compress
        self._blocks = bytearray()
        self._pending = bytearray()

    @property
    def place(self) -> tuple[int, int]:
        """Where the next byte goes: the start of its block in the table, and the offset in that block's content."""
        return len(self._blocks), len(self._pending)

    @property
    def reference(self) -> int:
        """The place as one number, as inodes and attributes are referred to."""
        start, offset = self.place
        return start << 16 | offset

    def append(self, content: bytes) -> None:
        """Takes more content, which may run over the ends of blocks."""
        self._pending += content
        while len(self._pending) >= BLOCK:
            self._blocks += _block(bytes(self._pending[:BLOCK]), self._compress)
            del self._pending[:BLOCK]

    def finish(self) -> bytes:
        """All blocks; the last one may be shorter."""
        if self._pending:
            self._blocks += _block(bytes(self._pending), self._compress)
            self._pending.clear()
        return bytes(self._blocks)


def lookup_table(
    content: bytes, position: int, compress: Compress | None, head: bytes = b""
) -> tuple[bytes, int]:
    """A table of numbers at `position` of the image: its blocks, then `head` and the position of every block.

    Gives the bytes and the position of the part behind the blocks, which is what the superblock names.
    """
    blocks = bytearray()
    positions = []
    for offset in range(0, len(content), BLOCK):
        positions.append(position + len(blocks))
        blocks += _block(content[offset : offset + BLOCK], compress)
    return bytes(blocks) + head + struct.pack(f"<{len(positions)}Q", *positions), position + len(blocks)


def _block(content: bytes, compress: Compress | None) -> bytes:
    compressed = compress(content) if compress else content
    if len(compressed) < len(content):
        return struct.pack("<H", len(compressed)) + compressed
    return struct.pack("<H", len(content) | _STORED) + content
