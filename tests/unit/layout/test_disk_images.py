"""Disk images read back by readers that follow the specifications, and golden digests."""

from __future__ import annotations

import struct
from collections.abc import Callable
from hashlib import sha256

import pytest
from hypothesis import HealthCheck, given, settings

from kitbuild.digest import Digest
from kitbuild.errors import RuleError
from kitbuild.extents import Extents, Literal, Slice, Zeros
from kitbuild.rules.format.compression import deflate as isal
from kitbuild.rules.layout import qcow2, vhd, vhdx, vmdk
from tests.support.disks import (
    File,
    Image,
    disks,
    holds,
    noise,
    parts_of,
    read_qcow2,
    read_vhd,
    read_vhd_footer,
    read_vhdx,
    read_vmdk,
    storing,
)
from tests.support.trees import Bench

BENCH = Bench()
NOISE = BENCH.blob(noise(1 << 20)).digest
TEXT = BENCH.blob(b"word " * (1 << 18)).digest
SECONDS = 1_492_533_000
GIB = 1 << 30

DISK = Extents.of(
    [Literal(b"boot".ljust(512, b".")), Zeros(GIB - 512), Slice(NOISE, 512, 200_192), Zeros(5 << 20)]
)


def fixed(disk: Extents) -> Extents:
    return vhd.fixed(disk, seconds=SECONDS)


def dynamic(disk: Extents) -> Extents:
    return vhd.dynamic(disk, seconds=SECONDS)


def streamed(disk: Extents) -> Extents:
    return parts_of(vmdk.pieces(disk, deflate=isal(), read=BENCH.read))


def streamed_without_compressor(disk: Extents) -> Extents:
    return parts_of(vmdk.pieces(disk, deflate=storing(), read=BENCH.read))


Writer = Callable[[Extents], Extents]
Reader = Callable[[File], Image]
SPARSE = pytest.mark.parametrize(
    ("write", "read"),
    [
        pytest.param(qcow2.image, read_qcow2, id="qcow2"),
        pytest.param(dynamic, read_vhd, id="vhd"),
        pytest.param(vhdx.image, read_vhdx, id="vhdx"),
        pytest.param(streamed, read_vmdk, id="vmdk"),
        pytest.param(streamed_without_compressor, read_vmdk, id="vmdk stored"),
    ],
)


# -- what all have in common


@SPARSE
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(disk=disks(BENCH))
def test_any_disk_reads_back_and_holes_stay_holes(write: Writer, read: Reader, disk: Extents) -> None:
    assert holds(read(File(BENCH, write(disk))), disk, BENCH)


@SPARSE
def test_disk_of_zeros_holds_no_block(write: Writer, read: Reader) -> None:
    assert Image(1 << 20, {}) == read(File(BENCH, write(Extents.of([Zeros(1 << 20)]))))


@SPARSE
def test_blocks_far_apart_read_back(write: Writer, read: Reader) -> None:
    disk = Extents.of([Zeros(25 * GIB), Literal(b"x" * 512), Zeros(5 * GIB), Slice(NOISE, 0, 1 << 20)])

    assert holds(read(File(BENCH, write(disk))), disk, BENCH)


@pytest.mark.parametrize(
    ("write", "digest"),
    [
        (qcow2.image, "fa3d2df58e03b74539f6a0bfec47f70ca37151979741a5d832195fff43474130"),
        (fixed, "29088b6d58f5a56fe984ab63d77f7f40eaf2e5f13f6f3572937aa9af372fad33"),
        (dynamic, "1d42fee9ff07a12cc884accd8e43156c4d8c02dfdc55571a0ba02910addbb59f"),
        (vhdx.image, "573f9808a4f2406558370b0b1b894d0f7b53c3ac837cddcdd966f387af9ec0eb"),
        (streamed_without_compressor, "002682484209e0aac6898214bae98d2db88b6031153afdcb5046748b7f7d3b09"),
    ],
)
def test_bytes_are_always_the_same(write: Writer, digest: str) -> None:
    disk = Extents.of([Literal(b"boot" * 128), Zeros(5 << 20), Slice(NOISE, 512, 200_192), Zeros(3 << 20)])

    image = File(BENCH, write(disk))

    assert digest == sha256(image.at(0, image.size)).hexdigest()


@pytest.mark.parametrize("write", [qcow2.image, fixed, dynamic, vhdx.image, streamed])
def test_payload_that_does_not_shrink_stays_in_its_blob(write: Writer) -> None:
    disk = Extents.of([Zeros(2 << 20), Slice(NOISE, 0, 1 << 20), Zeros(1 << 20)])

    found = write(disk)

    taken = sum(part.size for part in found.parts if isinstance(part, Slice))
    assert (1 << 20) - 16 <= taken <= 1 << 20
    assert (NOISE,) == found.blobs()


@pytest.mark.parametrize("write", [qcow2.image, fixed, dynamic, vhdx.image])
def test_payload_starts_on_pages(write: Writer) -> None:
    disk = Extents.of([Literal(b"x" * 512), Zeros(3584), Slice(NOISE, 0, 1 << 20), Zeros((3 << 20) - 4096)])
    position = 0

    for part in write(disk).parts:
        if isinstance(part, Slice):
            assert 0 == position % 4096
        position += part.size


@pytest.mark.parametrize(
    ("write", "size", "limit"),
    [(fixed, 2041 << 30, "2040 GiB"), (dynamic, 2041 << 30, "2040 GiB"), (vhdx.image, 65 << 40, "64 TiB"),
     (streamed, 3 << 40, "2 TiB")],
)  # fmt: skip
def test_disk_that_is_too_large_is_refused(write: Writer, size: int, limit: str) -> None:
    with pytest.raises(RuleError, match=f"expected a disk of at most {limit}"):
        write(Extents.of([Zeros(size)]))


# -- qcow2


def test_empty_terabyte_is_a_handful_of_clusters() -> None:
    image = qcow2.image(Extents.of([Literal(b"x"), Zeros((1 << 40) - 1)]))

    # Header, refcount table, refcount block, L1 table, L2 table, data.
    assert 6 << 16 == image.size


def test_refcount_blocks_count_themselves() -> None:
    # More than one block of refcounts: 2 GiB and more of clusters.
    huge = Digest("ab" * 32, 5 * GIB)
    image = qcow2.image(Extents.whole(huge))
    file = File(BENCH, image)
    table, clusters = file.fields(">QI", 48)

    blocks = [place for place in file.fields(">4Q", table) if place]

    assert 1 == clusters
    assert -(-image.size // (1 << 31)) == len(blocks)


# -- VHD


def test_fixed_vhd_is_the_disk_and_a_footer() -> None:
    image = fixed(DISK)

    assert DISK == image.cut(0, DISK.size)
    assert (DISK.size, 2, (1 << 64) - 1) == read_vhd_footer(File(BENCH, image))
    assert DISK.size + 512 == image.size


def test_vhd_says_when_by_whom_and_for_what() -> None:
    image = File(BENCH, fixed(DISK))

    # Seconds since 2000; a creator whose sizes are exact.
    assert (545848200, b"win ", b"Wi2k") == image.fields(">I4s4x4s", DISK.size + 24)


@pytest.mark.parametrize(
    ("mib", "geometry"),
    # What qemu-img says, less the cylinder by which it rounds disks up.
    [(1, (30, 4, 17)), (64, (963, 8, 17)), (512, (1040, 16, 63)), (1024, (2080, 16, 63)), (25 << 10, (52012, 16, 63)),
     (40 << 10, (20560, 16, 255)), (1 << 20, (65535, 16, 255))],
)  # fmt: skip
def test_geometry_is_that_of_the_specification(mib: int, geometry: tuple[int, int, int]) -> None:
    disk = Extents.of([Zeros(mib << 20)])

    assert geometry == File(BENCH, fixed(disk)).fields(">HBB", disk.size + 56)


def test_identifiers_follow_the_content() -> None:
    other = Extents.of([Literal(b"Boot".ljust(512, b".")), *DISK.parts[1:]])

    found = {File(BENCH, dynamic(disk)).at(68, 16) for disk in (DISK, other, DISK)}

    assert 2 == len(found)


# -- VMDK


def descriptor(disk: Extents) -> dict[str, str]:
    text = File(BENCH, streamed(disk)).at(512, 20 * 512).rstrip(b"\0").decode()
    return dict(line.replace(" = ", "=").split("=", 1) for line in text.splitlines() if "=" in line)


def test_descriptor_says_what_vmware_and_virtualbox_ask_for() -> None:
    found = descriptor(DISK)

    assert '"streamOptimized"' == found["createType"]
    assert ('"lsilogic"', '"6"') == (found["ddb.adapterType"], found["ddb.virtualHWVersion"])
    assert ('"131"', '"255"', '"63"') == tuple(
        found[f"ddb.geometry.{name}"] for name in ("cylinders", "heads", "sectors")
    )
    assert found["ddb.longContentID"].strip('"').endswith(found["CID"])
    assert 36 == len(found["ddb.uuid.image"].strip('"'))
    assert "ffffffff" == found["parentCID"]


def test_content_identifier_follows_the_content() -> None:
    other = Extents.of([*DISK.parts, Zeros(512)])

    assert descriptor(DISK)["CID"] == descriptor(DISK)["CID"]
    assert descriptor(DISK)["CID"] != descriptor(other)["CID"]


def test_grain_that_does_not_shrink_is_as_long_as_readers_have_room_for() -> None:
    disk = Extents.of([Slice(NOISE, 0, 1 << 17)])

    image = File(BENCH, streamed(disk))

    sector, size = image.fields("<QI", 128 * 512)
    # VirtualBox's buffer, marker and all.
    assert (0, True) == (sector, 12 + size <= 65536 + 512)


def test_payload_that_shrinks_is_compressed() -> None:
    assert streamed(Extents.of([Slice(TEXT, 0, 1 << 20)])).size < 128 * 512 + (1 << 15)


# -- VHDX


def test_headers_and_tables_are_checked() -> None:
    from kitbuild.rules.layout.crc import crc32c

    image = File(BENCH, vhdx.image(DISK))

    for place, size in ((64 << 10, 4096), (128 << 10, 4096), (192 << 10, 64 << 10), (256 << 10, 64 << 10)):
        content = image.at(place, size)
        assert struct.unpack_from("<I", content, 4) == (crc32c(content[:4] + bytes(4) + content[8:]),)
