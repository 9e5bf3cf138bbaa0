"""Deflate blocks made without a compressor, and gzip files of them, read back by zlib."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from hashlib import sha256

import pytest
from hypothesis import HealthCheck, given, settings

from kitbuild.digest import Digest
from kitbuild.extents import Extents, Literal, Slice, Zeros
from kitbuild.rules.format.compression import deflate as isal
from kitbuild.rules.layout import gzip
from kitbuild.rules.layout.deflate import END, Deflate, chunks, stored, zeros
from tests.support.disks import File, disks, noise, parts_of, storing
from tests.support.trees import Bench

BENCH = Bench()
NOISE = BENCH.blob(noise(1 << 20)).digest
TEXT = BENCH.blob(b"word " * (1 << 18)).digest
EITHER = pytest.mark.parametrize("deflate", [isal(), storing()], ids=["isal", "storing"])


def plain(blocks: bytes) -> bytes:
    reader = zlib.decompressobj(wbits=-15)
    content = reader.decompress(blocks + END)
    assert reader.eof
    assert not reader.unused_data
    return content


# -- blocks


@pytest.mark.parametrize("size", [1, 2, 257, 258, 259, 260, 517, 1033, 4096, 99_999, 1 << 20])
def test_run_of_zeros_reads_back(size: int) -> None:
    assert bytes(size) == plain(b"".join(zeros(size)))


def test_run_of_zeros_is_a_thousandth_of_its_size() -> None:
    assert len(b"".join(zeros(1 << 30))) < (1 << 20) + (1 << 15)


def test_zeros_of_many_gigabytes_come_in_pieces() -> None:
    assert 3 == len(list(zeros((2 << 30) + 1)))


def test_no_zeros_are_no_blocks() -> None:
    assert [] == list(zeros(0))


def test_blocks_follow_each_other() -> None:
    blocks = stored(3) + b"abc" + b"".join(zeros(500)) + isal().blocks(b"x" * 500) + stored(1) + b"d"

    assert b"abc" + bytes(500) + b"x" * 500 + b"d" == plain(blocks)


@pytest.mark.parametrize("content", [b"", b"a", noise(70_000), bytes(70_000), b"ab" * 99_999])
def test_compressor_leaves_off_at_a_byte(content: bytes) -> None:
    assert content * 2 == plain(isal().blocks(content) * 2)


# -- which chunks are stored


def is_stored(disk: Extents, deflate: Deflate | None = None) -> list[tuple[int, bool]]:
    groups = chunks(disk, 1 << 16, deflate=deflate or isal(), read=BENCH.read)
    return [(chunk.number, chunk.is_stored) for group in groups for chunk in group]


def test_payload_that_does_not_shrink_is_stored() -> None:
    assert [(0, True), (1, True)] == is_stored(Extents.of([Slice(NOISE, 5, 1 << 17)]))


def test_payload_that_shrinks_is_not_stored() -> None:
    assert [(0, False), (1, False)] == is_stored(Extents.of([Slice(TEXT, 5, 1 << 17)]))


def test_chunks_of_zeros_are_left_out() -> None:
    disk = Extents.of([Zeros(1 << 16), Slice(NOISE, 0, 1 << 16), Zeros(1 << 40), Literal(b"a")])

    assert [(1, True), ((1 << 24) + 2, False)] == is_stored(disk)


def test_chunks_of_several_parts_are_never_stored() -> None:
    disk = Extents.of([Slice(NOISE, 0, 1000), Zeros(24), Slice(NOISE, 0, (3 << 16) - 1024)])

    assert [(0, False), (1, True), (2, True)] == is_stored(disk)


def test_one_chunk_of_sixty_four_is_tried() -> None:
    tried = []

    def blocks(content: bytes) -> bytes:
        tried.append(content)
        return content

    long = Digest("ab" * 32, 200 << 16)
    groups = chunks(
        Extents.whole(long),
        1 << 16,
        deflate=isal()._replace(blocks=blocks),
        read=lambda part: bytes(part.size),
    )

    assert [64, 64, 64, 8] == [len(group) for group in groups]
    assert 4 == len(tried)


# -- gzip


def packed(disk: Extents, deflate: Deflate) -> Extents:
    return parts_of(gzip.pieces(disk, deflate=deflate, read=BENCH.read))


def unpacked(file: Extents) -> Iterator[tuple[int, str]]:
    reader = zlib.decompressobj(wbits=31)
    content, size = sha256(), 0
    image = File(BENCH, file)
    for offset in range(0, image.size, 1 << 20):
        piece = reader.decompress(image.at(offset, 1 << 20))
        content.update(piece)
        size += len(piece)
    assert reader.eof
    assert not reader.unused_data
    yield size, content.hexdigest()


@EITHER
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(disk=disks(BENCH, largest_hole=3 << 20))
def test_gzip_file_of_any_disk_reads_back(deflate: Deflate, disk: Extents) -> None:
    raw = File(BENCH, disk)

    expected = (disk.size, sha256(raw.at(0, raw.size)).hexdigest())
    assert [expected] == list(unpacked(packed(disk, deflate)))


def test_payload_stays_slices_in_a_gzip_file() -> None:
    disk = Extents.of([Literal(b"a" * 512), Zeros((1 << 17) - 512), Slice(NOISE, 0, 1 << 20)])

    found = packed(disk, isal())

    assert 1 << 20 == sum(part.size for part in found.parts if isinstance(part, Slice))
    assert (NOISE,) == found.blobs()


@pytest.mark.parametrize("disk", [Extents.of([]), Extents.of([Zeros(5)])])
def test_gzip_file_of_nothing_but_zeros(disk: Extents) -> None:
    assert [(disk.size, sha256(bytes(disk.size)).hexdigest())] == list(unpacked(packed(disk, isal())))


def test_gzip_file_without_a_compressor_is_always_the_same() -> None:
    disk = Extents.of([Literal(b"boot"), Zeros(1 << 20), Slice(NOISE, 9, 300_000), Zeros(99)])

    found = File(BENCH, packed(disk, storing()))

    assert (
        "2d51c9ac30a858f57e9051dd510878828e72345741022b50b6ef16303ce46008"
        == sha256(found.at(0, found.size)).hexdigest()
    )
