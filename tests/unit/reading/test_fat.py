from __future__ import annotations

import struct

import pytest

from kitbuild.errors import KitbuildError
from kitbuild.reading.fat import read_fat
from kitbuild.reading.window import BytesWindow

_SECTOR = 512


def boot_sector(
    *, reserved: int, root_entries: int, table16: int, sectors: int, table32: int = 0
) -> bytearray:
    head = bytearray(_SECTOR)
    head[0] = 0xEB
    head[510:] = b"\x55\xaa"
    struct.pack_into("<HBHBHHBH", head, 11, _SECTOR, 1, reserved, 1, root_entries, 0, 0xF8, table16)
    struct.pack_into("<I", head, 32, sectors)
    struct.pack_into("<II", head, 36, table32, 0)
    struct.pack_into("<I", head, 44, 2)
    return head


def entry(name: bytes, cluster: int, size: int) -> bytes:
    return struct.pack("<11sBBBHHHHHHHI", name, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, cluster, size)


def fat32(*, table: list[int], root: bytes) -> BytesWindow:
    """One with a table of a sector, whose header claims 2^28 clusters."""
    head = boot_sector(reserved=1, root_entries=0, table16=0, sectors=(1 << 28) - 100, table32=1)
    fat = struct.pack(f"<{len(table)}I", *table).ljust(_SECTOR, b"\0")
    return BytesWindow("file", bytes(head) + fat + root.ljust(_SECTOR, b"\0") + bytes(8 * _SECTOR))


def test_folder_that_runs_in_circles_ends_with_the_table() -> None:
    window = fat32(table=[0, 0, 4, 0, 2], root=b"")

    with pytest.raises(KitbuildError, match="a chain of clusters without an end"):
        read_fat(window)


def test_file_that_runs_in_circles_ends_with_the_table() -> None:
    window = fat32(table=[0, 0, 0x0FFFFFFF, 5, 0, 3], root=entry(b"FILE       ", 3, 1 << 31))
    _, listing = read_fat(window)

    with pytest.raises(KitbuildError, match="expected 4194304 clusters, got a table of 128"):
        listing.found["FILE"].window()


def test_last_of_an_odd_number_of_clusters_leads_on() -> None:
    # Three clusters, entries 2 to 4; the file begins in the last one.
    head = boot_sector(reserved=1, root_entries=16, table16=1, sectors=6)
    entries = [0xFF8, 0xFFF, 0, 0xFFF, 3]
    packed = sum(value << 12 * number for number, value in enumerate(entries)).to_bytes(8, "little")
    root = entry(b"FILE       ", 4, 600).ljust(_SECTOR, b"\0")
    clusters = b"".join(bytes([letter]) * _SECTOR for letter in b"abc")
    content = bytes(head) + packed.ljust(_SECTOR, b"\0") + root + clusters
    _, listing = read_fat(BytesWindow("file", content))

    assert b"c" * 512 + b"b" * 88 == listing.found["FILE"].window().read(0, 999)
