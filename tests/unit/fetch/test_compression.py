"""Streams of layers: gzip, zstd, plain; whole, in members, broken."""

from __future__ import annotations

import gzip
import os
import tracemalloc
from collections.abc import Iterator

import pytest
import zstandard
from hypothesis import assume, given
from hypothesis import strategies as st

from kitbuild.errors import ImageError
from kitbuild.rules.fetch.compression import decompressed
from tests.support.images import compressed

CONTENT = bytes(range(256)) * 1000
ZSTD = zstandard.ZstdCompressor(level=1)
SKIPPABLE = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"skip"


def pieces(content: bytes, size: int) -> Iterator[bytes]:
    return (content[start : start + size] for start in range(0, len(content), size))


def plain_of(content: bytes, size: int = 1 << 20) -> bytes:
    return b"".join(decompressed(pieces(content, size), "some/type"))


STREAMS = [
    pytest.param(CONTENT, id="plain"),
    pytest.param(gzip.compress(CONTENT), id="gzip"),
    pytest.param(gzip.compress(CONTENT[:5]) + gzip.compress(CONTENT[5:]), id="gzip members"),
    pytest.param(gzip.compress(CONTENT) + gzip.compress(b""), id="gzip with an empty member"),
    pytest.param(gzip.compress(CONTENT) + bytes(5000), id="gzip padded"),
    pytest.param(
        gzip.compress(CONTENT[:9]) + bytes(7) + gzip.compress(CONTENT[9:]), id="gzip members with padding"
    ),
    pytest.param(ZSTD.compress(CONTENT), id="zstd"),
    pytest.param(ZSTD.compress(CONTENT[:7]) + ZSTD.compress(CONTENT[7:]), id="zstd frames"),
    pytest.param(ZSTD.compress(CONTENT) + SKIPPABLE, id="zstd with a skippable frame"),
    pytest.param(SKIPPABLE + ZSTD.compress(CONTENT), id="zstd after a skippable frame"),
]


@pytest.mark.parametrize("size", [1, 3, 4096, 1 << 20])
@pytest.mark.parametrize("stream", STREAMS)
def test_streams_become_plain_however_they_are_cut(stream: bytes, size: int) -> None:
    assert plain_of(stream, size) == CONTENT


@pytest.mark.parametrize("compression", ["gzip", "zstd", "plain"])
def test_nothing_stays_nothing(compression: str) -> None:
    assert plain_of(compressed(b"", compression)) == b""  # type: ignore[arg-type]


@given(st.binary(max_size=10), st.integers(1, 12))
def test_short_plain_streams_pass_unchanged(content: bytes, size: int) -> None:
    assume(not content.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd")) and content[1:4] != b"\x2a\x4d\x18")

    assert plain_of(content, size) == content


@pytest.mark.parametrize("cut", [3, 9, 50, -1, -9])
@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(gzip.compress(CONTENT), id="gzip"),
        pytest.param(gzip.compress(CONTENT) + gzip.compress(CONTENT), id="gzip members"),
    ],
)
def test_a_gzip_stream_that_is_cut_off_is_an_error(stream: bytes, cut: int) -> None:
    with pytest.raises(ImageError, match="ends in the middle of its gzip stream"):
        plain_of(stream[:cut])


@pytest.mark.parametrize("cut", [4, 5, 9, 50, -1])
def test_a_zstd_stream_that_is_cut_off_is_an_error(cut: int) -> None:
    stream = ZSTD.compress(os.urandom(10_000))

    with pytest.raises(ImageError, match="ends in the middle of its zstd stream"):
        plain_of(stream[:cut])


def test_a_zstd_stream_cut_off_in_its_second_frame_is_an_error() -> None:
    frame = ZSTD.compress(CONTENT)

    with pytest.raises(ImageError, match="ends in the middle of its zstd stream"):
        plain_of(frame + frame[:-3])


def test_a_changed_byte_of_gzip_is_an_error() -> None:
    stream = bytearray(gzip.compress(CONTENT))
    stream[-6] ^= 1  # in the checksum

    with pytest.raises(ImageError, match=r"broken gzip \(some/type\)"):
        plain_of(bytes(stream))


def test_a_changed_byte_of_zstd_is_an_error() -> None:
    stream = bytearray(zstandard.ZstdCompressor(write_checksum=True).compress(CONTENT))
    stream[-1] ^= 1

    with pytest.raises(ImageError, match=r"broken zstd \(some/type\)"):
        plain_of(bytes(stream))


def test_something_else_after_gzip_is_an_error() -> None:
    with pytest.raises(ImageError, match="expected a gzip member or the end"):
        plain_of(gzip.compress(CONTENT) + b"\0\0more")


def test_something_else_after_zstd_is_an_error() -> None:
    with pytest.raises(ImageError, match="broken zstd"):
        plain_of(ZSTD.compress(CONTENT) + b"more of it")


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_pieces_stay_small_however_much_comes_out(compression: str) -> None:
    stream = compressed(bytes(40 << 20), compression)  # type: ignore[arg-type]

    sizes = [len(piece) for piece in decompressed([stream], "x")]

    assert sum(sizes) == 40 << 20
    assert max(sizes) <= 1 << 20


def test_a_zstd_bomb_takes_bounded_memory() -> None:
    compressor = ZSTD.compressobj()
    bomb = b"".join(compressor.compress(bytes(1 << 20)) for _ in range(400)) + compressor.flush()
    tracemalloc.start()

    try:
        first = next(iter(decompressed([bomb], "x")))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert len(first) == 1 << 20
    assert peak < 300 << 20  # of 400 MiB, and far less than that of a larger one
