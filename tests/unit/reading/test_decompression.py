from __future__ import annotations

import gzip
import lzma
import random
import zlib
from collections.abc import Callable

import pytest
import zstandard

from kitbuild.errors import KitbuildError
from kitbuild.reading.decompression import Decompressed, block_decompressor, compression_of
from kitbuild.reading.window import BytesWindow

CONTENT = random.Random(1).randbytes(300_000) + bytes(3_000_000) + b"the end " * 40_000
COMPRESSED = {
    "gzip": gzip.compress(CONTENT, 1, mtime=0),
    "zstd": zstandard.compress(CONTENT),
    "xz": lzma.compress(CONTENT, preset=0),
    "lzma": lzma.compress(CONTENT, lzma.FORMAT_ALONE, preset=0),
}


@pytest.mark.parametrize("compression", COMPRESSED)
def test_stream_is_read_anywhere_in_any_order(compression: str) -> None:
    stored = COMPRESSED[compression]
    window = Decompressed(BytesWindow("file", b"???" + stored), 3, compression)
    order = random.Random(2)

    for _ in range(30):
        place, size = order.randrange(len(CONTENT) + 10), order.randrange(70_000)
        assert CONTENT[place : place + size] == window.read(place, size)

    assert len(CONTENT) == window.size
    assert compression == compression_of(stored)


@pytest.mark.parametrize("compression", ["gzip", "zstd", "xz"])
def test_end_of_a_stream_is_where_the_next_begins(compression: str) -> None:
    stored = COMPRESSED[compression]
    window = Decompressed(BytesWindow("file", stored + b"next"), 0, compression)

    assert len(stored) == window.end()
    assert CONTENT[-8:] == window.read(len(CONTENT) - 8, 99)


@pytest.mark.parametrize("compression", COMPRESSED)
@pytest.mark.parametrize("change", ["cut", "flipped", "at once"])
def test_damaged_stream_is_an_error(compression: str, change: str) -> None:
    stored = bytearray(COMPRESSED[compression])
    if change == "cut":
        del stored[len(stored) // 2 :]
    elif change == "at once":
        del stored[7:]
    else:
        stored[14:200] = bytes(186)
    window = Decompressed(BytesWindow("file", bytes(stored)), 0, compression)

    with pytest.raises(KitbuildError, match="`file`: byte"):
        assert window.read(0, len(CONTENT)) != CONTENT
        window.end()
        # Not all formats have a checksum; then it is at least no trace.
        raise KitbuildError("`file`: byte 0: no checksum")


def test_block_gives_at_most_what_it_may() -> None:
    for compression, stored in {
        "gzip": zlib.compress(bytes(10_000_000)),
        "zstd": zstandard.compress(bytes(10_000_000)),
        "xz": lzma.compress(bytes(10_000_000)),
    }.items():
        made = block_decompressor(compression, BytesWindow("file", b""))(stored, 8192)
        assert bytes(8192) == made, compression


def test_lz4_block_is_read() -> None:
    decompress = block_decompressor("lz4", BytesWindow("file", b""))

    # Three literals, a match that overlaps itself, then literals to the end.
    assert b"abcabcabcabcabcXYZ12" == decompress(b"\x38abc\x03\x00" + b"\x50XYZ12", 100)


@pytest.mark.parametrize(
    "block",
    [
        b"\x38abc\x04\x00",
        b"\xf0\xff\xff",
        b"\x30ab",
        b"\x3fabc\x03\x00\xff\xff\xff\x00\x10a",
        b"\x08\x00\x00",
    ],
)
def test_damaged_lz4_block_is_an_error(block: bytes) -> None:
    with pytest.raises(ValueError):
        block_decompressor("lz4", BytesWindow("file", b""))(block, 100)


@pytest.mark.parametrize("compression", ["gzip", "zstd", "xz"])
@pytest.mark.parametrize("rest", [b"", bytes(512), b"next"])
def test_streams_behind_each_other_are_one_if_they_are_joined(compression: str, rest: bytes) -> None:
    packs: dict[str, Callable[[bytes], bytes]]
    packs = {"gzip": gzip.compress, "zstd": zstandard.compress, "xz": lzma.compress}
    pieces = [CONTENT[:10], b"", CONTENT[10:300_000], CONTENT[300_000:]]
    stored = b"".join(map(packs[compression], pieces))
    window = Decompressed(BytesWindow("file", stored + rest), 0, compression, joins=True)

    assert CONTENT[:20] == window.read(0, 20)
    assert CONTENT[299_990:300_010] == window.read(299_990, 20)
    assert (len(CONTENT), len(stored)) == (window.size, window.end())
    assert CONTENT[5:15] == window.read(5, 10)
