"""Deflate without a compressor: stored blocks, runs of zeros; and which content is worth one.

Every function gives whole blocks that end on a byte, none of them the last one: they can follow each other and what
a compressor flushed. Source: RFC 1951.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby
from typing import NamedTuple

from kitbuild.extents import Extents, Literal, Slice

# The most a stored block can hold.
STORED_BYTES = 0xFFFF
# An empty stored block that is the last one: what ends a stream of blocks.
END = b"\x01\x00\x00\xff\xff"
_EMPTY = b"\x00\x00\xff\xff"
# Zeros of which one call makes blocks: a thousandth of it is their length.
_ZEROS_BYTES = 1 << 30
_MATCH_BYTES = 258
# Chunks of payload among which one is tried for all.
_TRIED_CHUNKS = 64
# What payload must lose at least to be worth a compressor's time: a sixteenth.
_WORTH = 16


class Deflate(NamedTuple):
    """The compressor behind a layout and the checksums of its kind, of bytes at hand.

    `blocks` gives what the functions of this module give; the checksums are CRC-32 and Adler-32, each continued
    from the one given.
    """

    blocks: Callable[[bytes], bytes]
    crc32: Callable[[bytes, int], int]
    adler32: Callable[[bytes], int]


class Chunk(NamedTuple):
    """A piece of a file: its number, its content, and whether it is better stored than compressed.

    What is to be stored is one slice and nothing else.
    """

    number: int
    content: Extents
    is_stored: bool


def chunks(
    file: Extents, size: int, *, deflate: Deflate, read: Callable[[Slice], bytes]
) -> Iterator[list[Chunk]]:
    """The chunks of `size` bytes that hold anything but zeros, in order, in groups of at most 64 that touch.

    Of a blob that fills chunks one in 64 is tried: payload is mostly compressed before it gets here, and trying
    every piece would take longer than all the rest.
    """
    for used in file.used(size):
        start = used.start * size
        pieces = file.cut(start, min(used.stop * size, file.size) - start).chunks(size)
        numbered = zip(used, pieces, strict=True)
        for _, group in groupby(numbered, lambda pair: (_blob(pair[1], size), pair[0] // _TRIED_CHUNKS)):
            alike = list(group)
            tried = alike[len(alike) // 2][1]
            is_stored = _blob(tried, size) is not None and not _is_worth(tried, deflate, read)
            yield [Chunk(number, content, is_stored) for number, content in alike]


def _blob(content: Extents, size: int) -> object:
    first = content.parts[0]
    return first.blob if isinstance(first, Slice) and first.size == size else None


def _is_worth(content: Extents, deflate: Deflate, read: Callable[[Slice], bytes]) -> bool:
    (part,) = content.parts
    assert isinstance(part, Slice)
    return len(deflate.blocks(read(part))) < part.size - part.size // _WORTH


def content(chunk: Chunk, read: Callable[[Slice], bytes]) -> bytes:
    """The bytes of a chunk."""
    return b"".join(
        read(part)
        if isinstance(part, Slice)
        else part.content
        if isinstance(part, Literal)
        else bytes(part.size)
        for part in chunk.content.parts
    )


def stored(size: int) -> bytes:
    """What stands before `size` bytes, at most STORED_BYTES, that are stored as they are."""
    return b"\0" + size.to_bytes(2, "little") + (size ^ 0xFFFF).to_bytes(2, "little")


def zeros(size: int) -> Iterator[bytes]:
    """`size` zero bytes, a thousand of them a byte."""
    for offset in range(0, size, _ZEROS_BYTES):
        yield _zeros(min(_ZEROS_BYTES, size - offset))


def _zeros(size: int) -> bytes:
    """One block whose codes are a 0 for a match of 258 bytes, a 0 for the distance 1, `10` for a zero byte.

    So that all matches together are zero bits, four of them a byte.
    """
    matches, rest = divmod(size - 1, _MATCH_BYTES)
    before = _tables() + "10"
    after = "10" * rest + "11" + "000"
    bits = len(before) + 2 * matches
    block = bytearray(-(-(bits + len(after)) // 8))
    for offset, text in ((0, before), (bits, after)):
        for place, bit in enumerate(text, offset):
            if bit == "1":
                block[place // 8] |= 1 << place % 8
    return bytes(block) + _EMPTY


def _tables() -> str:
    """Header and code lengths of that block, as bits in their order: RFC 1951 section 3.2.7."""
    # Lengths of the codes for lengths, in their strange order: 1 for `18`, 2 for `2` and for `1`.
    lengths = {2: 1, 15: 2, 17: 2}
    header = "0" + _number(2, 2) + _number(286 - 257, 5) + _number(2 - 1, 5) + _number(18 - 4, 4)
    header += "".join(_number(lengths.get(place, 0), 3) for place in range(18))
    one, two = "10", "11"

    def absent(count: int) -> str:
        return "0" + _number(count - 11, 7)

    # Literal 0, then none until the end of block (256), then none until the longest match (285); two distances.
    return header + two + absent(138) + absent(117) + two + absent(28) + one + one + one


def _number(value: int, bits: int) -> str:
    return f"{value:0{bits}b}"[::-1]
