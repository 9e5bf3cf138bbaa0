"""A gzip file whose payload stays where it is. Source: RFC 1952.

    header | deflate blocks: stored slices that do not shrink, compressed ones, zeros | last block | CRC, size

Every byte of payload is read once, for the CRC; zeros are not.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from kitbuild.extents import Extents, Slice
from kitbuild.rules.layout import deflate as blocks
from kitbuild.rules.layout.crc import crc32_after_zeros
from kitbuild.rules.layout.deflate import Chunk, Deflate

# No name, no time, system unknown.
_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
# What a compressor gets at once, and what is stored or not as a whole: larger than a deflate window.
_CHUNK_BYTES = 1 << 17


def pieces(file: Extents, *, deflate: Deflate, read: Callable[[Slice], bytes]) -> Iterator[bytes | Slice]:
    """The gzip file of `file`: bytes to take as they are, slices between."""
    yield _HEADER
    crc, position = 0, 0
    for group in blocks.chunks(file, _CHUNK_BYTES, deflate=deflate, read=read):
        for chunk in group:
            start = chunk.number * _CHUNK_BYTES
            if start > position:
                yield from blocks.zeros(start - position)
                crc = crc32_after_zeros(crc, start - position)
            content = blocks.content(chunk, read)
            crc = deflate.crc32(content, crc)
            yield from _stored(chunk) if chunk.is_stored else [deflate.blocks(content)]
            position = start + len(content)
    if file.size > position:
        yield from blocks.zeros(file.size - position)
        crc = crc32_after_zeros(crc, file.size - position)
    yield blocks.END + struct.pack("<II", crc, file.size & 0xFFFFFFFF)


def _stored(chunk: Chunk) -> Iterator[bytes | Slice]:
    for block in chunk.content.chunks(blocks.STORED_BYTES):
        (part,) = block.parts
        assert isinstance(part, Slice)
        yield blocks.stored(part.size)
        yield part
